import { describe, expect, it } from 'vitest';
import { gpa, hpa } from '../../../src/arch/address.ts';
import { type CpuModel, cpuModelNamed } from '../../../src/arch/cpu-models.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import type { HostKernel } from '../../../src/guest/host-kernel/layout.ts';
import { type L0Paging, offeredModel } from '../../../src/l0/guest-cpu.ts';
import { setInitialState } from '../../../src/l0/vcpu-registers.ts';
import { applyInitialState } from '../../../src/machine/initial-registers.ts';
import { protectedState } from '../../../src/machine/loaders/initial-state.ts';
import { Machine } from '../../../src/machine/machine.ts';
import { HostedMachine } from '../../../src/vmm/hosted-machine.ts';
import {
  buildProgram,
  CODE,
  LOG,
  LOG_RECORD,
  MEMORY,
  NESTED,
  NESTED_END,
  type Paging,
  type ProgramOptions,
  VMCB_COPY,
  VMCB_LOG,
} from './program.ts';

const MODEL = cpuModelNamed('current-amd')!;
/** Where L0 runs, and what it offers there, which is what the bare processor must be. */
interface Host {
  readonly l0: L0Paging;
  readonly host: HostKernel;
  readonly offered: CpuModel;
}
const hostOf = (l0: L0Paging, host: HostKernel): Host => ({
  l0,
  host,
  offered: offeredModel(MODEL, { paging: l0, nestedNx: host === 'pae' }),
});
const SHADOW = hostOf('shadow', 'pae');
const NESTED_PAE = hostOf('npt', 'pae');
const NESTED_2_LEVEL = hostOf('npt', 'nopae');
const nameOf = ({ l0, host }: Host): string => `${l0} on a ${host} host`;
const START = protectedState(CODE, {}, 0x08, 0x10, hpa(0));
const LIMIT = 1_000_000;

/** mulberry32 */
function randomFrom(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

interface Outcome {
  readonly end: string;
  readonly memory: Uint8Array;
}

function runBare(image: Uint8Array<ArrayBuffer>, { offered }: Host): Outcome {
  const machine = new Machine({ model: offered, memoryBytes: MEMORY });
  machine.cpu.physical.load(hpa(0), image);
  applyInitialState(machine.cpu, START);
  const { kind } = machine.run(LIMIT);
  return { end: kind, memory: machine.cpu.physical.u8.slice(0, MEMORY) };
}

function runHosted(image: Uint8Array<ArrayBuffer>, { l0, host }: Host): Outcome {
  const machine = new HostedMachine({ model: MODEL, l0, host, memoryBytes: MEMORY, check: true });
  machine.write(gpa(0), image);
  setInitialState(machine.vcpu, START);
  const { kind } = machine.run(LIMIT);
  return { end: kind, memory: machine.read(gpa(0), MEMORY) };
}

/** Fields of the VMCB that a #VMEXIT writes and that mean something: the rest may differ between processors. */
const COMPARED: readonly number[] = [
  VMCB.INTERRUPT_STATE,
  VMCB.EXITCODE,
  VMCB.EXITCODE + 4,
  VMCB.EXITINFO1,
  VMCB.EXITINFO1 + 4,
  VMCB.EXITINFO2,
  VMCB.EXITINFO2 + 4,
  VMCB.EXITINTINFO,
  VMCB.EXITINTINFO + 4,
  VMCB.EVENTINJ,
  VMCB.NRIP,
  ...Array.from({ length: (VMCB_SAVE.CR2 + 8 - VMCB_SAVE.ES) / 4 }, (_, i) => VMCB_SAVE.ES + 4 * i),
];

const word = (memory: Uint8Array, at: number): number =>
  (memory[at] | (memory[at + 1] << 8) | (memory[at + 2] << 16) | (memory[at + 3] << 24)) >>> 0;

/** What #VMEXIT(NPF) tells of the instruction: a count, and so many bytes. */
function bytesDifference(bare: Uint8Array, hosted: Uint8Array, copy: number): string | undefined {
  if (word(bare, copy + VMCB.EXITCODE) !== VMEXIT.NPF) return undefined;
  const told = (memory: Uint8Array): string => {
    const at = copy + VMCB.INSTRUCTION_BYTES;
    return Array.from(memory.subarray(at, at + memory[copy + VMCB.INSTRUCTION_COUNT])).join(' ');
  };
  const [a, b] = [told(bare), told(hosted)];
  return a === b ? undefined : `instruction bytes ${a} bare, ${b} hosted`;
}

/** Names the first log record, VMCB or data word that differs; undefined if the runs agree. */
function firstDifference(bare: Outcome, hosted: Outcome): string | undefined {
  for (let at = LOG; at < VMCB_LOG; at += 4) {
    const [a, b] = [word(bare.memory, at), word(hosted.memory, at)];
    if (a !== b)
      return `log record ${Math.floor((at - LOG) / LOG_RECORD)}, word ${((at - LOG) % LOG_RECORD) / 4}: ${a.toString(16)} bare, ${b.toString(16)} hosted`;
  }
  for (let copy = VMCB_LOG; copy < VMCB_LOG + 64 * VMCB_COPY; copy += VMCB_COPY) {
    const bytes = bytesDifference(bare.memory, hosted.memory, copy);
    if (bytes !== undefined) return `VMCB ${(copy - VMCB_LOG) / VMCB_COPY}: ${bytes}`;
    for (const offset of COMPARED) {
      const [a, b] = [word(bare.memory, copy + offset), word(hosted.memory, copy + offset)];
      if (a !== b)
        return `VMCB ${(copy - VMCB_LOG) / VMCB_COPY}, offset ${offset.toString(16)}: ${a.toString(16)} bare, ${b.toString(16)} hosted (exit ${word(bare.memory, copy + VMCB.EXITCODE).toString(16)}, ${word(hosted.memory, copy + VMCB.EXITCODE).toString(16)})`;
    }
  }
  if (bare.end !== hosted.end) return `ends with ${bare.end} bare, ${hosted.end} hosted`;
  if (bare.end === 'limit') return undefined;
  for (const [from, to] of [
    [0xa000, LOG],
    [NESTED, NESTED_END],
  ] as const) {
    for (let at = from; at < to; at += 4) {
      const [a, b] = [word(bare.memory, at), word(hosted.memory, at)];
      if (a !== b) return `memory at ${at.toString(16)}: ${a.toString(16)} bare, ${b.toString(16)} hosted`;
    }
  }
  return undefined;
}

const MODES: readonly Paging[] = ['off', '2-level', 'pse', 'pae'];
const SEEDS = Number(process.env.UMBRA_DIFFERENTIAL ?? 4);
const FIRST = Number(process.env.UMBRA_SEED ?? 1);

/** Programs of several seeds, on the bare processor and under L0: the first difference is what the test fails with. */
function compare(on: Host, options: Partial<ProgramOptions> & { readonly l1: Paging }): void {
  const nx = on.offered.features.has('nx');
  for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) {
    const image = buildProgram({ ...options, nx, slots: 60, random: randomFrom(seed) });
    const difference = firstDifference(runBare(image, on), runHosted(image, on));
    expect(difference && `seed ${seed}: ${difference}`).toBeUndefined();
  }
}

for (const on of [NESTED_PAE, NESTED_2_LEVEL]) {
  describe(`a guest with nested paging of its own cannot tell L0 with ${nameOf(on)} from the bare processor`, () => {
    for (const l1 of MODES) {
      // Without paging of L1, VMRUN is VMEXIT_INVALID (APM vol. 2 15.25.3).
      for (const l2 of l1 === 'off' ? (['2-level'] as const) : MODES) {
        it(`with ${l1} paging and an L2 with ${l2}`, { timeout: 120_000 }, () => {
          compare(on, { l1, l2, nestedPaging: true });
        });
      }
    }
  });
}

for (const on of [SHADOW, NESTED_PAE, NESTED_2_LEVEL]) {
  describe(`a guest cannot tell L0 with ${nameOf(on)} from the bare processor`, () => {
    for (const l1 of MODES) {
      for (const l2 of [undefined, ...MODES]) {
        it(`with ${l1} paging${l2 === undefined ? '' : ` and an L2 with ${l2}`}`, {
          timeout: 120_000,
        }, () => {
          compare(on, { l1, ...(l2 && { l2 }) });
        });
      }
    }
  });
}
