import { describe, expect, it } from 'vitest';
import { gpa, hpa } from '../../../src/arch/address.ts';
import { type CpuModel, cpuModelNamed } from '../../../src/arch/cpu-models.ts';
import { INTERCEPT1, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { CpuMemory } from '../../../src/cpu/cpu-memory.ts';
import { type L0Paging, offeredModel } from '../../../src/l0/guest-cpu.ts';
import { setInitialState } from '../../../src/l0/vcpu-registers.ts';
import { applyInitialState } from '../../../src/machine/initial-registers.ts';
import { protectedState } from '../../../src/machine/loaders/initial-state.ts';
import { Machine } from '../../../src/machine/machine.ts';
import { HostedMachine, hostMemory } from '../../../src/vmm/hosted-machine.ts';
import { CODE, type Delivery, deliveryImage, FRAME, HSAVE, MEMORY, VMCB12 } from './delivery-program.ts';

const MODEL = cpuModelNamed('current-amd')!;
const L0_PAGING = ['shadow', 'npt'] as const;
/** What L0 offers on this host, which is what the bare processor must be. */
const offered = (l0: L0Paging): CpuModel => offeredModel(MODEL, { paging: l0, nestedNx: true });
const START = protectedState(CODE, {}, 0x08, 0x10, hpa(0));
const LIMIT = 30_000;
/** Memory for one machine after another: making it takes longer than most runs. */
const BARE_MEMORY = new CpuMemory(MEMORY);
const HOSTED_MEMORY = hostMemory(MEMORY);

interface Outcome {
  readonly end: string;
  readonly words: Uint32Array;
}

const outcome = (stop: { kind: string; value?: number }, memory: Uint8Array): Outcome => ({
  end: stop.kind === 'debug-exit' ? `exit ${stop.value}` : stop.kind,
  words: new Uint32Array(memory.buffer, memory.byteOffset, MEMORY / 4),
});

function runBare(image: Uint8Array<ArrayBuffer>, l0: L0Paging): Outcome {
  const machine = new Machine({ model: offered(l0), memoryBytes: MEMORY, memory: BARE_MEMORY });
  machine.cpu.physical.load(hpa(0), image);
  applyInitialState(machine.cpu, START);
  let stop = machine.run(LIMIT);
  while (stop.kind === 'halted') stop = machine.run(LIMIT);
  return outcome(stop, machine.cpu.physical.u8.slice(0, MEMORY));
}

function runHosted(image: Uint8Array<ArrayBuffer>, l0: L0Paging): Outcome {
  const machine = new HostedMachine({
    model: MODEL,
    l0,
    memoryBytes: MEMORY,
    memory: HOSTED_MEMORY,
    check: true,
  });
  machine.write(gpa(0), image);
  setInitialState(machine.vcpu, START);
  const stop = machine.run(LIMIT);
  return outcome(stop, machine.read(gpa(0), MEMORY));
}

/** Fields of the VMCB that a #VMEXIT writes; instruction bytes and next rIP are left to the processor. */
const COMPARED = new Set<number>([
  VMCB.EXITCODE,
  VMCB.EXITINFO1,
  VMCB.EXITINFO1 + 4,
  VMCB.EXITINFO2,
  VMCB.EXITINFO2 + 4,
  VMCB.EXITINTINFO,
  VMCB.EXITINTINFO + 4,
  VMCB.EVENTINJ,
  ...Array.from({ length: (VMCB_SAVE.CR2 + 8 - VMCB_SAVE.ES) / 4 }, (_, i) => VMCB_SAVE.ES + 4 * i),
]);

/** The first words that differ; empty if the guest cannot tell the two apart. */
function differences(bare: Outcome, hosted: Outcome): string[] {
  const list: string[] = bare.end === hosted.end ? [] : [`ends with ${bare.end} bare, ${hosted.end} hosted`];
  for (let word = 0; word < MEMORY / 4; word += 1) {
    const at = word * 4;
    const page = at & ~0xfff;
    if (page === HSAVE || (page === VMCB12 && !COMPARED.has(at - VMCB12))) continue;
    const [a, b] = [bare.words[word] as number, hosted.words[word] as number];
    if (a !== b) list.push(`${at.toString(16)}: ${a.toString(16)} bare, ${b.toString(16)} hosted`);
  }
  return list.slice(0, 12);
}

/** What the bare processor does, and how L0 differs from it. */
function compare(delivery: Delivery, l0: L0Paging): { end: string; differences: string[] } {
  const image = deliveryImage(delivery);
  const bare = runBare(image, l0);
  return { end: bare.end, differences: differences(bare, runHosted(image, l0)) };
}

const name = (d: Delivery): string =>
  JSON.stringify(d).replace(/["{}]/g, '').replace(/,/g, ', ').replace(/:/g, ' ');

/** Each delivery with the end that the manual demands, as L1 and as an L2 that L1 leaves alone. */
function same(list: readonly (readonly [end: string, delivery: Delivery])[]): void {
  for (const [end, delivery] of list) {
    it(name(delivery), () => {
      // Only with nested paging of its own can L0 offer any to L1.
      for (const l0 of delivery.nested?.pages ? (['npt'] as const) : L0_PAGING)
        expect(compare(delivery, l0), l0).toEqual({ end, differences: [] });
    });
    if (delivery.nested) continue;
    it(`${name(delivery)}, in L2`, () => {
      // Without an intercept, a shutdown of L2 is that of the processor.
      const inL2 = { ...delivery, nested: {} };
      for (const l0 of L0_PAGING) expect(compare(inL2, l0), l0).toEqual({ end, differences: [] });
    });
  }
}

const PAGING = ['off', '2-level', 'pae'] as const;
const TABLED = ['2-level', 'pae'] as const;
const SOFTWARE = ['int', 'int3', 'into', 'icebp'] as const;

describe('a handler on the present stack', () => {
  same(
    TABLED.flatMap((paging) => [
      ...(['ud', 'gp', 'pf'] as const).map((event) => ['exit 1', { paging, event, stack: 'table' }] as const),
      ...[...SOFTWARE, 'irq' as const].map(
        (event) => ['exit 0', { paging, event, stack: 'table', returns: true }] as const,
      ),
      ['exit 0', { paging, event: 'int', stack: 'table', returns: true, gate: 'interrupt16' }],
      ['exit 0', { paging, event: 'int', stack: 'table', returns: true, gate: 'trap' }],
    ]),
  );
  same(
    PAGING.flatMap((paging) =>
      (['absent', 'apic'] as const).flatMap((stack) =>
        ([...SOFTWARE, 'ud', 'gp', 'irq'] as const).map(
          (event) => ['exit 1', { paging, event, stack }] as const,
        ),
      ),
    ),
  );
});

describe('a handler on the stack of an inner level', () => {
  for (const from of ['user', 'v86'] as const) {
    same(
      TABLED.flatMap((paging) => [
        ...SOFTWARE.map(
          (event) =>
            [
              from === 'v86' ? 'exit 1' : 'exit 0',
              { paging, from, event, stack: 'table', returns: true },
            ] as const,
        ),
        ['exit 1', { paging, from, event: 'gp', stack: 'table' }],
        ['exit 1', { paging, from, event: 'gp', stack: 'table', gate: 'interrupt16' }],
        ['exit 1', { paging, from, event: 'ud', stack: 'absent' }],
        ['exit 1', { paging, from, event: 'int', stack: 'apic' }],
        // SS0 and ESP0 from all ones: #TS, whose handler has no better stack, and so on to the shutdown.
        ['triple-fault', { paging, from, event: 'int', tss: 'absent' }],
        ['triple-fault', { paging, from, event: 'ud', tss: 'apic' }],
      ]),
    );
  }
  same(
    PAGING.filter((paging) => paging !== 'off').flatMap((paging) => [
      ['exit 1', { paging, from: 'v86', event: 'int', redirects: true, stack: 'table' }],
      ['exit 1', { paging, from: 'v86', event: 'int', redirects: true, tss: 'table' }],
    ]),
  );
});

describe('code whose page table is a device', () => {
  same([
    ['exit 0', { paging: '2-level', event: 'int', elsewhere: true, returns: true }],
    ['exit 1', { paging: '2-level', event: 'ud', elsewhere: true, stack: 'table' }],
    ['exit 3', { paging: '2-level', event: 'ud', elsewhere: true, nested: { misc1: INTERCEPT1.CPUID } }],
    ['exit 3', { paging: '2-level', event: 'ud', elsewhere: true, nested: { misc1: INTERCEPT1.RDTSC } }],
    ['exit 3', { paging: '2-level', event: 'ud', elsewhere: true, nested: { misc1: INTERCEPT1.TR_READ } }],
    [
      'exit 3',
      { paging: '2-level', event: 'ud', elsewhere: true, nested: { misc1: INTERCEPT1.CR0_SEL_WRITE } },
    ],
    ['exit 3', { paging: '2-level', event: 'ud', elsewhere: true, nested: { misc1: INTERCEPT1.PUSHF } }],
  ]);
});

describe('real mode', () => {
  same([
    ['exit 1', { paging: 'off', from: 'real', event: 'int' }],
    ['exit 1', { paging: 'off', from: 'real', event: 'int', stack: 'absent' }],
    ['exit 1', { paging: 'off', from: 'real', event: 'int3', stack: 'apic' }],
    ['exit 1', { paging: 'off', from: 'real', event: 'ud', stack: 'absent' }],
  ]);
});

describe('a descriptor table', () => {
  same(
    TABLED.flatMap(
      (paging) =>
        [
          // Loading CS sets the accessed bit of a descriptor in a protected page.
          ['exit 1', { paging, event: 'ud', gdt: 'table' }],
          ['exit 0', { paging, event: 'int', gdt: 'table', returns: true }],
          ['exit 0', { paging, event: 'int', from: 'user', gdt: 'table', returns: true }],
          ['exit 1', { paging, event: 'gp', idt: 'table' }],
          ['exit 0', { paging, event: 'int3', idt: 'table', gdt: 'table', stack: 'table', returns: true }],
          ['triple-fault', { paging, event: 'gp', gdt: 'table', broken: ['code'] }],
        ] as const,
    ),
  );
  same(
    PAGING.flatMap((paging) =>
      (['absent', 'apic'] as const).flatMap(
        (where) =>
          [
            // No gate is a gate there, that of #DF neither.
            ['triple-fault', { paging, event: 'int', idt: where }],
            ['triple-fault', { paging, event: 'ud', idt: where }],
            ['triple-fault', { paging, event: 'irq', idt: where }],
            ['triple-fault', { paging, event: 'int', gdt: where }],
            ['triple-fault', { paging, event: 'gp', gdt: where }],
          ] as const,
      ),
    ),
  );
});

describe('a task gate', () => {
  same(
    TABLED.flatMap(
      (paging) =>
        [
          ['exit 0', { paging, event: 'int', gate: 'task', returns: true }],
          ['exit 0', { paging, event: 'int3', gate: 'task', tss: 'table', returns: true }],
          ['exit 0', { paging, event: 'into', gate: 'task', newTss: 'table', returns: true }],
          [
            'exit 0',
            {
              paging,
              event: 'icebp',
              gate: 'task',
              tss: 'table',
              newTss: 'table',
              gdt: 'table',
              returns: true,
            },
          ],
          [
            'exit 0',
            {
              paging,
              event: 'irq',
              gate: 'task',
              tss: 'table',
              newTss: 'table',
              gdt: 'table',
              idt: 'table',
              returns: true,
            },
          ],
          ['exit 2', { paging, event: 'gp', gate: 'task', newTss: 'table', gdt: 'table', stack: 'table' }],
          ['exit 2', { paging, event: 'gp', gate: 'task', stack: 'absent', tss: 'table' }],
          ['exit 2', { paging, event: 'pf', gate: 'task', stack: 'apic', gdt: 'table' }],
          ['exit 2', { paging, event: 'gp', from: 'user', gate: 'task', gdt: 'table', stack: 'table' }],
          ['exit 2', { paging, event: 'gp', from: 'v86', gate: 'task', gdt: 'table', stack: 'table' }],
          ['exit 2', { paging, event: 'ud', gate: 'task', tss: 'absent' }],
          ['exit 1', { paging, event: 'int', gate: 'task', gdt: 'table', broken: ['task-trap'] }],
          // Behind the commit point: #NP makes a double fault of #GP, and nothing of INT n.
          ['exit 1', { paging, event: 'gp', gate: 'task', gdt: 'table', broken: ['task-data'] }],
          ['exit 1', { paging, event: 'int', gate: 'task', gdt: 'table', broken: ['task-data'] }],
          ['triple-fault', { paging, event: 'gp', gate: 'task', broken: ['task-data', 'double-fault'] }],
          ['triple-fault', { paging, event: 'ud', gate: 'task', newTss: 'absent' }],
        ] as const,
    ),
  );
  same([
    ['exit 0', { paging: 'off', event: 'int', gate: 'task', tss: 'ram', returns: true }],
    ['exit 2', { paging: 'off', event: 'gp', gate: 'task', tss: 'apic', stack: 'apic' }],
  ]);
});

describe('an L2 whose L1 intercepts', () => {
  const all = { exceptions: 0xffff_ffff & ~(1 << 2) };
  const PF = { exceptions: 1 << 14 };
  const DF = { exceptions: 1 << 8 };
  const tasks = { misc1: INTERCEPT1.TASK_SWITCH };
  const shutdown = { misc1: INTERCEPT1.SHUTDOWN };
  same(
    TABLED.flatMap(
      (paging) =>
        [
          // The fault on the way is L1's, with the event in EXITINTINFO.
          ['exit 3', { paging, event: 'int', idt: 'absent', nested: all }],
          ['exit 3', { paging, event: 'irq', idt: 'absent', nested: all }],
          ['exit 3', { paging, event: 'int', gdt: 'apic', nested: all }],
          [
            'exit 3',
            {
              paging,
              event: 'gp',
              gate: 'task',
              gdt: 'table',
              broken: ['task-data'],
              nested: { exceptions: 1 << 11 },
            },
          ],
          ['exit 3', { paging, event: 'gp', gate: 'task', gdt: 'table', broken: ['task-data'], nested: DF }],
          ['exit 3', { paging, event: 'gp', idt: 'absent', nested: DF }],
          ['exit 3', { paging, event: 'ud', idt: 'absent', nested: shutdown }],
          ['exit 3', { paging, event: 'pf', stack: 'table', nested: PF }],
          ['exit 1', { paging, event: 'ud', stack: 'table', nested: PF }],
          ['exit 3', { paging, event: 'int', gate: 'task', idt: 'table', nested: tasks }],
          ['exit 3', { paging, event: 'gp', gate: 'task', idt: 'absent', nested: shutdown }],
          ['exit 3', { paging, event: 'gp', gate: 'task', idt: 'table', gdt: 'table', nested: tasks }],
          ['exit 3', { paging, event: 'irq', gate: 'task', nested: tasks }],
        ] as const,
    ),
  );
});

describe('what L1 injects into an L2', () => {
  const injected = [0x8000_0030, 0x8000_0200, 0x8000_0306, 0x8000_0b0d, 0x8000_0430, 0x8000_0303] as const;
  same(
    TABLED.flatMap((paging) =>
      injected.flatMap(
        (event) =>
          [
            ['exit 1', { paging, event: 'inject', stack: 'table', nested: { event, errorCode: 0x50 } }],
            ['exit 1', { paging, event: 'inject', stack: 'absent', nested: { event, errorCode: 0x50 } }],
            ['exit 1', { paging, event: 'inject', gdt: 'table', nested: { event, errorCode: 0x50 } }],
            ['triple-fault', { paging, event: 'inject', idt: 'absent', nested: { event, errorCode: 0x50 } }],
            [
              'exit 3',
              {
                paging,
                event: 'inject',
                idt: 'apic',
                nested: { event, errorCode: 0x50, exceptions: 1 << 13 },
              },
            ],
          ] as const,
      ),
    ),
  );
  same(
    TABLED.flatMap((paging) =>
      [0x8000_0030, 0x8000_0430].flatMap(
        (event) =>
          [
            [
              'exit 0',
              { paging, event: 'inject', gate: 'task', gdt: 'table', returns: true, nested: { event } },
            ],
            [
              'exit 3',
              {
                paging,
                event: 'inject',
                gate: 'task',
                gdt: 'table',
                nested: { event, misc1: INTERCEPT1.TASK_SWITCH },
              },
            ],
          ] as const,
      ),
    ),
  );
});

/** L0 protects the nested page directory, in which the structures of an L2 lie here: it delivers the events in L2's place. */
describe('an L2 with nested paging', () => {
  const pages = [] as const;
  const nested = { pages };
  same(
    PAGING.flatMap((paging) =>
      ([...SOFTWARE, 'ud', 'gp', 'irq'] as const).flatMap(
        (event) =>
          [
            ['exit 1', { paging, event, nested }],
            ['exit 1', { paging, event, stack: 'table', nested }],
            ['exit 1', { paging, event, stack: 'absent', nested }],
            ['exit 1', { paging, event, gdt: 'table', stack: 'apic', nested }],
            ['triple-fault', { paging, event, idt: 'absent', nested }],
          ] as const,
      ),
    ),
  );
  same(
    TABLED.flatMap(
      (paging) =>
        [
          ['exit 0', { paging, event: 'int', from: 'user', stack: 'table', returns: true, nested }],
          ['exit 1', { paging, event: 'gp', from: 'v86', stack: 'table', nested }],
          ['exit 1', { paging, event: 'gp', idt: 'table', nested }],
          [
            'exit 0',
            { paging, event: 'int', gate: 'task', tss: 'table', newTss: 'table', returns: true, nested },
          ],
          [
            'exit 2',
            { paging, event: 'gp', gate: 'task', newTss: 'table', gdt: 'table', stack: 'table', nested },
          ],
          ['exit 1', { paging, event: 'gp', gate: 'task', gdt: 'table', broken: ['task-data'], nested }],
          ['exit 1', { paging, event: 'inject', stack: 'table', nested: { pages, event: 0x8000_0030 } }],
          ['exit 1', { paging, event: 'inject', gdt: 'table', nested: { pages, event: 0x8000_0b0d } }],
        ] as const,
    ),
  );
  same([
    ['exit 0', { paging: '2-level', event: 'int', elsewhere: true, returns: true, nested }],
    ['exit 1', { paging: '2-level', event: 'ud', elsewhere: true, stack: 'table', nested }],
    [
      'exit 3',
      { paging: '2-level', event: 'ud', elsewhere: true, nested: { pages, misc1: INTERCEPT1.CR0_SEL_WRITE } },
    ],
    [
      'exit 3',
      { paging: '2-level', event: 'ud', elsewhere: true, nested: { pages, misc1: INTERCEPT1.INVLPG } },
    ],
  ]);
});

/** With the event in EXITINTINFO, whoever was delivering it. */
describe("an L2 whose L1 forbids by nested tables what its events' delivery needs", () => {
  const forbidden = [
    [FRAME.DESCRIPTORS, 0],
    [FRAME.DESCRIPTORS, 5],
    [FRAME.STACK, 0],
    [FRAME.STACK, 5],
    [FRAME.STACK, 3],
    [FRAME.DIRECTORY, 5],
    [FRAME.TABLE, 0],
    [FRAME.PAE_TABLES, 5],
  ] as const;
  const PLACES: readonly Partial<Delivery>[] = [
    {},
    { idt: 'table', gdt: 'table' },
    { gate: 'task', tss: 'table' },
    { gate: 'task', gdt: 'table', newTss: 'table' },
    { elsewhere: true },
  ];
  for (const paging of PAGING) {
    for (const page of forbidden) {
      for (const event of ['int', 'ud', 'gp', 'pf', 'irq', 'inject'] as const) {
        if (event === 'pf' && paging === 'off') continue;
        for (const where of PLACES) {
          if (where.elsewhere && paging !== '2-level') continue;
          const nested = { pages: [page], ...(event === 'inject' && { event: 0x8000_0030 }) };
          const delivery = { paging, event, ...where, nested };
          it(name(delivery), () => {
            expect(compare(delivery, 'npt').differences).toEqual([]);
          });
        }
      }
    }
  }
});
