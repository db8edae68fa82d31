import { describe, expect, it } from 'vitest';
import { services } from '../../src/cli/wiring.ts';
import { resultOf } from '../../src/grid/result-of.ts';
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
