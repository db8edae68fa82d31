import { describe, expect, it } from 'vitest';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import { compileScenario } from '../../src/grid/compile.ts';
import { Expectations } from '../../src/grid/expect.ts';
import { L1_MODES, L2_MODES } from '../../src/grid/matrix/cell.ts';
import { FAMILIES, type MatrixCell, matrix } from '../../src/grid/matrix/matrix.ts';
import { NPT_CELLS, NPT_L1_MODES } from '../../src/grid/matrix/npt/cell.ts';
import { NPT_FAMILIES } from '../../src/grid/matrix/npt/matrix.ts';
import type { ExpectedRecord } from '../../src/grid/records.ts';
import type { ProbeStep, Scenario } from '../../src/grid/scenario.ts';
import { PROBE_FORMS } from '../../src/guest/probe-forms.ts';

const cells = matrix();
const shadow = cells.filter(({ way }) => way === 'shadow');
const npt = cells.filter(({ way }) => way === 'npt');
const probesOf = ({ scenarios }: MatrixCell): readonly ProbeStep[] =>
  scenarios.flatMap(({ steps }) => steps).filter((step) => step.do === 'probe');

/** Families of whose kinds of nested page faults the grid has to be sure. */
const TELLING = /\/(rights-0|tables-behind|quadrants|beyond-4-gib)$/;

/** Whatever may be recorded of a scenario. */
function recordsOf(scenario: Scenario): ExpectedRecord[] {
  const expectations = new Expectations(compileScenario(scenario), { maxPhyAddr: 48, pdptes: 'registers' });
  const records: ExpectedRecord[] = [];
  for (let next = expectations.next(); next !== undefined; next = expectations.next()) {
    records.push(...next.alternatives.flatMap((alternative) => alternative.records));
    next.settle(next.alternatives);
  }
  return records;
}

describe('the matrix', () => {
  it('has a cell for each pair of modes', () => {
    const pairs = (of: readonly MatrixCell[]) => of.map(({ l1, l2 }) => `${l1} ${l2}`);
    expect(pairs(shadow)).toEqual(L1_MODES.flatMap((l1) => L2_MODES.map((l2) => `${l1} ${l2}`)));
    expect(pairs(npt)).toEqual(NPT_L1_MODES.flatMap((l1) => L2_MODES.map((l2) => `${l1} ${l2}`)));
  });

  it('has scenarios of different names that all compile', () => {
    const scenarios = cells.flatMap((cell) => cell.scenarios);
    expect(new Set(scenarios.map(({ name }) => name)).size).toBe(scenarios.length);
    for (const scenario of scenarios) expect(compileScenario(scenario).image.length).toBeGreaterThan(0x10000);
  });

  it('makes every kind of probe on every kind of page in each cell', () => {
    for (const cell of cells) {
      const { l1, way, l2 } = cell;
      const probes = probesOf(cell);
      for (const form of PROBE_FORMS) expect(probes.some((probe) => probe.form === form.name)).toBe(true);
      const kinds = ['present', 'absent', 'read-only', 'supervisor', 'large', 'dir-read-only above'];
      // Under nested paging it is L1's entries that are of every kind.
      const hasWide = l1 === 'PAE' || (way === 'shadow' && l2 === 'PAE');
      const wide = hasWide ? ['nx', 'reserved', 'dir-nx above', 'dir-reserved above'] : [];
      for (const kind of [...kinds, ...wide]) {
        for (const form of ['read4', 'write4', 'fetch']) {
          for (const cpl of [0, 3]) {
            const found = probes.some(
              (probe) => probe.form === form && probe.cpl === cpl && probe.about?.includes(kind),
            );
            expect(found, `${form} at CPL ${cpl} of ${kind} in L1 ${l1}, L2 ${l2}`).toBe(true);
          }
        }
      }
    }
  });

  it('goes there and back several times in every family', () => {
    for (const family of [...Object.values(FAMILIES), ...Object.values(NPT_FAMILIES)]) {
      for (const { steps } of family({ l1: 'PAE', l2: 'PAE' })) {
        expect(steps.filter((step) => step.do === 'enter').length).toBeGreaterThan(0);
      }
    }
  });

  it('runs every L2 of its cells with nested paging under nested tables, and needs them', () => {
    for (const { name, l2, features, absent = [] } of npt.flatMap(({ scenarios }) => scenarios)) {
      const nested = Object.values(l2).filter((state) => state.nested !== undefined);
      expect(nested.length, name).toBeGreaterThan(0);
      expect([...features, ...absent], name).toContain('npt');
    }
    expect(
      shadow.flatMap(({ scenarios }) => scenarios).some(({ features }) => features.includes('npt')),
    ).toBe(false);
  });

  // Where L0's nested tables are 2-level ones it offers no NX to who has nested paging.
  it('tries every family with nested paging without NX, but for that about it', () => {
    const families = Object.entries(NPT_FAMILIES).filter(([family]) => family !== 'host-registers');
    for (const l1 of NPT_L1_MODES) {
      const tried = families.filter(([, family]) => {
        const found = NPT_CELLS.filter((cell) => cell.l1 === l1).flatMap(family);
        return found.length === 0 || found.some(({ features }) => !features.includes('nx'));
      });
      expect(tried, l1).toEqual(families);
    }
  });

  it('meets nested page faults of both kinds, and goes on after them, in each of those cells', () => {
    for (const { l1, l2, scenarios } of npt) {
      const seen = new Set<string>();
      for (const scenario of scenarios.filter(({ name }) => TELLING.test(name))) {
        for (const record of recordsOf(scenario)) {
          if (record.kind !== 'exit' || record.code !== VMEXIT.NPF) continue;
          for (const info1 of record.info1 ?? []) seen.add(`${record.high?.info1} ${info1 & ~0x10}`);
          if ((record.high?.info2 ?? 0) > 0) seen.add('beyond 4 GiB');
        }
      }
      // Bit 32 and bit 33, not present, present, and with a reserved bit (APM vol. 2 15.25.6).
      const final = ['1 4', '1 5', '1 6', '1 7', '1 13', '1 15'];
      const table = ['2 6', '2 7', '2 15'];
      const reserved = (code: string): boolean => /1[35]$/.test(code);
      const wanted = [...final, ...(l2 === 'off' ? [] : table)].filter(
        (code) => l1 !== '2-level' || !reserved(code),
      );
      for (const code of wanted) expect(seen, `L1 ${l1}, L2 ${l2}: EXITINFO1 ${code}`).toContain(code);
      if (l2 === 'PAE') expect(seen).toContain('beyond 4 GiB');
    }
  }, 120_000);

  it('is the same every time', () => {
    expect(JSON.stringify(matrix())).toBe(JSON.stringify(cells));
  });
});
