import { describe, expect, it } from 'vitest';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import { runMatrix } from '../../src/grid/run.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';

const HOSTS = [
  ['on the bare processor', umbraHost({ l0: 'none' })],
  ['under L0 with every invariant checked', umbraHost({ l0: 'shadow', check: true })],
] as const;

describe.each(HOSTS)('the transition grid %s', (_, host) => {
  it('sees what the oracle allows, in every cell', { timeout: 300_000 }, () => {
    const steps = runMatrix(host, matrix());
    let step = steps.next();
    while (step.done !== true) step = steps.next();
    const cells = step.value;
    expect(cells).toHaveLength(8);
    expect(cells.flatMap(({ details }) => details)).toEqual([]);
    for (const { l1, l2, probes, mismatches } of cells) {
      expect({ l1, l2, mismatches }).toEqual({ l1, l2, mismatches: 0 });
      expect(probes).toBeGreaterThan(100);
    }
  });
});
