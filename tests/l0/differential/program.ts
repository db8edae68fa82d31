/**
 * A random guest program that must come to the same end on the bare processor and under L0: slots of a few instructions,
 * at CPL 0, at CPL 3 and in an L2, each ended by an exception, a software interrupt or a #VMEXIT that is logged with all
 * registers before the next slot is started.
 */
import { PAT_RESET } from '../../../src/arch/msrs.ts';
import { CR0, CR4 } from '../../../src/arch/registers.ts';
import { INTERCEPT2, NESTED_CTL, TLB_CONTROL, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { Assembler } from '../../../src/guest/assembler.ts';
import {
  address,
  ax,
  cr0,
  cr2,
  cr3,
  cr4,
  dr6,
  ds,
  eax,
  ebp,
  ebx,
  ecx,
  edi,
  edx,
  es,
  esi,
  esp,
  fs,
  gs,
  mem,
  mem32,
} from '../../../src/guest/operands.ts';
import { kernelSlot, type Random, userSlot } from './slots.ts';

export type Paging = 'off' | '2-level' | 'pse' | 'pae';

// Physical (and linear) layout.
export const CODE = 0x1000;
const IDT = 0x6000;
const GDT = 0x6800;
const TSS = 0x6c00;
const STATE = 0x7000;
export const VMCB12 = 0x8000;
const HSAVE = 0x9000;
const DIRECTORY = 0xa000;
const TABLE = 0xb000;
const PAE_TABLES = 0xc000;
const IDT2 = 0x1_0000;
const KERNEL_STACK = 0x2_0000;
const USER_SLOTS = 0x4_0000;
/** Pages for the slots to work on: see `pageFlags`. */
export const DATA = 0x6_0000;
const KERNEL_SLOTS = 0x8_0000;
export const LOG = 0x10_0000;
export const LOG_RECORD = 64;
/** Copies of the VMCB after each #VMEXIT. */
export const VMCB_LOG = 0x18_0000;
export const VMCB_COPY = 0x700;
/** Nested tables of L1's for L2. */
export const NESTED = 0x21_0000;
export const NESTED_END = NESTED + 0x8000;
export const MEMORY = 0x40_0000;
const SLOT = 64;
const VECTORS = 0x41;
const EXCEPTIONS_WITH_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21, 29, 30]);
const END_OF_SLOT = 0x40;

const SELECTOR = { code: 0x08, data: 0x10, userCode: 0x1b, userData: 0x23, tss: 0x28 } as const;

/** Words at STATE. */
const COUNTER = STATE;
const LOG_POINTER = STATE + 4;
const VMCB_POINTER = STATE + 8;
const ECX_SAVED = STATE + 12;

/** Page of DATA by number: what the tables allow. */
function pageFlags(page: number, pae: boolean): bigint {
  const P = 1n;
  const W = 2n;
  const U = 4n;
  switch (page - DATA / 0x1000) {
    case 0:
    case 1:
      return P | W | U;
    case 2:
      return P | U;
    case 3:
      return P;
    case 4:
      return 0n;
    case 5:
      return pae ? P | W | U | (1n << 63n) : P | W | U;
    case 6:
      return pae ? P | W | (1n << 50n) : P | W;
    default:
  }
  return page >= USER_SLOTS / 0x1000 && page < DATA / 0x1000 ? P | W | U : P | W;
}

class Image {
  readonly bytes = new Uint8Array(MEMORY);
  readonly #view = new DataView(this.bytes.buffer);
  put32(at: number, value: number): void {
    this.#view.setUint32(at, value >>> 0, true);
  }
  put64(at: number, value: bigint): void {
    this.#view.setBigUint64(at, value, true);
  }
}

const descriptor = (base: number, limit: number, access: number, flags: number): bigint =>
  BigInt(limit & 0xffff) |
  (BigInt(base & 0xff_ffff) << 16n) |
  (BigInt(access) << 40n) |
  (BigInt((limit >>> 16) & 0xf) << 48n) |
  (BigInt(flags) << 52n) |
  (BigInt(base >>> 24) << 56n);

function writeTables(image: Image): void {
  for (const [i, value] of [
    0n,
    descriptor(0, 0xfffff, 0x9b, 0xc),
    descriptor(0, 0xfffff, 0x93, 0xc),
    descriptor(0, 0xfffff, 0xfb, 0xc),
    descriptor(0, 0xfffff, 0xf3, 0xc),
    descriptor(TSS, 0x67, 0x89, 0),
    descriptor(0, 0xfffff, 0x13, 0xc), // absent
    descriptor(0x1000, 0xff, 0x92, 0x4), // small, not accessed
  ].entries()) {
    image.put64(GDT + 8 * i, value);
  }
  image.put32(TSS + 4, KERNEL_STACK);
  image.put32(TSS + 8, SELECTOR.data);
  image.put32(TSS + 0x64, 0x68 << 16);
  image.put32(DIRECTORY, TABLE | 7);
  image.put32(DIRECTORY + 4, 0xfec0_0000 | 0x87);
  image.put64(PAE_TABLES, BigInt(PAE_TABLES + 0x1000) | 1n);
  image.put64(PAE_TABLES + 0x1000, BigInt(PAE_TABLES + 0x2000) | 7n);
  image.put64(PAE_TABLES + 0x1008, BigInt(PAE_TABLES + 0x3000) | 7n);
  for (let page = 0; page < 1024; page += 1) {
    image.put32(TABLE + 4 * page, Number(BigInt(page << 12) | pageFlags(page, false)));
    image.put64(PAE_TABLES + 0x2000 + 8 * page, BigInt(page << 12) | pageFlags(page, true));
  }
  for (let i = 0; i < 0x7000; i += 4) image.put32(DATA + i, Math.imul(i + 1, 0x9e37_79b1));
}

function gates(image: Image, at: number, stub: (vector: number) => number): void {
  for (let vector = 0; vector < VECTORS; vector += 1) {
    const target = stub(vector);
    // Software interrupts and breakpoints are open to user code.
    const dpl = vector === END_OF_SLOT || vector === 3 || vector === 4 ? 0x60 : 0;
    image.put32(at + 8 * vector, (SELECTOR.code << 16) | (target & 0xffff));
    image.put32(at + 8 * vector + 4, (target & 0xffff_0000) | ((0x8e | dpl) << 8));
  }
}

/** Entry: tables, paging, SVM; then slot after slot. */
function supervisor(paging: Paging, slots: number, nested: boolean, cr4Bits: number, nx: boolean): Assembler {
  const a = new Assembler(CODE);
  a.emit('Lgdt', mem(address('gdtr')));
  a.emit('Lidt', mem(address('idtr')));
  a.mov(ax, SELECTOR.tss);
  a.emit('Ltr', ax);
  a.mov(esp, KERNEL_STACK);
  a.mov(ecx, 0xc000_0080);
  a.emit('Rdmsr');
  a.or(eax, (nested ? 0x1000 : 0) | (paging === 'pae' && nx ? 0x800 : 0));
  a.emit('Wrmsr');
  a.mov(ecx, 0xc001_0117);
  a.mov(eax, HSAVE);
  a.xor(edx, edx);
  a.emit('Wrmsr');
  a.mov(
    eax,
    CR4.TSD | CR4.OSFXSR | cr4Bits | (paging === 'pse' ? CR4.PSE : 0) | (paging === 'pae' ? CR4.PAE : 0),
  );
  a.mov(cr4, eax);
  if (paging !== 'off') {
    a.mov(eax, paging === 'pae' ? PAE_TABLES : DIRECTORY);
    a.mov(cr3, eax);
    a.mov(eax, cr0);
    a.or(eax, (CR0.PG | CR0.WP | CR0.NE) >>> 0);
    a.mov(cr0, eax);
  }
  a.emit('Fninit');

  a.label('next');
  a.mov(eax, SELECTOR.data);
  for (const segment of [ds, es, fs, gs]) a.mov(segment, eax);
  a.mov(esp, KERNEL_STACK);
  // What one level invalidated, the other may still have cached, or not: nothing to compare.
  a.mov(eax, cr3);
  a.mov(cr3, eax);
  a.emit('Inc', mem32(COUNTER));
  a.mov(eax, mem32(COUNTER));
  a.cmp(eax, slots);
  a.emit('Clts');
  a.branch('Jb', 'more');
  a.mov(eax, 0);
  a.emit('Out', 0xf4, eax);
  a.label('stop');
  a.emit('Hlt');
  a.jmp('stop');
  a.label('more');
  // Kinds of slots follow each other: kernel, user, L2.
  a.mov(ebx, eax);
  a.shl(ebx, 6);
  a.mov(esi, DATA + 0x10);
  a.mov(edi, DATA + 0x1010);
  a.mov(ebp, DATA + 0x800);
  a.mov(ecx, 3);
  a.mov(edx, 0x1234_5678);
  a.emit('Bt', eax, 0);
  a.branch('Jb', 'user');
  if (nested) {
    a.emit('Bt', eax, 1);
    a.branch('Jb', 'l2');
  }
  a.emit('Add', ebx, KERNEL_SLOTS);
  a.push(0x2);
  a.popfd();
  a.jmp(ebx);
  a.label('user');
  a.emit('Add', ebx, USER_SLOTS);
  a.push(SELECTOR.userData);
  a.push(DATA + 0xf00);
  a.push(0x2);
  a.push(SELECTOR.userCode);
  a.push(ebx);
  a.mov(eax, SELECTOR.userData);
  for (const segment of [ds, es, fs, gs]) a.mov(segment, eax);
  a.emit('Iretd');

  if (nested) {
    a.label('l2');
    a.emit('Add', ebx, KERNEL_SLOTS);
    a.mov(mem32(VMCB12 + VMCB_SAVE.RIP), ebx);
    a.mov(mem32(VMCB12 + VMCB_SAVE.RSP), KERNEL_STACK - 0x800);
    a.mov(mem32(VMCB12 + VMCB_SAVE.RFLAGS), 2);
    a.mov(mem32(ECX_SAVED), ecx);
    a.mov(eax, VMCB12);
    a.emit('Clgi');
    a.raw(0x0f, 0x01, 0xd8);
    a.emit('Stgi');
    // The whole control block as the #VMEXIT left it.
    a.push(edi);
    a.push(esi);
    a.mov(esi, VMCB12);
    a.mov(edi, mem32(VMCB_POINTER));
    a.mov(ecx, VMCB_COPY / 4);
    a.raw(0xf3, 0xa5);
    a.mov(mem32(VMCB_POINTER), edi);
    a.pop(esi);
    a.pop(edi);
    a.raw(0xcd, END_OF_SLOT);
  }

  a.label('common');
  // Stack: vector, error code, EIP, CS, EFLAGS, below it the registers.
  a.pushad();
  a.mov(eax, SELECTOR.data);
  a.mov(ds, eax);
  a.mov(es, eax);
  a.mov(edi, mem32(LOG_POINTER));
  a.mov(esi, esp);
  a.mov(ecx, 13);
  a.emit('Cld');
  a.raw(0xf3, 0xa5);
  a.mov(eax, cr2);
  a.raw(0xab);
  a.mov(eax, cr0);
  a.raw(0xab);
  a.mov(eax, dr6);
  a.raw(0xab);
  a.mov(mem32(LOG_POINTER), edi);
  a.jmp('next');

  for (let vector = 0; vector < VECTORS; vector += 1) {
    a.label(`stub${vector}`);
    if (!EXCEPTIONS_WITH_CODE.has(vector)) a.push(0);
    a.push(vector);
    a.jmp('common');
  }
  // L2's handlers tell L1 by VMMCALL.
  for (let vector = 0; vector < VECTORS; vector += 1) {
    a.label(`l2stub${vector}`);
    a.mov(eax, vector);
    a.raw(0x0f, 0x01, 0xd9);
  }
  a.label('gdtr');
  a.data16(0x3f);
  a.data32(GDT);
  a.label('idtr');
  a.data16(8 * VECTORS - 1);
  a.data32(IDT);
  return a;
}

/** What a nested entry allows: mostly everything, and in the pages that slots work on often something less. */
function nestedFlags(page: number, pae: boolean, random: Random): bigint {
  const all = 7n;
  const busy = page >= DATA / 0x1000 && page < DATA / 0x1000 + 8;
  if (random(busy ? 3 : 40) > 0) return all | (random(2) === 0 ? 0n : 0x60n);
  const less = [0n, all & ~2n, all & ~4n, all & ~1n, (all & ~2n) | 0x60n];
  if (pae) less.push(all | (1n << 63n), all | (1n << 50n), all | (1n << 48n));
  return less[random(less.length)];
}

/** Nested tables that map L1's memory to L2 as it is, and its I/O APIC, in L1's own format. */
function writeNestedTables(image: Image, random: Random, l1: Paging): number {
  const [directory, table, devices] = [NESTED, NESTED + 0x1000, NESTED + 0x2000];
  const [pointers, pae, paeTable, paeDevices] = [3, 4, 5, 7].map((n) => NESTED + 0x1000 * n);
  image.put32(directory, table | 7);
  image.put32(directory + 4 * 0x3fb, l1 === 'pse' ? 0xfec0_0087 : devices | 7);
  image.put32(devices, 0xfec0_0007);
  image.put64(pointers, BigInt(pae) | 1n);
  image.put64(pointers + 24, BigInt(paeDevices) | 1n);
  image.put64(pae, BigInt(paeTable) | 7n);
  image.put64(pae + 8, BigInt(paeTable + 0x1000) | 7n);
  image.put64(paeDevices + 8 * 0x1f6, 0xfec0_0087n);
  for (let page = 0; page < 1024; page += 1) {
    const frame = BigInt(page << 12);
    image.put32(table + 4 * page, Number(frame | nestedFlags(page, false, random)));
    image.put64(paeTable + 8 * page, frame | nestedFlags(page, true, random));
  }
  return l1 === 'pae' ? pointers : directory;
}

function writeVmcb(image: Image, random: Random, paging: Paging, cr4Bits: number, nx: boolean): void {
  const set = (offset: number, value: number): void => image.put32(VMCB12 + offset, value);
  const some = (mask: number): number =>
    (random(2) === 0 ? 0 : (random(0x1_0000) << 16) ^ random(0x1_0000)) & mask;
  set(VMCB.INTERCEPT_CR, some(0x0019_0019));
  set(VMCB.INTERCEPT_EXCEPTION, some(0x0007_7fff & ~(1 << 2)));
  // Everything but what waits for events or for the clock.
  set(VMCB.INTERCEPT_MISC1, some(0x1fff_ffe0 & ~0x0000_c000));
  set(VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN | INTERCEPT2.VMMCALL | some(0x0000_0fff & ~0x0000_0c00));
  set(VMCB.GUEST_ASID, 1);
  set(VMCB.TLB_CONTROL, TLB_CONTROL.FLUSH_ALL);
  set(VMCB.IOPM_BASE_PA, 0x20_0000);
  set(VMCB.MSRPM_BASE_PA, 0x20_4000);
  for (let i = 0; i < 0x6000; i += 4) image.put32(0x20_0000 + i, random(3) === 0 ? 0xffff_ffff : 0);
  const segment = (offset: number, selector: number, attributes: number): void => {
    set(offset, selector | (attributes << 16));
    set(offset + 4, 0xffff_ffff);
  };
  segment(VMCB_SAVE.CS, SELECTOR.code, 0xc9b);
  for (const s of [VMCB_SAVE.ES, VMCB_SAVE.SS, VMCB_SAVE.DS]) segment(s, SELECTOR.data, 0xc93);
  set(VMCB_SAVE.GDTR + 4, 0x3f);
  set(VMCB_SAVE.GDTR + 8, GDT);
  set(VMCB_SAVE.IDTR + 4, 8 * VECTORS - 1);
  set(VMCB_SAVE.IDTR + 8, IDT2);
  set(VMCB_SAVE.EFER, 0x1000 | (paging === 'pae' && nx ? 0x800 : 0));
  set(
    VMCB_SAVE.CR4,
    CR4.TSD | CR4.OSFXSR | cr4Bits | (paging === 'pse' ? CR4.PSE : 0) | (paging === 'pae' ? CR4.PAE : 0),
  );
  set(VMCB_SAVE.CR3, paging === 'pae' ? PAE_TABLES : DIRECTORY);
  set(VMCB_SAVE.CR0, (paging === 'off' ? 0x31 : CR0.PG | CR0.WP | 0x31) >>> 0);
  set(VMCB_SAVE.DR6, 0xffff_0ff0);
  set(VMCB_SAVE.DR7, 0x400);
}

export interface ProgramOptions {
  readonly l1: Paging;
  /** Paging of the L2, or none. */
  readonly l2?: Paging;
  /** L1 runs it with nested paging. */
  readonly nestedPaging?: boolean;
  /** The guest's CPU has NX; it does unless given. */
  readonly nx?: boolean;
  readonly slots: number;
  readonly random: Random;
}

/** The memory image, to be loaded at 0 and entered at CODE in flat protected mode. */
export function buildProgram(options: ProgramOptions): Uint8Array<ArrayBuffer> {
  const { l1, l2, nestedPaging, slots, random, nx = true } = options;
  const image = new Image();
  writeTables(image);
  const cr4Bits = random(2) === 0 ? 0 : CR4.SMEP;
  const program = supervisor(l1, slots, l2 !== undefined, cr4Bits, nx).finish();
  if (program.bytes.length > IDT - CODE) throw new Error('the supervisor is too long');
  image.bytes.set(program.bytes, CODE);
  gates(image, IDT, (vector) => program.labels.get(`stub${vector}`)!);
  gates(image, IDT2, (vector) => program.labels.get(`l2stub${vector}`)!);
  if (l2 !== undefined) writeVmcb(image, random, l2, random(2) === 0 ? 0 : CR4.SMEP, nx);
  if (nestedPaging) {
    image.put32(VMCB12 + VMCB.NESTED_CTL, NESTED_CTL.NP_ENABLE);
    image.put32(VMCB12 + VMCB.N_CR3, writeNestedTables(image, random, l1));
    image.put32(VMCB12 + VMCB_SAVE.G_PAT, PAT_RESET.lo);
    image.put32(VMCB12 + VMCB_SAVE.G_PAT + 4, PAT_RESET.hi);
  }
  image.put32(LOG_POINTER, LOG);
  image.put32(VMCB_POINTER, VMCB_LOG);
  for (let i = 0; i < slots; i += 1) {
    const inL2 = l2 !== undefined && (i & 2) !== 0;
    const kernel = kernelSlot(random, {
      end: inL2 ? [0x0f, 0x01, 0xd9] : [0xcd, END_OF_SLOT],
      paging: inL2 ? l2 : l1,
    });
    image.bytes.set(kernel.slice(0, SLOT), KERNEL_SLOTS + SLOT * i);
    image.bytes.set(userSlot(random, [0xcd, END_OF_SLOT]).slice(0, SLOT), USER_SLOTS + SLOT * i);
  }
  return image.bytes;
}
