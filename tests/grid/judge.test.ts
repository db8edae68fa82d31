import { describe, expect, it } from 'vitest';
import { type CompiledScenario, compileScenario, stepNumber } from '../../src/grid/compile.ts';
import { onHost } from '../../src/grid/execute.ts';
import { Expectations } from '../../src/grid/expect.ts';
import { judgeScenario, type MachineEnd } from '../../src/grid/judge.ts';
import { causeOf } from '../../src/grid/random/cause.ts';
import type { ExpectedRecord } from '../../src/grid/records.ts';
import { runScenario, type ScenarioHost } from '../../src/grid/run.ts';
import { runGrid } from '../../src/grid/run-grid.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import type { ProcessorFacts } from '../../src/grid/step-expectation.ts';
import { AGENT_STATE } from '../../src/guest/agent-core.ts';
import { AGENT_LAYOUT, RECORD_STATUS, STEP_SIZE } from '../../src/guest/agent-layout.ts';
import { agents } from '../../src/guest/agents.ts';

const PROCESSOR: ProcessorFacts = { maxPhyAddr: 40, pdptes: 'registers' };
const WINDOW = 0x0100_0000;

/** A 2-level L1 with a read-only page, and an L2 with paging off. */
const SCENARIO: Scenario = {
  name: 'judged',
  about: 'A read-only page.',
  features: [],
  pages: {
    pd: { entries4: { 4: { to: 'pt', flags: 'P W U' } } },
    pt: { entries4: { 0: { to: 'data', flags: 'P U' } } },
    data: {},
  },
  l1: { mode: '2-level', root: 'pd', flags: ['CR0.WP'] },
  l2: { A: { mode: 'off', flags: [], asid: 1, interceptPageFaults: true } },
  steps: [
    { do: 'probe', form: 'read4', cpl: 3, at: WINDOW + 0xf80 },
    { do: 'probe', form: 'write4', cpl: 0, at: WINDOW + 0xf84, value: 9 },
    { do: 'enter', l2: 'A' },
    { do: 'registers' },
    { do: 'leave' },
    { do: 'read', page: 'pt', offset: 0, width: 4 },
  ],
};

const kernelWrite = agents().at('kernel-probe-5');

// biome-ignore format: table
/** What a right machine records, by hand: [step, status | level, A, B, C, D, E]. */
const RIGHT: readonly (readonly number[])[] = [
  [0, RECORD_STATUS.DONE | 0x100, 0x8001_0011],
  [1, RECORD_STATUS.DONE | 0x100, 0x0303_0303],
  // P and W: a supervisor write to a read-only page with CR0.WP.
  [2, RECORD_STATUS.FAULT | 0x100, 14, 0x3, WINDOW + 0xf84, kernelWrite, 0x08],
  [4, RECORD_STATUS.DONE | 0x200, 0x11, 0, 0, 0x1000],
  [5, RECORD_STATUS.EXIT | 0x100, 0x81],
  // Present, user, accessed.
  [6, RECORD_STATUS.DONE | 0x100, AGENT_LAYOUT.PAGES + 0x2000 + 0x25],
];

function machineEnd(
  records: readonly (readonly number[])[],
  exitCode: number | 'none' = 0,
  operation = 0,
): MachineEnd {
  const log = new Uint8Array(records.length * 32);
  const view = new DataView(log.buffer);
  records.forEach((record, index) => {
    record.forEach((word, field) => {
      view.setUint32(index * 32 + field * 4, word, true);
    });
  });
  const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
  const state = new Map([
    [agents().at(AGENT_STATE.LOG), word(AGENT_LAYOUT.LOG + log.length)],
    [
      agents().at(AGENT_STATE.SCRIPT),
      word(operation === 0 ? 0 : AGENT_LAYOUT.SCRIPT + operation * STEP_SIZE),
    ],
  ]);
  return {
    exitCode: exitCode === 'none' ? undefined : exitCode,
    reason: 'it halted',
    instructions: undefined,
    read: (address, length) => state.get(address) ?? log.subarray(0, length),
  };
}

describe('judgeScenario', () => {
  const compiled = compileScenario(SCENARIO);
  const judge = (records: readonly (readonly number[])[], exitCode?: number | 'none') =>
    judgeScenario(compiled, machineEnd(records, exitCode), PROCESSOR);
  const changed = (step: number, ...record: number[]) =>
    RIGHT.map((one) => (one[0] === step ? [step, ...record] : one));

  it('finds nothing wrong with a right machine', () => {
    expect(judge(RIGHT).mismatches).toEqual([]);
    expect(judge(RIGHT).probes).toBe(2);
  });

  // biome-ignore format: table
  const wrong: readonly [string, readonly (readonly number[])[], number, string][] = [
    ['a value of another page', changed(1, 0x101, 0x0202_0202), 0, 'must give value 0x3030303; saw value 0x2020202.'],
    ['a missing fault', changed(2, 0x101, 9), 1, 'saw value 0x9.'],
    ['another error code', changed(2, 0x102, 14, 0x7, WINDOW + 0xf84, kernelWrite, 8), 1, 'error code 0x7'],
    ['another CR2', changed(2, 0x102, 14, 0x3, WINDOW, kernelWrite, 8), 1, 'CR2 0x1000000'],
    ['a fault of another instruction', changed(2, 0x102, 14, 0x3, WINDOW + 0xf84, kernelWrite + 2, 8), 1, 'saw #PF in L1'],
    ['a register of the hypervisor below', changed(4, 0x201, 0x8001_0011, 0, 0, 0x1000), 3, 'must give CR0=0x11'],
    ['another exit', changed(5, 0x103, 0x7f), 4, 'must give VMMCALL exit to L1; saw SHUTDOWN exit to L1'],
    ['a lost accessed flag', changed(6, 0x101, AGENT_LAYOUT.PAGES + 0x2005), 5, 'must give value 0x302025; saw value 0x302005.'],
    ['a dirty flag too many', changed(6, 0x101, AGENT_LAYOUT.PAGES + 0x2065), 5, 'saw value 0x302065.'],
    ['a step without a record', RIGHT.filter(([step]) => step !== 1), 0, 'nothing was recorded'],
    ['a record of a step that has none', [...RIGHT.slice(0, 3), [3, 0x103, 0xffff_ffff], ...RIGHT.slice(3)], 2, 'saw INVALID exit'],
  ];
  it.each(wrong)('finds %s', (_, records, index, text) => {
    const { mismatches } = judge(records);
    expect(mismatches.map((mismatch) => mismatch.index)).toEqual([index]);
    expect(mismatches[0].text).toContain(text);
  });

  it('tells step, level, registers and role', () => {
    const [{ text, details }] = judge(changed(4, 0x201, 0x8001_0011, 0, 0, 0x1000)).mismatches;
    expect(text).toContain('Scenario judged, step 4 in A: registers');
    expect(text).toContain(
      'Registers CR0=0x11 CR3=0x0 CR4=0x0 EFER=0x1000; cpu role off: direct guest_mode.',
    );
    expect(details?.seen).toHaveLength(1);
  });

  it('says where a machine stopped that did not finish, and judges what came before', () => {
    const { probes, mismatches } = judge(RIGHT.slice(0, 2), 'none');
    expect(probes).toBe(1);
    const [{ text }] = mismatches;
    expect(mismatches).toHaveLength(1);
    expect(text).toBe('Scenario judged did not finish: the machine stopped after step 1 because it halted.');
  });

  it('says in which step a machine stopped, which need not have recorded anything', () => {
    // Operation 0 turns on paging, then there is one for each step until L2 is entered, which has two.
    const heard: boolean[] = [];
    const end = machineEnd(RIGHT.slice(0, 3), 'none', 3);
    const { mismatches } = judgeScenario(compiled, end, PROCESSOR, ({ right }) => heard.push(right));
    expect(mismatches.map(({ text }) => text)).toEqual([
      'Scenario judged did not finish: the machine stopped in step 3, enter A, because it halted.',
    ]);
    expect(heard).toEqual([true, true, false]);
    expect(causeOf(mismatches[0])).toBe(
      'It did not finish: the machine stopped in step #, enter, because it halted.',
    );
  });

  it.each([-1, 1e5, 0.5])('survives a script pointer that is none: %d operations', (operation) => {
    const { mismatches } = judgeScenario(
      compiled,
      machineEnd(RIGHT.slice(0, 2), 'none', operation),
      PROCESSOR,
    );
    expect(mismatches[0].text).toContain('the machine stopped after step 1 because');
  });

  it('survives a log that is none', () => {
    const end = { ...machineEnd([]), read: () => new Uint8Array(4) };
    expect(judgeScenario(compiled, end, PROCESSOR).mismatches[0].text).toContain('the agents left no log');
  });
});

describe('Expectations', () => {
  const single = (compiled: CompiledScenario, index: number): readonly ExpectedRecord[][] => {
    const expectations = new Expectations(compiled, PROCESSOR);
    for (let next = expectations.next(); next !== undefined; next = expectations.next()) {
      if (next.index === index) return next.alternatives.map(({ records }) => [...records]);
      next.settle(next.alternatives);
    }
    return [];
  };

  it('permits old and new after an edit without invalidation, and only the new one after INVLPG', () => {
    const at = WINDOW + 0xf80;
    const read = { do: 'probe', form: 'read4', cpl: 0, at } as const;
    const steps: Scenario['steps'] = [
      read,
      { do: 'edit', page: 'pt', index: 0, width: 4, entry: { to: 'pd', flags: 'P W' } },
      read,
      { do: 'invlpg', at },
      read,
    ];
    const compiled = compileScenario({ ...SCENARIO, steps });
    const values = (index: number) =>
      [
        ...new Set(single(compiled, index).map(([record]) => (record.kind === 'value' ? record.lo : -1))),
      ].sort();
    expect(values(0)).toEqual([0x0303_0303]);
    expect(values(2)).toEqual([0x0101_0101, 0x0303_0303]);
    expect(values(4)).toEqual([0x0101_0101]);
  });

  it('expects an exit for a page fault that L1 intercepts, and the fault after it if L1 reflects', () => {
    const l2 = { A: { mode: '2-level', root: 'pd', flags: [], asid: 1, interceptPageFaults: true } } as const;
    for (const reflect of [false, true]) {
      const steps: Scenario['steps'] = [
        { do: 'enter', l2: 'A', reflect },
        { do: 'probe', form: 'read2', cpl: 3, at: WINDOW + 0x1000 },
        { do: 'leave' },
      ];
      const [records] = single(compileScenario({ ...SCENARIO, l2, steps }), 1);
      expect(records.map(({ kind, level }) => `${kind} ${level}`)).toEqual(
        reflect ? ['exit 1', 'fault 2'] : ['exit 1'],
      );
      expect(records[0]).toMatchObject({ code: 0x4e, info1: [0x4], info2: [WINDOW + 0x1000] });
    }
  });

  it('expects VMRUN to refuse illegal PDPTEs where they are loaded, and skips what L2 would have done', () => {
    const pages = { ...SCENARIO.pages, pdpt: { entries8: { 1: { to: 'data', flags: 'P W' } } } };
    const l2 = { A: { mode: 'PAE', root: 'pdpt', flags: [], asid: 1 } } as const;
    const steps: Scenario['steps'] = [{ do: 'enter', l2: 'A' }, { do: 'registers' }, { do: 'leave' }];
    const compiled = compileScenario({ ...SCENARIO, pages, l2, steps });
    expect(single(compiled, 0)).toEqual([[{ kind: 'exit', level: 1, code: -1 }]]);
    expect(single(compiled, 1)).toEqual([[]]);
    expect(single(compiled, 2)).toEqual([[]]);
  });
});

describe('runGrid', () => {
  it('counts probes and mismatches by cell and reports progress', async () => {
    const answers = [RIGHT, RIGHT.map((one) => (one[0] === 1 ? [1, 0x101, 7] : one))];
    const host: ScenarioHost = {
      name: 'a machine of records',
      asids: 64,
      processor: PROCESSOR,
      run: () => machineEnd(answers.shift()!),
    };
    const cells = [
      { on: 'bare', l1: '2-level', way: 'shadow', l2: 'off', scenarios: [SCENARIO, SCENARIO] },
    ] as const;
    const run = runGrid(onHost(host), cells);
    expect(await run.next()).toEqual({ done: false, value: { done: 1, total: 2, name: 'judged' } });
    expect(await run.next()).toEqual({ done: false, value: { done: 2, total: 2, name: 'judged' } });
    const { value } = await run.next();
    expect(value).toMatchObject([
      { on: 'bare', l1: '2-level', way: 'shadow', l2: 'off', scenarios: 2, probes: 4, mismatches: 1 },
    ]);
  });

  it('skips a scenario with an ASID that the processor does not have', () => {
    const host: ScenarioHost = {
      name: 'a host',
      asids: 64,
      processor: PROCESSOR,
      run: () => machineEnd(RIGHT),
    };
    const enter = { do: 'enter', l2: 'A', vmcb: { asid: 64 } } as const;
    const { skipped } = runScenario({ ...SCENARIO, steps: [enter, { do: 'leave' }] }, host);
    expect(skipped).toBe('a host has the ASIDs 0 to 63, and the scenario uses 64');
  });

  it('says so where there is no SVM', async () => {
    const host: ScenarioHost = {
      name: 'a 486',
      asids: 64,
      processor: PROCESSOR,
      run: () => machineEnd([], 2),
    };
    const cells = [{ on: 'bare', l1: '2-level', way: 'shadow', l2: 'off', scenarios: [SCENARIO] }] as const;
    await expect(runGrid(onHost(host), cells).next()).rejects.toThrow('The processor of a 486 has no SVM');
  });
});

it('numbers steps from one: zero is what comes before', () => {
  expect(stepNumber(0)).toBe(1);
});
