import { describe, expect, it } from 'vitest';
import { onHost } from '../../src/grid/execute.ts';
import { CELLS } from '../../src/grid/matrix/cell.ts';
import { resultOf } from '../../src/grid/result-of.ts';
import type { ScenarioHost } from '../../src/grid/run.ts';
import { isCell, type PartVerdict, partTitle, runGrid, writtenParts } from '../../src/grid/run-grid.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';

/** Every one of a part's scenarios, or each `stride`-th: with invariants checked a scenario takes ten times as long. */
function run(host: ScenarioHost, stride: number): Promise<PartVerdict[]> {
  const parts = writtenParts().map((part) => ({
    ...part,
    on: 'bare' as const,
    scenarios: part.scenarios.filter((_: Scenario, index: number) => index % stride === 0),
  }));
  return resultOf(runGrid(onHost(host), parts));
}

describe.each([
  ['on the bare processor', umbraHost({ l0: 'none' }), 1],
  ['under L0', umbraHost({ l0: 'shadow' }), 1],
  ['under L0 with every invariant checked', umbraHost({ l0: 'shadow', check: true }), 12],
] as const)('the transition grid %s', (_, host, stride) => {
  it('sees what the oracle allows, in every cell', { timeout: 300_000 }, async () => {
    const parts = await run(host, stride);
    expect(parts.flatMap(({ details }) => details)).toEqual([]);
    expect(parts.map((part) => [partTitle(part), part.mismatches])).toEqual([
      ...CELLS.map(({ l1, l2 }) => [`bare, L1 ${l1}, L2 ${l2}`, 0]),
      ['bare, directed', 0],
    ]);
    for (const part of parts.filter(isCell)) expect(part.probes).toBeGreaterThan(100);
  });
});
