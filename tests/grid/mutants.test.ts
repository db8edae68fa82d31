import { describe, expect, it } from 'vitest';
import { directedScenarios } from '../../src/grid/directed/directed.ts';
import { catchWith, hunt, mutantHost } from '../../src/grid/mutants/hunt.ts';
import { INEXPRESSIBLE } from '../../src/grid/mutants/inexpressible.ts';
import { homeOf, rulesOf } from '../../src/grid/mutants/mutant.ts';
import { MUTANTS, mutantNamed } from '../../src/grid/mutants/mutants.ts';
import { runScenario } from '../../src/grid/run.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';
import { RULES } from '../../src/l0/rules.ts';

const scenarios = new Map(directedScenarios().map((scenario) => [scenario.name, scenario]));
const caught = MUTANTS.filter(({ fate }) => fate.caught !== 'never');

describe('directed scenarios', () => {
  it('have different names', () => {
    expect(scenarios.size).toBe(directedScenarios().length);
  });

  it.each([
    ['on the bare processor', umbraHost({ l0: 'none' })],
    ['under L0', umbraHost({ l0: 'shadow' })],
    ['under L0 with every invariant checked', umbraHost({ l0: 'shadow', check: true })],
    ['on nested tables of a PAE kernel', umbraHost({ l0: 'npt', host: 'pae', check: true })],
    ['on nested tables of a !PAE kernel', umbraHost({ l0: 'npt', host: 'nopae', check: true })],
  ])('go as the oracle says %s', (_, host) => {
    const wrong = [...scenarios.values()].flatMap((scenario) => runScenario(scenario, host).mismatches);
    expect(wrong.map(({ text }) => text)).toEqual([]);
  });
});

describe('the mutants', () => {
  it('are 22 of the history and 20 systematic ones at least, by different names', () => {
    const historical = MUTANTS.filter(({ mended }) => mended !== undefined);
    expect(historical.length).toBeGreaterThanOrEqual(22);
    expect(MUTANTS.length - historical.length).toBeGreaterThanOrEqual(20);
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    for (const { name, history } of MUTANTS) {
      expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
      expect(history).toMatch(/^[^\n]+\.$/);
    }
  });

  it('live on a host that has what they break', () => {
    expect(homeOf(mutantNamed('wp-not-in-role'))).toBe('shadow/pae');
    expect(homeOf(mutantNamed('private-tables-not-emptied'))).toBe('npt/nopae');
    const nested = MUTANTS.filter((mutant) => homeOf(mutant).startsWith('npt/'));
    expect(nested.filter(({ mended }) => mended !== undefined)).toHaveLength(7);
    expect(nested.length).toBeGreaterThanOrEqual(7 + 12);
  });

  it('account for the bugs that have no mutant', () => {
    for (const { reason } of INEXPRESSIBLE) expect(reason).toMatch(/\.$/);
  });

  it('change one rule or a few, and no other', () => {
    for (const mutant of MUTANTS) {
      const rules = rulesOf(mutant);
      const changed = Object.keys(RULES).filter((name) => rules[name as never] !== RULES[name as never]);
      expect(changed.length, mutant.name).toBeGreaterThan(0);
      expect(changed.length, mutant.name).toBeLessThanOrEqual(2);
      expect(Object.keys(rules)).toEqual(Object.keys(RULES));
    }
  });

  it.each(caught.map((mutant) => [mutant.name, mutant] as const))('%s is caught as it says', (_, mutant) => {
    const { fate } = mutant;
    if (fate.caught === 'never') return;
    const scenario = scenarios.get(fate.scenario);
    expect(scenario, `scenario ${fate.scenario}`).toBeDefined();
    const found = (check: boolean) => catchWith(scenario!, mutantHost(mutant, check)).caught;
    if (fate.caught === 'by a probe') expect(found(false)).toBe('by a probe');
    else expect([found(false), found(true)]).toEqual(['never', 'by --check']);
  });

  it('are unknown by other names', () => {
    expect(() => mutantNamed('nx')).toThrow('There is no mutant "nx"; `umbra mutants` lists them.');
  });
});

describe('hunt', () => {
  it('runs the scenario that should catch a mutant first', () => {
    expect(hunt(mutantNamed('wp-not-in-role'))).toMatchObject({
      mutant: 'wp-not-in-role',
      scenarios: 1,
      asExpected: true,
      finding: { caught: 'by a probe', scenario: 'directed/wp-toggled', step: 10 },
    });
  });

  it('runs a mutant of nested paging where it lives', () => {
    expect(hunt(mutantNamed('private-tables-not-emptied'))).toMatchObject({
      scenarios: 1,
      asExpected: true,
      finding: { caught: 'by a probe', scenario: 'directed/nested-edited-by-host-pae', step: 10 },
    });
    // The same rule answered wrongly does no harm where no tables are private, and none of the nested ones has PDPTEs.
    const scenario = scenarios.get('directed/nested-edited-by-host-2-level')!;
    const elsewhere = mutantHost(mutantNamed('nested-pdptes-not-read-again'), true);
    expect(catchWith(scenario, elsewhere).caught).toBe('never');
  });

  it('runs a mutant on another kernel below L0, and not where L0 has another paging', () => {
    const mutant = mutantNamed('wp-not-in-role');
    expect(hunt(mutant, { on: 'shadow/nopae' })).toMatchObject({
      on: 'shadow/nopae',
      asExpected: true,
      finding: { caught: 'by a probe', scenario: 'directed/wp-toggled', step: 10 },
    });
    expect(hunt(mutant, { on: 'npt/pae' })).toEqual({
      mutant: 'wp-not-in-role',
      on: 'npt/pae',
      finding: { caught: 'not run', why: 'it lives on shadow/pae' },
      scenarios: 0,
      asExpected: true,
    });
  });

  it('runs the scenarios that it is given, and no other', () => {
    const mutant = mutantNamed('cr4-of-l2-unchecked');
    const one = (name: string) => [scenarios.get(name)!];
    expect(hunt(mutant, { scenarios: one('directed/wp-toggled') })).toMatchObject({
      finding: { caught: 'never' },
      // Once for the probes, once for --check.
      scenarios: 2,
      asExpected: false,
    });
    expect(hunt(mutant, { scenarios: one('directed/nested-nx') })).toMatchObject({
      finding: {
        caught: 'not run',
        why: 'directed/nested-nx: Umbra, L0 with shadow paging on a PAE kernel does not offer npt',
      },
      scenarios: 0,
      asExpected: true,
    });
  });

  it('says at which step --check found an invariant broken', () => {
    const mutant = mutantNamed('guest-mode-not-in-page-role');
    const first = scenarios.get('directed/faults-intercepted')!;
    const finding = catchWith(first, mutantHost(mutant, true));
    expect(finding.caught).toBe('by --check');
    if (!('step' in finding)) return;
    // The invariant is of an L2's page, so that L1 has entered one.
    const entered = first.steps.findIndex((step) => step.do === 'enter') + 1;
    expect(finding.step).toBeGreaterThanOrEqual(entered);
    expect(finding.step).toBeLessThanOrEqual(first.steps.length);
  });

  it('makes a finding of whatever L0 does to itself', () => {
    const host = {
      ...umbraHost({ l0: 'shadow' }),
      run: () => {
        throw new TypeError('undefined is not a page');
      },
    };
    const scenario = scenarios.get('directed/wp-toggled')!;
    expect(catchWith(scenario, host)).toEqual({
      caught: 'by a probe',
      scenario: 'directed/wp-toggled',
      story: 'Scenario directed/wp-toggled: L0 came to harm: undefined is not a page',
    });
  });
});
