import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/arch/input-error.ts';
import { services } from '../../src/cli/wiring.ts';
import { resultOf } from '../../src/grid/result-of.ts';
import { GRID_HOST_NAMES, type RunHostName } from '../../src/grid/run-host.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import { TestHost } from './host.ts';

describe('the trace of a scenario', () => {
  const run = (patterns: string[]) => {
    const lines: string[] = [];
    const setup = {
      hosts: ['shadow/pae'],
      check: false,
      jobs: 1,
      trace: (line: string) => lines.push(line),
    } as const;
    const steps = services.runGrid(setup, new TestHost(), { patterns, seed: 1 });
    return { lines, result: resultOf(steps) };
  };

  it('is of the one that a whole name chooses, though other names contain it', async () => {
    const { lines, result } = run(['2-level/pae/sharing']);
    expect((await result).flatMap(({ summaries }) => summaries.map(({ name }) => name))).toEqual([
      '2-level/pae/sharing',
    ]);
    expect(lines.some((line) => line.includes('kvm_mmu_get_page:'))).toBe(true);
  });

  it('is refused of several, whose first names it says', async () => {
    await expect(run(['directed/nested-']).result).rejects.toThrow(
      /^--trace is of one scenario, and these are \d+: (directed\/nested-[a-z0-9-]+, ){5}\.\.\.; name one\.$/,
    );
    await expect(run(['2-level/pae/sh']).result).rejects.toThrow(
      'these are 2: 2-level/pae/sharing, npt/identity/2-level/pae/sharing; name one.',
    );
  });
});

describe('the trace of a mutant', () => {
  const run = (mutant: string, scenarios?: readonly Scenario[]) => {
    const lines: string[] = [];
    const setup = { jobs: 2, trace: (line: string) => lines.push(line) };
    const request = { mutant, ...(scenarios && { scenarios }) };
    return { lines, verdicts: resultOf(services.huntMutants([request], setup, new TestHost())) };
  };
  const named = (patterns: string[]) => services.scenarios({ patterns, seed: 1 }, []);

  it('is of the scenario that catches it, once', async () => {
    const { lines, verdicts } = run('wp-not-in-role');
    expect(await verdicts).toMatchObject([
      { scenarios: 1, asExpected: true, finding: { scenario: 'directed/wp-toggled', step: 10 } },
    ]);
    const starts = lines.filter((line) => line.includes('kvm_mmu_get_page: sp gfn 0 l2'));
    expect(starts).toHaveLength(1);
  });

  it('checks invariants where only that catches it', async () => {
    const { verdicts } = run('guest-mode-not-in-page-role');
    expect(await verdicts).toMatchObject([{ asExpected: true, finding: { caught: 'by --check' } }]);
  });

  it('is of the scenario that is named', async () => {
    const { lines, verdicts } = run('cr4-of-l2-unchecked', named(['directed/nx-toggled']));
    expect(await verdicts).toMatchObject([{ scenarios: 1, asExpected: false, finding: { caught: 'never' } }]);
    expect(lines.length).toBeGreaterThan(10);
  });

  it('is refused of several scenarios, and of none', async () => {
    await expect(run('wp-not-in-role', named(['2-level/pae/sh'])).verdicts).rejects.toThrow(
      '--trace is of one scenario, and these are 2: 2-level/pae/sharing, ',
    );
    await expect(run('no-flush-on-vmrun').verdicts).rejects.toThrow(
      'No scenario catches no-flush-on-vmrun, which is no bug; name one with --only.',
    );
  });
});

describe('scenarios to choose', () => {
  it('are those of the grid, random ones too, and those of files', () => {
    const text = services.showScenario('directed/nx-toggled');
    const patterns = ['random/nested/7/3', 'random/7/3', 'directed/wp-toggled'];
    const names = services.scenarios({ patterns, seed: 7 }, [{ text, source: 'x' }]).map(({ name }) => name);
    expect(names.sort()).toEqual(['directed/nx-toggled', ...patterns].sort());
  });

  it('are refused where they cannot be', () => {
    const text = `${services.showScenario('directed/nx-toggled')}  99. leave\n`;
    expect(() => services.scenarios({ patterns: [], seed: 1 }, [{ text, source: 'x' }])).toThrow(InputError);
  });
});

describe('the list of scenarios', () => {
  const names = (hosts: readonly RunHostName[], patterns: string[] = []): string[] =>
    services.listScenarios({ hosts, check: false, jobs: 1 }, { patterns, seed: 1 }).map(({ name }) => name);

  it('has what any of the hosts can run', () => {
    const all = names(GRID_HOST_NAMES);
    expect(all).toContain('random/nested/1/0');
    expect(names(['shadow/pae', 'npt/nopae', 'bare'])).toEqual(all);
    const shadowed = names(['shadow/pae', 'shadow/nopae']);
    expect(shadowed).toContain('directed/nx-toggled');
    expect(shadowed).toContain('random/1/1799');
    expect(
      shadowed.filter((name) => name.startsWith('random/nested') || name === 'directed/nested-nx'),
    ).toEqual([]);
    expect(names(['npt/nopae'])).not.toContain('directed/nested-nx');
    expect(() => names(['shadow/pae'], ['directed/nested-nx'])).toThrow('No scenario');
  });
});

describe('what export takes', () => {
  const exported = async (...chosen: string[]): Promise<string> =>
    Buffer.from(await resultOf(services.exportImage(chosen))).toString('latin1');

  it('is names, parts of names and globs, as the grid takes them, each scenario once', async () => {
    const one = await exported('directed/smep-without-wp');
    expect(await exported('directed/smep-without-wp', 'directed/smep-without-w?')).toBe(one);
    const all = await exported('directed/smep-without-wp*');
    expect(all.length).toBeGreaterThan(one.length);
    expect(await exported('smep-without-wp')).toBe(all);
    expect((await exported('random/9/4')).length).toBeGreaterThan(1000);
  });

  it('is refused where it is the name of none', async () => {
    await expect(exported('directed/x*')).rejects.toThrow('No scenario\'s name matches "directed/x*"');
  });
});
