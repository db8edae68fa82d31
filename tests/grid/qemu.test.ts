import { describe, expect, it } from 'vitest';
import { FAMILIES } from '../../src/grid/matrix/matrix.ts';
import { runScenario } from '../../src/grid/run.ts';
import { explainMismatches } from './qemu-findings.ts';
import { qemuHost, qemuMissing } from './qemu-host.ts';

/** The cell with the most formats; `tools/grid-on-qemu.ts` runs all of them. */
const CELL = { l1: '2-level', l2: 'PAE' } as const;

/**
 * The agents and the oracle against a processor that is not ours: all that QEMU does otherwise than the oracle says
 * is a known error of QEMU.
 */
const missing = qemuMissing();
describe.skipIf(missing !== undefined)(
  `the matrix on QEMU TCG${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    it.each(Object.entries(FAMILIES))('agrees with the oracle: %s', (_, family) => {
      const scenario = family(CELL)[0];
      const { probes, mismatches } = runScenario(scenario, qemuHost);
      const unexplained = explainMismatches(scenario, mismatches).filter(
        ({ finding }) => finding === undefined,
      );
      expect(unexplained.map(({ mismatch }) => mismatch.text)).toEqual([]);
      expect(probes).toBe(scenario.steps.filter((step) => step.do === 'probe').length);
    });
  },
);
