import { describe, expect, it } from 'vitest';
import { onHost } from '../../src/grid/execute.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import type { ScenarioHost } from '../../src/grid/run.ts';
import { type PartVerdict, partTitle, runMatrix } from '../../src/grid/run-matrix.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';

/** Every one of a cell's scenarios, or each `stride`-th: with invariants checked a scenario takes ten times as long. */
async function run(host: ScenarioHost, stride: number): Promise<PartVerdict[]> {
  const cells = matrix().map((cell) => ({
    ...cell,
    scenarios: cell.scenarios.filter((_, index) => index % stride === 0),
  }));
  const steps = runMatrix(onHost(host), cells);
  let step = await steps.next();
  while (step.done !== true) step = await steps.next();
  return step.value;
}

describe.each([
  ['on the bare processor', umbraHost({ l0: 'none' }), 1],
  ['under L0', umbraHost({ l0: 'shadow' }), 1],
  ['under L0 with every invariant checked', umbraHost({ l0: 'shadow', check: true }), 12],
] as const)('the transition grid %s', (_, host, stride) => {
  it('sees what the oracle allows, in every cell', { timeout: 300_000 }, async () => {
    const cells = await run(host, stride);
    expect(cells).toHaveLength(8);
    expect(cells.flatMap(({ details }) => details)).toEqual([]);
    for (const verdict of cells) {
      const { probes, mismatches } = verdict;
      expect({ title: partTitle(verdict), mismatches }).toEqual({ title: partTitle(verdict), mismatches: 0 });
      expect(probes).toBeGreaterThan(100);
    }
  });
});
