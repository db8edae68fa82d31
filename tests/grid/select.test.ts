import { describe, expect, it } from 'vitest';
import { workName } from '../../src/grid/execute.ts';
import { allScenarios, scenarioByName } from '../../src/grid/replay.ts';
import { gridParts, RANDOM_IN_GRID, RANDOM_NESTED_IN_GRID } from '../../src/grid/run-grid.ts';
import { nameMatcher, selectScenarios } from '../../src/grid/select.ts';

const plan = gridParts(1, ['shadow/pae']);
const names = (patterns: string[]): string[] =>
  selectScenarios(plan, patterns).flatMap(({ scenarios }) => scenarios.map(workName));

describe('a pattern', () => {
  it.each([
    ['edits', '2-level/pae/edits-of-l2', true],
    ['pae/pae', '2-level/pae/edits-of-l2', false],
    ['*/pae/*', '2-level/pae/edits-of-l2', true],
    ['edits*', '2-level/pae/edits-of-l2', false],
    ['?-level/*-l2', '2-level/pae/edits-of-l2', true],
    ['2-level*pse.*', '2-level-pse/x', false],
  ])('%s on %s: %s', (pattern, name, matches) => {
    expect(nameMatcher(pattern)(name)).toBe(matches);
  });
});

describe('a selection', () => {
  it('is everything without patterns', () => {
    expect(names([]).slice(0, allScenarios().length)).toEqual(allScenarios().map(({ name }) => name));
    expect(names([]).at(-1)).toBe(`random/1/${RANDOM_IN_GRID - 1}`);
  });

  it('has nested paging only where L1 can use it', () => {
    const random = (hosts: Parameters<typeof gridParts>[1]): string[][] =>
      gridParts(1, hosts).flatMap((part) =>
        'group' in part && part.group.startsWith('random')
          ? [[part.on, part.group, `${part.scenarios.length}`, workName(part.scenarios.at(-1)!)]]
          : [],
      );
    const half = `${RANDOM_IN_GRID / 2}`;
    expect(random(['bare', 'shadow/pae'])).toEqual([
      ['bare', 'random', half, `random/1/${RANDOM_IN_GRID - 2}`],
      [
        'bare',
        'random with nested paging',
        `${RANDOM_NESTED_IN_GRID}`,
        `random/nested/1/${RANDOM_NESTED_IN_GRID - 1}`,
      ],
      ['shadow/pae', 'random', half, `random/1/${RANDOM_IN_GRID - 1}`],
    ]);
  });

  it('is what any pattern matches, in the order of the grid', () => {
    const chosen = names(['pae/2-level/*', 'off/registers']);
    const expected = names([]).filter(
      (name) => name.startsWith('pae/2-level/') || name.includes('off/registers'),
    );
    expect(chosen).toEqual(expected);
    expect(chosen.length).toBeGreaterThan(2);
  });

  it('has more than 2,000 scenarios in all, each with a name of its own', () => {
    expect(new Set(names([])).size).toBe(names([]).length);
    expect(names([]).length).toBeGreaterThan(2000);
  });

  it('leaves out cells without scenarios', () => {
    const parts = selectScenarios(plan, ['pae/pae/*', 'random/1/17']);
    expect(parts).toMatchObject([{ l1: 'PAE', l2: 'PAE' }, { group: 'random' }]);
    expect(parts[1].scenarios).toContainEqual({ seed: 1, index: 17 });
  });

  it.each(['2-level/pae/sharing', 'directed/smep-without-wp', 'random/1/17'])('is %s alone', (name) => {
    expect(names([]).filter((other) => other.includes(name)).length).toBeGreaterThan(1);
    expect(names([name])).toEqual([name]);
  });

  it('has what a name and a part of names choose together', () => {
    const parts = names(['npt/identity/2-level']);
    expect(names(['2-level/pae/sharing', 'npt/identity/2-level'])).toEqual(['2-level/pae/sharing', ...parts]);
  });

  it('refuses an empty pattern, as of a shell variable that is not set', () => {
    expect(() => names(['edits', ''])).toThrow('A pattern is empty, and would match every scenario');
  });

  it('refuses a pattern that matches nothing', () => {
    expect(() => names(['edits', 'nothing-like-this'])).toThrow(
      /No scenario's name matches "nothing-like-this"/,
    );
  });
});

describe('scenarioByName', () => {
  it('makes random ones of any seed', () => {
    expect(scenarioByName('random/4294967295/3').name).toBe('random/4294967295/3');
    expect(scenarioByName('random/nested/5/3').name).toBe('random/nested/5/3');
    expect(scenarioByName('random/nested/5/3').steps).not.toEqual(scenarioByName('random/5/3').steps);
  });

  it('names those that contain a name that none has, or end alike', () => {
    expect(() => scenarioByName('directed/nx')).toThrow(
      /^There is no scenario "directed\/nx" among the \d+; there are directed\/nx-[^ ]*\.$/,
    );
    expect(() => scenarioByName('pae/edits-of-l2')).toThrow(
      /; there are (2-level|pae)\/[^,]*\/edits-of-l2, /,
    );
  });

  it.each(['random/9999999999/0', 'random/4294967296/0', 'random/1/4294967296'])('refuses %s', (name) => {
    expect(() => scenarioByName(name)).toThrow(
      `There is no scenario "${name}": the seed and the number of a random one are each a whole number from 0 to 4294967295.`,
    );
  });
});
