/** A small L1 that runs hostile guests as L2: VMCB after VMCB, on the bare processor or under L0. */
import { MSR } from '../../src/arch/msrs.ts';
import { CR0, EFER } from '../../src/arch/registers.ts';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import {
  INTERCEPT1,
  INTERCEPT2,
  IOPM_SIZE,
  MSRPM_SIZE,
  VMCB,
  VMCB_SAVE,
  VMCB_SEGMENT,
} from '../../src/arch/vmcb.ts';
import { Assembler, al, eax, ecx, edi, edx, esi, esp, mem32 } from '../../src/guest/assembler.ts';
import { hostileGuest, MACHINE_MEMORY, MEMORY, MODES, PAGING, STACK, START } from './guest.ts';
import type { Random } from './random.ts';

/** A guest that runs off its end meets HLT, not L1. */
const FENCE = 0x200;
export const L1_START = MEMORY + FENCE;
export const PLACE = {
  CODE: L1_START,
  GDT: MEMORY + 0xf00,
  /** VMRUNs so far, then their exit codes: `LOG_ENTRIES` of them, the latest over the oldest. */
  COUNT: MEMORY + 0xfe0,
  HSAVE: MEMORY + 0x1000,
  VMCB: MEMORY + 0x2000,
  IOPM: MEMORY + 0x3000,
  MSRPM: MEMORY + 0x6000,
  LOG: MEMORY + 0x8000,
  /** Where the next L2 goes on after an exit. */
  TARGETS: MEMORY + 0xa000,
  VMCBS: MEMORY + 0x1_0000,
} as const;
const LOG_ENTRIES = 1024;
const TARGETS = 256;
export const VMCBS = 32;
const FLAT = 0xffff_ffff;
const CODE = 0xc9b;
const DATA = 0xc93;

export interface NestingOptions {
  /** Changes a VMCB after it was filled. */
  readonly spoil?: (vmcb: DataView, random: Random) => void;
  /** Exits of one VMCB before the next is taken, a power of two. */
  readonly exitsEach: number;
  /** What L1 does once, before its first VMRUN, and before each. ESP is valid; all other registers may be changed. */
  readonly prepare?: (a: Assembler) => void;
  readonly before?: (a: Assembler) => void;
}

/** The memory of L1, a machine's: the L2 `guest` (see guest.ts) comes first, L1 behind it. It starts at `L1_START`, flat, CPL 0. */
export function nestingGuest(random: Random, guest: Uint8Array, options: NestingOptions): Uint8Array {
  const bytes = new Uint8Array(MACHINE_MEMORY);
  const view = new DataView(bytes.buffer);
  bytes.set(guest);
  bytes.fill(0xf4, MEMORY, L1_START);
  bytes.set(program(options), PLACE.CODE);
  // Flat code and data, as in the guest's own table.
  view.setUint32(PLACE.GDT + 8, 0x0000_ffff, true);
  view.setUint32(PLACE.GDT + 12, 0x00cf_9b00, true);
  view.setUint32(PLACE.GDT + 16, 0x0000_ffff, true);
  view.setUint32(PLACE.GDT + 20, 0x00cf_9300, true);
  view.setUint16(PLACE.GDT + 0x40, 0x17, true);
  view.setUint32(PLACE.GDT + 0x42, PLACE.GDT, true);
  for (const [place, size] of [
    [PLACE.IOPM, IOPM_SIZE],
    [PLACE.MSRPM, MSRPM_SIZE],
  ] as const) {
    if (random.oneIn(2)) random.fill(bytes, place, place + size);
  }
  for (let n = 0; n < TARGETS; n++) view.setUint32(PLACE.TARGETS + n * 4, random.below(MEMORY), true);
  for (let n = 0; n < VMCBS; n++) {
    const vmcb = new DataView(bytes.buffer, PLACE.VMCBS + n * 4096, 4096);
    fill(vmcb, random);
    options.spoil?.(vmcb, random);
  }
  return bytes;
}

/** An L1 with an L2 in any mode. */
export function anyNestingGuest(random: Random, options: NestingOptions = { exitsEach: 16 }): Uint8Array {
  const mode = random.pick(MODES);
  const runsOn = !random.oneIn(3);
  const guest = hostileGuest(random, { mode, paging: random.pick(PAGING), nx: true, vme: true, runsOn });
  return nestingGuest(random, guest, options);
}

/** A VMCB that runs the guest from its start, with random intercepts and events. */
function fill(vmcb: DataView, random: Random): void {
  const set = (offset: number, value: number): void => vmcb.setUint32(offset, value >>> 0, true);
  const segment = (offset: number, selector: number, attributes: number): void => {
    set(offset + VMCB_SEGMENT.SELECTOR, selector | (attributes << 16));
    set(offset + VMCB_SEGMENT.LIMIT, FLAT);
  };
  const some = (): number => random.u32() & random.u32() & random.u32();
  set(VMCB.INTERCEPT_CR, some());
  set(VMCB.INTERCEPT_DR, some());
  set(VMCB.INTERCEPT_EXCEPTION, random.oneIn(2) ? 0 : some());
  set(VMCB.INTERCEPT_MISC1, some() | INTERCEPT1.SHUTDOWN | INTERCEPT1.HLT | INTERCEPT1.INTR);
  set(VMCB.INTERCEPT_MISC2, (some() & 0xffff) | INTERCEPT2.VMRUN);
  set(VMCB.IOPM_BASE_PA, PLACE.IOPM);
  set(VMCB.MSRPM_BASE_PA, PLACE.MSRPM);
  set(VMCB.TSC_OFFSET, random.oneIn(2) ? random.u32() : 0);
  set(VMCB.GUEST_ASID, 1 + random.below(3));
  set(VMCB.TLB_CONTROL, random.pick([0, 0, 0, 1, 3]));
  set(VMCB.V_INTR, random.oneIn(3) ? random.u32() & 0x011f_01ff : 0);
  set(VMCB.V_INTR_VECTOR, random.below(256));
  set(VMCB.CLEAN_BITS, random.oneIn(2) ? random.u32() : 0);
  if (random.oneIn(4)) {
    const vector = random.pick([1, 3, 6, 8, 10, 11, 12, 13, 14, 17]);
    set(VMCB.EVENTINJ, 0x8000_0300 | (random.oneIn(2) ? 0x800 : 0) | vector);
    set(VMCB.EVENTINJ + 4, random.u32() & 0xffff);
  }
  segment(VMCB_SAVE.CS, 8, CODE);
  for (const offset of [VMCB_SAVE.ES, VMCB_SAVE.SS, VMCB_SAVE.DS, VMCB_SAVE.FS, VMCB_SAVE.GS])
    segment(offset, 16, DATA);
  segment(VMCB_SAVE.TR, 0, 0x8b);
  segment(VMCB_SAVE.LDTR, 0, 0x82);
  set(VMCB_SAVE.EFER, EFER.SVME);
  set(VMCB_SAVE.CR0, CR0.PE | CR0.ET);
  set(VMCB_SAVE.DR6, 0xffff_0ff0);
  set(VMCB_SAVE.DR7, random.oneIn(8) ? random.u32() : 0x400);
  set(VMCB_SAVE.RFLAGS, 2);
  set(VMCB_SAVE.RIP, START);
  set(VMCB_SAVE.RSP, STACK);
}

/** Takes the next VMCB, runs it, lets it go on elsewhere after each exit, takes the next, for ever. */
function program({ exitsEach, prepare, before }: NestingOptions): Uint8Array {
  const a = new Assembler(PLACE.CODE);
  const stack = PLACE.GDT - 0x100;
  a.mov(esp, stack);
  a.lgdt(mem32(PLACE.GDT + 0x40));
  a.mov(ecx, MSR.EFER);
  a.mov(eax, EFER.SVME);
  a.mov(edx, 0);
  a.wrmsr();
  a.mov(ecx, MSR.VM_HSAVE_PA);
  a.mov(eax, PLACE.HSAVE);
  a.wrmsr();
  prepare?.(a);
  a.label('next');
  // VMCB number count / exitsEach.
  a.mov(esi, mem32(PLACE.COUNT));
  a.shr(esi, Math.log2(exitsEach) || 0);
  a.and(esi, VMCBS - 1);
  a.shl(esi, 12);
  a.add(esi, PLACE.VMCBS);
  a.mov(edi, PLACE.VMCB);
  a.mov(ecx, 1024);
  a.cld();
  a.rep();
  a.movsd();
  a.label('run');
  before?.(a);
  a.mov(eax, PLACE.VMCB);
  a.vmrun();
  a.mov(ecx, mem32(PLACE.COUNT));
  a.mov(edx, ecx);
  a.and(edx, LOG_ENTRIES - 1);
  a.mov(eax, mem32(PLACE.VMCB + VMCB.EXITCODE));
  a.shl(edx, 2);
  a.mov(mem32(edx, PLACE.LOG), eax);
  // L1 takes no interrupts itself; it polls what ended L2 out of the 8259.
  a.cmp(eax, VMEXIT.INTR);
  a.jnz('other');
  a.mov(al, 0x0c);
  a.out(0x20, al);
  a.in(al, 0x20);
  a.label('other');
  a.inc(mem32(PLACE.COUNT));
  a.inc(ecx);
  a.test(ecx, exitsEach - 1);
  a.jz('next');
  a.and(ecx, TARGETS - 1);
  a.shl(ecx, 2);
  a.mov(eax, mem32(ecx, PLACE.TARGETS));
  a.mov(mem32(PLACE.VMCB + VMCB_SAVE.RIP), eax);
  a.jmp('run');
  return a.finish().bytes;
}

/** How often VMRUN has ended, and the exit codes of the last of them, signed. */
export function exitLog(memory: Uint8Array): { readonly count: number; readonly codes: readonly number[] } {
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const count = view.getUint32(PLACE.COUNT, true);
  const codes: number[] = [];
  for (let n = 0; n < Math.min(count, LOG_ENTRIES); n++) codes.push(view.getInt32(PLACE.LOG + n * 4, true));
  return { count, codes };
}

/** Every field of a VMCB: byte offsets of its 32-bit halves. */
const FIELDS: readonly number[] = [...Object.values(VMCB), ...Object.values(VMCB_SAVE)].filter(
  (offset) => offset % 4 === 0,
);

/** Replaces some fields, or all, by garbage. */
export function spoil(vmcb: DataView, random: Random): void {
  if (random.oneIn(8)) {
    for (let at = 0; at < 4096; at += 4) vmcb.setUint32(at, random.u32(), true);
    if (random.oneIn(2)) vmcb.setUint32(VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN, true);
    return;
  }
  const count = 1 + random.below(random.pick([2, 5, 20]));
  for (let n = 0; n < count; n++) {
    const segments = random.oneIn(3) ? 0x400 + 4 * random.below(40) : random.pick(FIELDS);
    vmcb.setUint32(segments + (random.oneIn(4) ? 4 : 0), random.boundary(), true);
  }
}
