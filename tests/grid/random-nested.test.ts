import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import { compileScenario } from '../../src/grid/compile.ts';
import { scenarioText } from '../../src/grid/describe.ts';
import { judgeWork } from '../../src/grid/execute.ts';
import { Expectations } from '../../src/grid/expect.ts';
import { rawScenario } from '../../src/grid/random/arbitrary.ts';
import { randomScenario } from '../../src/grid/random/generate.ts';
import { reduceScenario } from '../../src/grid/random/reduce.ts';
import { inOrder, repair } from '../../src/grid/random/repair.ts';
import { pagingModeOf } from '../../src/grid/registers.ts';
import { withoutFeatures } from '../../src/grid/run.ts';
import { PAGING_MODES, type Scenario, type Step, TLB_CONTROL_NAMES } from '../../src/grid/scenario.ts';
import type { StepExpectation } from '../../src/grid/step-expectation.ts';
import { parseScenarios } from '../../src/grid/text/parse.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';

const SAMPLE = Array.from({ length: 150 }, (_, index) => randomScenario({ seed: 11, index, nested: true }));
const steps = SAMPLE.flatMap((scenario) => [...scenario.steps]);
const enters = steps.filter((step) => step.do === 'enter');
const PROCESSOR = { maxPhyAddr: 48, pdptes: 'registers' } as const;

/** Every step's expectation, settled with all that may be, with how the L2 that runs it is paged. */
function* expected(
  scenario: Scenario,
): Generator<StepExpectation & { readonly host?: string; readonly nests: boolean }> {
  const { absent = [] } = scenario;
  const all = new Expectations(compileScenario(scenario), withoutFeatures(PROCESSOR, absent));
  const nested = new Map(
    Object.entries(scenario.l2).map(([name, state]) => [name, state.nested !== undefined]),
  );
  let host: string | undefined;
  for (let next = all.next(); next !== undefined; next = all.next()) {
    const { step, registers, level } = next;
    if (step.do === 'enter') {
      host = pagingModeOf(registers);
      if (step.vmcb?.nested !== undefined) nested.set(step.l2, step.vmcb.nested !== false);
    }
    yield { ...next, ...(host !== undefined && { host }), nests: nested.get(level) ?? false };
    next.settle(next.alternatives);
  }
}

const probes = SAMPLE.flatMap((scenario) => [...expected(scenario)]).filter(
  ({ step }) => step.do === 'probe',
);
/** EXITINFO1 of every nested page fault that a probe may end in: high and low half. */
const faults = probes.flatMap(({ alternatives }) =>
  alternatives.flatMap(({ records: [record] }) =>
    record?.kind === 'exit' && record.code === VMEXIT.NPF && record.high !== undefined
      ? (record.info1 ?? []).map((low) => ({ high: record.high!.info1, low }))
      : [],
  ),
);

describe('random scenarios with nested paging', () => {
  it('are the same for the same seed and number, and not those without', () => {
    expect(randomScenario({ seed: 11, index: 7, nested: true })).toEqual(SAMPLE[7]);
    expect(SAMPLE[7].name).toBe('random/nested/11/7');
    expect(new Set(SAMPLE.map(({ name, ...rest }) => JSON.stringify(rest))).size).toBe(SAMPLE.length);
    expect(SAMPLE[7].steps).not.toEqual(randomScenario({ seed: 11, index: 7 }).steps);
  });

  it('come back whole from their text form', () => {
    for (const scenario of SAMPLE) expect(parseScenarios(scenarioText(scenario), 'file')).toEqual([scenario]);
  });

  it('have L2s of both ways, side by side, and L1 in every mode with tables', () => {
    const ways = SAMPLE.map(({ l2 }) => new Set(Object.values(l2).map(({ nested }) => nested !== undefined)));
    expect(ways.filter(({ size }) => size === 2).length).toBeGreaterThan(SAMPLE.length / 10);
    expect(new Set(SAMPLE.map(({ l1 }) => l1.mode))).toEqual(new Set(PAGING_MODES.slice(1)));
  });

  it('change the ways, nCR3, G_PAT, ASIDs and the registers of L1 between visits', () => {
    const vmcbs = enters.map(({ vmcb = {} }) => vmcb);
    expect(vmcbs.some(({ nested }) => nested === false)).toBe(true);
    expect(new Set(vmcbs.map(({ nested }) => nested)).size).toBeGreaterThanOrEqual(4);
    for (const key of ['asid', 'gPat', 'nestedHigh'] as const)
      expect(
        vmcbs.some((vmcb) => vmcb[key] !== undefined),
        key,
      ).toBe(true);
    for (const name of TLB_CONTROL_NAMES)
      expect(
        vmcbs.some(({ tlbControl }) => tlbControl === name),
        name,
      ).toBe(true);
    expect(enters.some(({ mend }) => mend !== undefined)).toBe(true);
    expect(steps.some((step) => step.do === 'invlpga')).toBe(true);
    const inL1 = SAMPLE.flatMap((scenario) => [...expected(scenario)]).filter(({ level }) => level === 'L1');
    for (const flag of ['CR4.PSE', 'CR4.PAE', 'CR4.PGE', 'CR4.SMEP', 'EFER.NX', 'CR0.WP'] as const)
      expect(
        inL1.some(({ step }) => step.do === 'set' && step.flag === flag),
        flag,
      ).toBe(true);
  });

  it("edit nested tables from L1 and from L2, and put L2's tables behind them", () => {
    const editsBy = (isL1: boolean): boolean =>
      SAMPLE.some((scenario) =>
        [...expected(scenario)].some(
          ({ step, level, nests }) =>
            step.do === 'edit' && /^n\d/.test(step.page) && (isL1 ? level === 'L1' : nests),
        ),
      );
    expect(editsBy(true)).toBe(true);
    expect(editsBy(false)).toBe(true);
    const roots = [
      ...enters.map(({ vmcb }) => vmcb?.root),
      ...SAMPLE.flatMap(({ l2 }) => Object.values(l2).map(({ root }) => root)),
    ];
    expect(roots.some((root) => root?.includes('@'))).toBe(true);
  });

  it.each(['2-level', '2-level+PSE', 'PAE'])(
    'reach pages through nested tables of a %s host, L2 in every mode',
    (mode) => {
      const reached = probes.filter(
        ({ host, nests, alternatives }) =>
          host === mode && nests && alternatives.some(({ records: [record] }) => record?.kind === 'value'),
      );
      expect(new Set(reached.map(({ registers }) => pagingModeOf(registers)))).toEqual(new Set(PAGING_MODES));
    },
  );

  // biome-ignore format: table
  it.each([
    ['an absent page, read',                1, 0x04],
    ['an absent page, written',             1, 0x06],
    ['a read-only or supervisor page, written', 1, 0x07],
    ['a supervisor page, read',             1, 0x05],
    ['an absent page, fetched',             1, 0x14],
    ['a page not to be fetched from',       1, 0x15],
    ['reserved bits, read',                 1, 0x0d],
    ['reserved bits, written',              1, 0x0f],
    ['reserved bits, fetched',              1, 0x1d],
    ['an absent page below a table of L2',  2, 0x06],
    ['a read-only one',                     2, 0x07],
    ['reserved bits there',                 2, 0x0f],
  ])('end in a nested page fault for %s', (_, high, low) => {
    expect(faults).toContainEqual({ high, low });
  });

  it('end in values as often as in faults of either stage', () => {
    const nested = probes.filter(({ nests, alternatives }) => nests && alternatives[0].records.length > 0);
    const share = (
      kind: (record: StepExpectation['alternatives'][number]['records'][number]) => boolean,
    ): number => nested.filter(({ alternatives }) => kind(alternatives[0].records[0])).length / nested.length;
    expect(share(({ kind }) => kind === 'value')).toBeGreaterThan(0.15);
    expect(share((record) => record.kind === 'exit' && record.code === VMEXIT.NPF)).toBeGreaterThan(0.15);
    expect(
      share((record) => record.kind === 'fault' || (record.kind === 'exit' && record.code !== VMEXIT.NPF)),
    ).toBeGreaterThan(0.15);
  });

  it('can be wherever the processor reads PDPTEs', () => {
    // Numbers 425 and 459 of seed 1 could not, when they were made for PDPTEs in registers alone.
    const found = [425, 459].map((index) => randomScenario({ seed: 1, index, nested: true }));
    for (const scenario of [...found, ...SAMPLE]) {
      const { absent = [] } = scenario;
      const facts = withoutFeatures({ maxPhyAddr: 48, pdptes: 'memory, checked by VMRUN' }, absent);
      const all = new Expectations(compileScenario(scenario), facts);
      for (let next = all.next(); next !== undefined; next = all.next()) next.settle(next.alternatives);
    }
  });

  it('lose next to nothing of what was drawn when they are repaired', () => {
    const drawn = fc.sample(rawScenario('x', true), { seed: 5, numRuns: 100 });
    const repaired = drawn.map(repair);
    expect(repaired.filter((scenario) => scenario === undefined).length).toBeLessThan(10);
    const kept = drawn.flatMap((scenario, index) => {
      const rest = repaired[index];
      return rest === undefined ? [] : [rest.steps.length / inOrder(scenario.steps).length];
    });
    expect(Math.min(...kept)).toBeGreaterThan(0.6);
    expect(kept.reduce((sum, share) => sum + share, 0) / kept.length).toBeGreaterThan(0.95);
  });
});

it('random scenarios with nested paging see what the oracle allows', { timeout: 120_000 }, () => {
  const host = umbraHost({ l0: 'none' });
  const verdicts = Array.from({ length: 40 }, (_, index) =>
    judgeWork({ seed: 21, index, nested: true }, host),
  );
  expect(verdicts.flatMap(({ mismatches }) => mismatches)).toEqual([]);
  expect(verdicts.filter(({ skipped }) => skipped === undefined).length).toBeGreaterThan(30);
  expect(verdicts.reduce((sum, { probes: judged }) => sum + judged, 0)).toBeGreaterThan(500);
});

describe('a failing random scenario with nested paging', () => {
  it('is reduced to the L2, the way and the mending that fail', () => {
    const isMended = (step: Step): boolean => step.do === 'enter' && step.mend !== undefined;
    const fails = ({ steps: left }: Scenario): boolean => left.some(isMended);
    const { l1, l2, steps: left, pages } = reduceScenario(SAMPLE.find(fails)!, fails);
    expect(left).toEqual([{ do: 'enter', l2: Object.keys(l2)[0], mend: expect.anything() }, { do: 'leave' }]);
    expect(l1.flags).toEqual([]);
    const [{ nested, interceptPageFaults, flags }] = Object.values(l2);
    expect([nested, interceptPageFaults, flags]).toEqual([undefined, undefined, []]);
    expect(JSON.stringify(pages)).not.toContain('flags');
  });

  it('keeps nested paging where that is what fails', () => {
    const fails = ({ l2, steps: left }: Scenario): boolean =>
      left.some((step) => step.do === 'enter' && step.mend === undefined && l2[step.l2].nested !== undefined);
    const { l2, steps: left } = reduceScenario(SAMPLE.find(fails)!, fails);
    expect(left).toHaveLength(2);
    expect(Object.values(l2)).toMatchObject([{ nested: expect.stringMatching(/^n\d/) }]);
  });
});
