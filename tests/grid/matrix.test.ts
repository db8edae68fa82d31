import { describe, expect, it } from 'vitest';
import { compileScenario } from '../../src/grid/compile.ts';
import { L1_MODES, L2_MODES } from '../../src/grid/matrix/cell.ts';
import { FAMILIES, matrix } from '../../src/grid/matrix/matrix.ts';
import type { ProbeStep } from '../../src/grid/scenario.ts';
import { PROBE_FORMS } from '../../src/guest/probe-forms.ts';

const cells = matrix();
const probesOf = (l1: string, l2: string): readonly ProbeStep[] =>
  cells
    .filter((cell) => cell.l1 === l1 && cell.l2 === l2)
    .flatMap(({ scenarios }) => scenarios)
    .flatMap(({ steps }) => steps)
    .filter((step) => step.do === 'probe');

describe('the matrix', () => {
  it('has a cell for each pair of modes', () => {
    const pairs = cells.map(({ l1, l2 }) => `${l1} ${l2}`);
    expect(pairs).toEqual(L1_MODES.flatMap((l1) => L2_MODES.map((l2) => `${l1} ${l2}`)));
  });

  it('has scenarios of different names that all compile', () => {
    const scenarios = cells.flatMap((cell) => cell.scenarios);
    expect(new Set(scenarios.map(({ name }) => name)).size).toBe(scenarios.length);
    for (const scenario of scenarios) expect(compileScenario(scenario).image.length).toBeGreaterThan(0x10000);
  });

  it('makes every kind of probe on every kind of page in each cell', () => {
    for (const { l1, l2 } of cells) {
      const probes = probesOf(l1, l2);
      for (const form of PROBE_FORMS) expect(probes.some((probe) => probe.form === form.name)).toBe(true);
      const kinds = ['present', 'absent', 'read-only', 'supervisor', 'large', 'dir-read-only above'];
      const wide =
        l1 === 'PAE' || l2 === 'PAE' ? ['nx', 'reserved', 'dir-nx above', 'dir-reserved above'] : [];
      for (const kind of [...kinds, ...wide]) {
        for (const form of ['read4', 'write4', 'fetch']) {
          for (const cpl of [0, 3]) {
            const found = probes.some(
              (probe) => probe.form === form && probe.cpl === cpl && probe.about?.startsWith(kind),
            );
            expect(found, `${form} at CPL ${cpl} of ${kind} in L1 ${l1}, L2 ${l2}`).toBe(true);
          }
        }
      }
    }
  });

  it('goes there and back several times in every family', () => {
    for (const family of Object.values(FAMILIES)) {
      for (const { steps } of family({ l1: 'PAE', l2: 'PAE' })) {
        expect(steps.filter((step) => step.do === 'enter').length).toBeGreaterThan(0);
      }
    }
  });

  it('is the same every time', () => {
    expect(JSON.stringify(matrix())).toBe(JSON.stringify(cells));
  });
});
