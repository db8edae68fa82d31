/** A guest program on the bare processor and under L0, in flat protected mode without paging; it logs what it finds. */
import { expect } from 'vitest';
import { gpa, hpa } from '../../../src/arch/address.ts';
import type { CpuModel } from '../../../src/arch/cpu-models.ts';
import { cpuModelNamed } from '../../../src/arch/cpu-models.ts';
import { descriptorHi, descriptorLo } from '../../../src/arch/descriptors.ts';
import { CR0 } from '../../../src/arch/registers.ts';
import { INTERCEPT2, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { Assembler } from '../../../src/guest/assembler.ts';
import { address, dr6, eax, ecx, edx, esp, mem, mem32 } from '../../../src/guest/operands.ts';
import { type L0Paging, offeredModel } from '../../../src/l0/guest-cpu.ts';
import { setInitialState } from '../../../src/l0/vcpu-registers.ts';
import { applyInitialState } from '../../../src/machine/initial-registers.ts';
import { protectedState } from '../../../src/machine/loaders/initial-state.ts';
import { Machine } from '../../../src/machine/machine.ts';
import { HostedMachine } from '../../../src/vmm/hosted-machine.ts';

const MODEL = cpuModelNamed('current-amd')!;
/** The most that every L0 offers. */
export const GUEST_MODEL = offeredModel(MODEL, { paging: 'shadow', nestedNx: true });
const MEMORY = 0x20_0000;
export const CODE = 0x1000;
export const IDT = 0x6000;
export const GDT = 0x6800;
export const TSS = 0x6c00;
export const TSS2 = 0x6d00;
export const LOG = 0x8000;
const LOG_WORDS = 16;
export const BLOCK = 0x9000;
const HSAVE = 0xd000;
export const STACK = 0x2_8000;
const LIMIT = 30_000;
const VECTORS = 0x40;
const START = protectedState(CODE, {}, 0x08, 0x10, hpa(0));
const FLAT = 0xffff_ffff;

export class Image {
  readonly bytes = new Uint8Array(MEMORY);
  readonly view = new DataView(this.bytes.buffer);
  put(at: number, value: number): void {
    this.view.setUint32(at, value >>> 0, true);
  }
}

export interface Seen {
  readonly end: string;
  readonly log: readonly number[];
}

const seen = (stop: { kind: string; value?: number }, memory: Uint8Array): Seen => {
  const view = new DataView(memory.buffer, memory.byteOffset);
  return {
    end: stop.kind === 'debug-exit' ? `exit ${stop.value}` : stop.kind,
    log: Array.from({ length: LOG_WORDS }, (_, n) => view.getUint32(LOG + 4 * n, true)),
  };
};

function runBare(image: Uint8Array<ArrayBuffer>, model: CpuModel): Seen {
  const machine = new Machine({ model, memoryBytes: MEMORY });
  machine.cpu.physical.load(hpa(0), image);
  applyInitialState(machine.cpu, START);
  return seen(machine.run(LIMIT), machine.cpu.physical.u8.slice(0, MEMORY));
}

function runHosted(image: Uint8Array<ArrayBuffer>, guestModel: CpuModel, l0: L0Paging): Seen {
  const machine = new HostedMachine({ model: MODEL, guestModel, l0, memoryBytes: MEMORY, check: true });
  machine.write(gpa(0), image);
  setInitialState(machine.vcpu, START);
  const stop = machine.run(LIMIT);
  return seen(stop, machine.read(gpa(0), MEMORY));
}

/** Writes a register to a word of the log. */
export const log = (a: Assembler, word: number, register: typeof eax): void =>
  a.mov(mem32(LOG + 4 * word), register);

export function end(a: Assembler, value = 0): void {
  a.mov(eax, value);
  a.emit('Out', 0xf4, eax);
  a.label(`end${value}`);
  a.jmp(`end${value}`);
}

/** A program with handlers that write to the log (CAUGHT) and end. */
export function build(
  program: (a: Assembler) => void,
  prepare: (image: Image, labels: ReadonlyMap<string, number>) => void = () => {},
) {
  const image = new Image();
  const a = new Assembler(CODE);
  a.emit('Lgdt', mem(address('gdtr')));
  a.emit('Lidt', mem(address('idtr')));
  a.mov(esp, STACK);
  program(a);
  for (let vector = 0; vector < VECTORS; vector += 1) {
    a.label(`stub${vector}`);
    a.mov(mem32(LOG + 60), vector);
    a.jmp('caught');
  }
  a.label('caught');
  a.mov(mem32(LOG + 48), eax);
  a.mov(eax, mem32(esp, 4));
  log(a, 14, eax);
  a.mov(eax, mem32(esp, 0));
  log(a, 13, eax);
  a.mov(eax, dr6);
  log(a, 11, eax);
  end(a, 0x7f);
  a.label('gdtr');
  a.data16(0x3f);
  a.data32(GDT);
  a.label('idtr');
  a.data16(8 * VECTORS - 1);
  a.data32(IDT);
  const { bytes, labels } = a.finish();
  if (bytes.length > IDT - CODE) throw new Error('the program is too long');
  image.bytes.set(bytes, CODE);
  const gdt: readonly (readonly [number, number, number])[] = [
    [0, 0, 0],
    [0, FLAT, 0xc9b],
    [0, FLAT, 0xc93],
    [0, FLAT, 0xcfb],
    [0, FLAT, 0xcf3],
    [TSS, 0x67, 0x89],
    [TSS2, 0x67, 0x89],
  ];
  for (const [n, [base, limit, attributes]] of gdt.entries()) {
    image.put(GDT + 8 * n, descriptorLo(base, limit, attributes));
    image.put(GDT + 8 * n + 4, descriptorHi(base, limit, attributes));
  }
  for (let vector = 0; vector < VECTORS; vector += 1) {
    image.put(IDT + 8 * vector, (0x08 << 16) | (labels.get(`stub${vector}`) as number));
    image.put(IDT + 8 * vector + 4, 0x8e00);
  }
  prepare(image, labels as ReadonlyMap<string, number>);
  return { image: image.bytes, labels: labels as ReadonlyMap<string, number> };
}

/** EFER.SVME and the host save area; EAX is the VMCB afterwards. */
export function turnSvmOn(a: Assembler): void {
  a.mov(ecx, 0xc000_0080);
  a.mov(eax, 0x1000);
  a.xor(edx, edx);
  a.wrmsr();
  a.mov(ecx, 0xc001_0117);
  a.mov(eax, HSAVE);
  a.wrmsr();
  a.mov(eax, BLOCK);
}

/** A VMCB whose guest is flat as L1 is, and starts at the label `l2`. */
export function fillBlock(
  image: Image,
  labels: ReadonlyMap<string, number>,
  more: readonly (readonly [number, number])[] = [],
): void {
  const set = (offset: number, value: number): void => image.put(BLOCK + offset, value);
  set(VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN | INTERCEPT2.VMMCALL);
  set(VMCB.GUEST_ASID, 1);
  set(VMCB_SAVE.CS, 0x08 | (0xc9b << 16));
  for (const s of [VMCB_SAVE.ES, VMCB_SAVE.SS, VMCB_SAVE.DS]) set(s, 0x10 | (0xc93 << 16));
  for (const s of [VMCB_SAVE.ES, VMCB_SAVE.CS, VMCB_SAVE.SS, VMCB_SAVE.DS]) set(s + 4, FLAT);
  set(VMCB_SAVE.GDTR + 4, 0x3f);
  set(VMCB_SAVE.GDTR + 8, GDT);
  set(VMCB_SAVE.IDTR + 4, 8 * VECTORS - 1);
  set(VMCB_SAVE.IDTR + 8, IDT);
  set(VMCB_SAVE.EFER, 0x1000);
  set(VMCB_SAVE.CR0, CR0.PE | CR0.ET);
  set(VMCB_SAVE.DR6, 0xffff_0ff0);
  set(VMCB_SAVE.DR7, 0x400);
  set(VMCB_SAVE.RFLAGS, 2);
  set(VMCB_SAVE.RIP, labels.get('l2') as number);
  set(VMCB_SAVE.RSP, STACK - 0x1000);
  for (const [offset, value] of more) set(offset, value);
}

/** What all see, which must be the same. The host's processor has all features, the guest's is `model`. */
export function seenByBoth(
  built: { readonly image: Uint8Array<ArrayBuffer> },
  model: CpuModel = GUEST_MODEL,
): Seen {
  const bare = runBare(built.image, model);
  for (const l0 of ['shadow', 'npt'] as const) expect(runHosted(built.image, model, l0), l0).toEqual(bare);
  return bare;
}

/** Words of the log that the handlers of exceptions and interrupts write. */
export const CAUGHT = { DR6: 11, EAX: 12, TOP: 13, SECOND: 14, VECTOR: 15 } as const;
