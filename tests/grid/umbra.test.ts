import { describe, expect, it } from 'vitest';
import { onHost, onHosts } from '../../src/grid/execute.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import { resultOf } from '../../src/grid/result-of.ts';
import type { ScenarioHost } from '../../src/grid/run.ts';
import { type GridPart, isCell, type PartVerdict, runGrid, writtenParts } from '../../src/grid/run-grid.ts';
import { GRID_HOST_NAMES, RUN_HOST_NAMES, type RunHostName, runHost } from '../../src/grid/run-host.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import { umbraHost, umbraHosts } from '../../src/grid/umbra-host.ts';

const WRITTEN = writtenParts();

/** Every one of each part's scenarios, or each `stride`-th. */
const partsOn = (on: RunHostName, stride: number): GridPart[] =>
  WRITTEN.map((part) => ({
    ...part,
    on,
    scenarios: part.scenarios.filter((_: Scenario, index: number) => index % stride === 0),
  }));

/** Nothing wrong, and something looked at in each cell that the host can run. `whole`: no scenario was left out. */
function expectRight(parts: readonly PartVerdict[], whole: boolean): void {
  expect(parts.flatMap(({ details }) => details)).toEqual([]);
  expect(parts.map(({ mismatches }) => mismatches)).toEqual(parts.map(() => 0));
  for (const part of parts.filter(isCell)) {
    const offered = part.way === 'shadow' || runHost(part.on).l0 !== 'shadow';
    if (offered) expect(part.probes, `${part.on} ${part.l1} ${part.way} ${part.l2}`).toBeGreaterThan(100);
    // What nested paging is not offered for is its refusal.
    else if (whole) expect(part.scenarios).toBe(1);
  }
}

describe('the transition grid', () => {
  it('sees what the oracle allows, in every cell on every host', { timeout: 600_000 }, async () => {
    const parts = await resultOf(
      runGrid(
        onHosts(umbraHosts()),
        GRID_HOST_NAMES.flatMap((on) => partsOn(on, 1)),
      ),
    );
    expectRight(parts, true);
    expect(parts.filter(isCell)).toHaveLength(matrix().length * GRID_HOST_NAMES.length);
  });

  // With invariants checked a scenario takes ten times as long.
  it.each(GRID_HOST_NAMES.filter((name) => runHost(name).l0 !== 'none'))(
    'does so with every invariant checked: %s',
    { timeout: 600_000 },
    async (on) => {
      const host = umbraHost({ ...runHost(on), check: true });
      expectRight(await resultOf(runGrid(onHost(host), partsOn(on, 12))), false);
    },
  );

  // Its nested tables are 2-level ones, whose entries have no NX bit, whatever the host's EFER says.
  it.each(RUN_HOST_NAMES.filter((name) => runHost(name).host === 'nopae-nx'))(
    'sees the same where a host without PAE sets EFER.NX: %s',
    { timeout: 600_000 },
    async (on) => {
      const host = umbraHost(runHost(on));
      const alike = umbraHost({ ...runHost(on), host: 'nopae' });
      expectRight(await resultOf(runGrid(onHost(host), partsOn(on, 36))), false);
      const lacking = ({ lacking: of }: ScenarioHost) =>
        WRITTEN.flatMap(({ scenarios }) => scenarios).map(({ features, absent = [] }) =>
          of?.({ features, absent }),
        );
      expect(lacking(host)).toEqual(lacking(alike));
    },
  );
});
