import { describe, expect, it } from 'vitest';
import { scenarioText } from '../../src/grid/describe.ts';
import { onHost } from '../../src/grid/execute.ts';
import { randomScenario } from '../../src/grid/random/generate.ts';
import { reduceScenario } from '../../src/grid/random/reduce.ts';
import { inOrder } from '../../src/grid/random/repair.ts';
import { runRandom } from '../../src/grid/random/run-random.ts';
import type { ScenarioReport } from '../../src/grid/replay.ts';
import type { ScenarioHost } from '../../src/grid/run.ts';
import { FLAGS, PAGING_MODES, type Scenario, SETTABLE_FLAGS, type Step } from '../../src/grid/scenario.ts';
import { parseScenarios } from '../../src/grid/text/parse.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';
import { PROBE_FORMS } from '../../src/guest/probe-forms.ts';

const SAMPLE = Array.from({ length: 150 }, (_, index) => randomScenario({ seed: 11, index }));
const steps = SAMPLE.flatMap((scenario) => [...scenario.steps]);
const present = (test: (step: Step) => boolean): boolean => steps.some(test);

describe('random scenarios', () => {
  it('are the same for the same seed and number, and else different', () => {
    expect(randomScenario({ seed: 11, index: 7 })).toEqual(SAMPLE[7]);
    const texts = SAMPLE.map(({ name, ...rest }) => JSON.stringify(rest));
    expect(new Set(texts).size).toBe(SAMPLE.length);
    expect(scenarioText(randomScenario({ seed: 12, index: 7 }))).not.toBe(scenarioText(SAMPLE[7]));
  });

  it('come back whole from their text form', () => {
    for (const scenario of SAMPLE) expect(parseScenarios(scenarioText(scenario), 'file')).toEqual([scenario]);
  });

  it('have every kind of step, probe, flag, mode and number of L2s', () => {
    const kinds = [
      'enter',
      'leave',
      'switch',
      'set',
      'load-cr3',
      'reload-cr3',
      'edit',
      'write',
      'read',
      'invlpg',
      'invlpga',
      'probe',
      'host',
      'registers',
    ];
    for (const kind of kinds)
      expect(
        present((step) => step.do === kind),
        kind,
      ).toBe(true);
    for (const { name } of PROBE_FORMS)
      expect(
        present((step) => step.do === 'probe' && step.form === name),
        name,
      ).toBe(true);
    for (const flag of SETTABLE_FLAGS)
      expect(
        present((step) => step.do === 'set' && step.flag === flag),
        flag,
      ).toBe(true);
    for (const mode of PAGING_MODES) {
      expect(
        SAMPLE.some(({ l1 }) => l1.mode === mode),
        mode,
      ).toBe(true);
      expect(
        SAMPLE.some(({ l2 }) => Object.values(l2).some((state) => state.mode === mode)),
        mode,
      ).toBe(true);
    }
    for (const flag of FLAGS)
      expect(
        SAMPLE.some(({ l1 }) => l1.flags.includes(flag)),
        flag,
      ).toBe(true);
    expect(new Set(SAMPLE.map(({ l2 }) => Object.keys(l2).length))).toEqual(new Set([1, 2, 3, 4]));
    expect(present((step) => step.do === 'probe' && step.entry !== undefined)).toBe(true);
    expect(present((step) => step.do === 'host' && step.action === 'remove')).toBe(true);
    for (const bit of ['PS', 'G', 'NX', '51', '13'])
      expect(
        SAMPLE.some(({ pages }) => JSON.stringify(pages).includes(bit)),
        bit,
      ).toBe(true);
  });

  it('leave an L2 before they enter another, and end in L1', () => {
    const enter = { do: 'enter', l2: 'A' } as const;
    const leave = { do: 'leave' } as const;
    expect(inOrder([leave, enter, enter, leave, leave, enter])).toEqual([
      enter,
      leave,
      enter,
      leave,
      enter,
      leave,
    ]);
  });
});

async function report(count: number, seed: number, host: ScenarioHost): Promise<ScenarioReport> {
  const run = runRandom({ count, seed, hosts: ['bare'] }, onHost(host), () => host);
  for (;;) {
    const step = await run.next();
    if (step.done === true) return step.value;
  }
}

describe.each([
  ['bare', umbraHost({ l0: 'none' }), 40],
  ['under L0', umbraHost({ l0: 'shadow' }), 50],
  ['under L0 with every invariant checked', umbraHost({ l0: 'shadow', check: true }), 15],
] as const)('random scenarios %s', (_, host, count) => {
  it('see what the oracle allows', { timeout: 120_000 }, async () => {
    const { scenarios, probes, failures, skipped } = await report(count, 21, host);
    expect(failures.flatMap(({ mismatches }) => mismatches)).toEqual([]);
    expect(scenarios).toBeGreaterThan(count / 2);
    expect(scenarios + skipped.length).toBe(count);
    for (const { why } of skipped) expect(why).toMatch(/^Umbra, .* (cannot|does not offer) /);
    expect(probes).toBeGreaterThan(scenarios * 5);
  });
});

describe('a failing random scenario', () => {
  it('is reduced to the fewest steps, entries and flags that still fail', () => {
    const fails = ({ steps: left, pages }: Scenario): boolean =>
      left.some((step) => step.do === 'set' && step.flag === 'CR0.WP') &&
      left.some((step) => step.do === 'edit') &&
      Object.values(pages).some((page) =>
        Object.values(page.entries4 ?? {}).some(({ flags }) => flags.includes('U')),
      );
    const failing = SAMPLE.find(fails)!;
    const { steps: left, pages, l2, l1 } = reduceScenario(failing, fails);
    expect(left.map((step) => step.do).sort()).toEqual(['edit', 'set']);
    expect(left).not.toContainEqual({ do: 'leave' });
    const entries = Object.values(pages).flatMap(({ entries4 = {}, entries8 = {} }) =>
      Object.values({ ...entries4, ...entries8 }),
    );
    expect(entries.map(({ flags }) => flags.replace(/^P /, ''))).toEqual(['U']);
    expect(l2).toEqual({});
    expect(l1.flags).toEqual([]);
  });

  it('may end in an L2 that has to be left', () => {
    const fails = ({ steps: left }: Scenario): boolean =>
      left.some((step, index) => step.do === 'enter' && left[index + 1]?.do === 'probe');
    const { steps: left, l2 } = reduceScenario(SAMPLE.find(fails)!, fails);
    expect(left.map((step) => step.do)).toEqual(['enter', 'probe', 'leave']);
    expect(Object.keys(l2)).toHaveLength(1);
  });

  it('is printed as a file that fails again', { timeout: 120_000 }, async () => {
    const umbra = umbraHost({ l0: 'none' });
    // Told that there is no NX, the oracle expects every use of it to be refused.
    const host: ScenarioHost = { ...umbra, processor: { ...umbra.processor, features: { nx: false } } };
    const { failures } = await report(25, 5, host);
    expect(failures.length).toBeGreaterThan(0);
    const [{ text, mismatches }] = failures;
    const [scenario] = parseScenarios(text, 'file');
    expect(scenario.steps.length).toBeLessThan(6);
    const verdict = await onHost(host)([{ work: scenario, on: 'bare' }])
      [Symbol.asyncIterator]()
      .next();
    expect(
      verdict.value.verdict.mismatches.map(
        ({ text: story }: { text: string }) => `On the bare processor: ${story}`,
      ),
    ).toEqual(mismatches);
  });
});
