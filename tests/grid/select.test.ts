import { describe, expect, it } from 'vitest';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import { nameMatcher, selectScenarios } from '../../src/grid/select.ts';

const names = (patterns: string[]): string[] =>
  selectScenarios(matrix(), patterns).flatMap(({ scenarios }) => scenarios.map(({ name }) => name));

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
    expect(names([])).toEqual(matrix().flatMap(({ scenarios }) => scenarios.map(({ name }) => name)));
  });

  it('is what any pattern matches, in the order of the grid', () => {
    const chosen = names(['pae/2-level/*', 'off/registers']);
    const expected = names([]).filter(
      (name) => name.startsWith('pae/2-level/') || name.includes('off/registers'),
    );
    expect(chosen).toEqual(expected);
    expect(chosen.length).toBeGreaterThan(2);
  });

  it('leaves out cells without scenarios', () => {
    expect(selectScenarios(matrix(), ['pae/pae/*']).map(({ l1, l2 }) => [l1, l2])).toEqual([['PAE', 'PAE']]);
  });

  it('refuses a pattern that matches nothing', () => {
    expect(() => names(['edits', 'nothing-like-this'])).toThrow(
      /No scenario's name matches "nothing-like-this"/,
    );
  });
});
