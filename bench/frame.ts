import { ATTRIBUTE, descriptorHi, descriptorLo, SYSTEM_TYPE } from '../src/arch/descriptors.ts';
import {
  Assembler,
  address,
  al,
  ax,
  ds,
  dx,
  eax,
  ebx,
  ecx,
  es,
  esp,
  fs,
  gs,
  mem,
  mem16,
  ss,
} from '../src/guest/assembler.ts';
import type { BenchProgram } from './program.ts';

/** Physical addresses that all programs share; their own data begin at DATA. */
export const LAYOUT = {
  STACK_TOP: 0x8_0000,
  LOAD: 0x10_0000,
  IDT: 0x18_0000,
  TSS: 0x18_1000,
  USER_STACK_TOP: 0x18_3000,
  /** A page directory, and page tables for up to 64 MiB behind it. */
  TABLES: 0x1c_0000,
  DATA: 0x20_0000,
} as const;

/** Selectors of the frame's GDT. */
export const SELECTOR = { CODE: 0x08, DATA: 0x10, USER_CODE: 0x1b, USER_DATA: 0x23, TSS: 0x28 } as const;

const { P, S, DB, G, CODE, READABLE, WRITABLE, DPL, ACCESSED } = ATTRIBUTE;
/** 12-bit attributes of the flat segments at CPL 0; accessed, so that loading one writes nothing. */
export const FLAT = {
  CODE: P | S | DB | G | ACCESSED | CODE | READABLE,
  DATA: P | S | DB | G | ACCESSED | WRITABLE,
} as const;

/** What a program sends on COM1 before and after the work that counts; RESULT_BYTES of result follow. */
export const MARK = { BEGIN: 0x42, END: 0x45 } as const;
export const RESULT_BYTES = 4;

export const DEFAULT_MEMORY = 16 << 20;

const MULTIBOOT_MAGIC = 0x1bad_b002;
const HEADER_SAYS_WHERE = 0x1_0000;
const COM1 = 0x3f8;
const DEBUG_CONSOLE = 0xe9;
const DEBUG_EXIT = 0xf4;
const IDT_VECTORS = 256;

/** Units of work before the first mark: enough for a compiler to have seen the code. */
export const warmUpOf = (iterations: number): number => Math.max(1, Math.floor(iterations / 4));

/** A program in its frame, as a multiboot image. */
export function assembleProgram(
  program: BenchProgram,
  iterations = program.iterations,
): Uint8Array<ArrayBuffer> {
  const a = new Assembler(LAYOUT.LOAD);
  emitHeader(a);
  emitEntry(a);
  program.setUp?.(a);
  a.mov(ecx, warmUpOf(iterations));
  a.call('work');
  emitMark(a, MARK.BEGIN);
  a.mov(ecx, iterations);
  a.call('work');
  a.mov(ebx, eax);
  emitMark(a, MARK.END);
  emitResult(a);
  emitExit(a);
  emitTables(a);
  // The work begins on a page of its own: whoever watches pages with code must not see our data.
  a.align(4096);
  program.emit(a);
  return a.finish().bytes;
}

/** The header that says itself where the image goes (multiboot 0.6.96, 3.1). */
function emitHeader(a: Assembler): void {
  a.data32(MULTIBOOT_MAGIC, HEADER_SAYS_WHERE, -(MULTIBOOT_MAGIC + HEADER_SAYS_WHERE) >>> 0);
  a.data32(LAYOUT.LOAD, LAYOUT.LOAD, 0, 0, address('entry'));
}

function emitEntry(a: Assembler): void {
  a.label('entry');
  a.cli();
  a.cld();
  a.mov(esp, LAYOUT.STACK_TOP);
  a.lgdt(mem(address('gdt-pointer')));
  a.jmpFar(SELECTOR.CODE, 'flat');
  a.label('flat');
  a.mov(eax, SELECTOR.DATA);
  for (const segment of [ds, es, fs, gs, ss]) a.mov(segment, eax);
  a.lidt(mem(address('idt-pointer')));
  a.emit('Fninit');
}

function emitMark(a: Assembler, mark: number): void {
  a.mov(al, mark);
  a.mov(dx, COM1);
  a.out(dx, al);
}

/** Sends the result, EBX, on COM1: low byte first. */
function emitResult(a: Assembler): void {
  a.mov(dx, COM1);
  for (let byte = 0; byte < RESULT_BYTES; byte++) {
    a.mov(eax, ebx);
    a.out(dx, al);
    a.shr(ebx, 8);
  }
}

/**
 * Leaves through the debug-exit port, or halts for good. v86 throws an exception into the host at that port; a machine
 * that has port E9h, as QEMU, Bochs and Umbra have, gives its number back when it is read.
 */
function emitExit(a: Assembler): void {
  a.mov(dx, DEBUG_CONSOLE);
  a.in(al, dx);
  a.cmp(al, DEBUG_CONSOLE);
  a.jnz('stop');
  a.xor(eax, eax);
  a.mov(dx, DEBUG_EXIT);
  a.out(dx, eax);
  a.label('stop');
  a.hlt();
  a.jmp('stop');
}

function emitTables(a: Assembler): void {
  const descriptor = (base: number, limit: number, attributes: number): void => {
    a.data32(descriptorLo(base, limit, attributes), descriptorHi(base, limit, attributes));
  };
  a.align(4096);
  a.label('gdt');
  a.data32(0, 0);
  descriptor(0, 0xffff_ffff, FLAT.CODE);
  descriptor(0, 0xffff_ffff, FLAT.DATA);
  descriptor(0, 0xffff_ffff, FLAT.CODE | DPL);
  descriptor(0, 0xffff_ffff, FLAT.DATA | DPL);
  descriptor(LAYOUT.TSS, 0x67, P | SYSTEM_TYPE.TSS_32_AVAILABLE);
  a.label('gdt-pointer');
  a.data16(6 * 8 - 1);
  a.data32(address('gdt'));
  a.align(4);
  a.label('idt-pointer');
  a.data16(IDT_VECTORS * 8 - 1);
  a.data32(LAYOUT.IDT);
}

/** Emits what makes `vector` an interrupt gate to `handler` that code at CPL `privilege` may call; EAX changes. */
export function emitGate(a: Assembler, vector: number, handler: string, privilege: 0 | 3 = 0): void {
  const gate = LAYOUT.IDT + vector * 8;
  const attributes = (ATTRIBUTE.P | (privilege << 5) | SYSTEM_TYPE.INTERRUPT_GATE_32) << 8;
  a.mov(eax, address(handler));
  a.mov(mem16(gate), ax);
  a.shr(eax, 16);
  a.mov(mem16(gate + 6), ax);
  a.mov(mem16(gate + 2), SELECTOR.CODE);
  a.mov(mem16(gate + 4), attributes);
}
