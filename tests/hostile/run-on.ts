/** What keeps random code running: stretches of harmless instructions and loops, and handlers that go on elsewhere. */
import { CR0 } from '../../src/arch/registers.ts';
import {
  type Assembler,
  ax,
  cr0,
  cr3,
  cr4,
  ds,
  eax,
  ebx,
  es,
  esp,
  mem32,
  ss,
} from '../../src/guest/assembler.ts';
import type { Random } from './random.ts';

/** Where the next start in the random code comes from: a counter, and the table that it goes round in. */
export interface Targets {
  readonly count: number;
  readonly table: number;
}
/** Entries of the table, four bytes each. */
export const TARGETS = 64;

/** Registers that a loop's body may change: not ECX, its counter, and not ESP. */
const REGISTERS = [0, 2, 3, 5, 6, 7] as const;
/** Instructions of two bytes with a ModRM byte: ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, MOV, in both directions and sizes. */
// biome-ignore format: table
const TWO_BYTES = [
  0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x11, 0x12, 0x13, 0x18, 0x19, 0x1a, 0x1b, 0x20, 0x21, 0x22, 0x23,
  0x28, 0x29, 0x2a, 0x2b, 0x30, 0x31, 0x32, 0x33, 0x38, 0x39, 0x3a, 0x3b, 0x84, 0x85, 0x88, 0x89, 0x8a, 0x8b, 0xd0, 0xd1,
];
/** The same behind 0F: IMUL, MOVZX, MOVSX, CMOVcc, SETcc, BT, XADD. */
const EXTENDED = [0xaf, 0xb6, 0xb7, 0xbe, 0xbf, 0x40, 0x44, 0x4c, 0x92, 0x9f, 0xa3, 0xc1] as const;
const LONGEST_LOOP = 0x60;

/** One instruction between registers. */
function harmless(random: Random): number[] {
  const modrm = 0xc0 | (random.pick(REGISTERS) << 3) | random.pick(REGISTERS);
  switch (random.below(6)) {
    case 0:
      return [0x40 | random.pick(REGISTERS)];
    case 1:
      return [0x0f, random.pick(EXTENDED), modrm];
    case 2:
      return [0xc1, modrm, random.below(32)];
    case 3:
      return [0x83, modrm, random.below(256)];
    default:
      return [random.pick(TWO_BYTES), modrm];
  }
}

/** AND ECX, 15; INC ECX; some instructions; LOOP back. The same bytes in 16-bit code. */
function loop(random: Random): number[] {
  const body: number[] = [];
  const size = random.below(LONGEST_LOOP);
  while (body.length < size) body.push(...harmless(random));
  return [0x83, 0xe1, 0x0f, 0x41, ...body, 0xe2, (-body.length - 2) & 0xff];
}

/** Puts loops and harmless stretches into random bytes; between them those stay as they are. */
export function simmer(random: Random, bytes: Uint8Array, from: number, to: number): void {
  const gap = random.pick([8, 40, 200]);
  for (let at = from; at < to - 256; at += random.below(gap)) {
    const stretch = random.oneIn(3) ? loop(random) : harmless(random);
    bytes.set(stretch, at);
    at += stretch.length;
  }
}

export interface ResumeOptions extends Targets {
  /** Operands of LGDT and LIDT. */
  readonly pointers: number;
  readonly data: number;
  readonly stack: number;
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  /** Data segments, a frame with EIP = EBX, and IRETD. */
  readonly enter: () => void;
}

/** A handler that takes any event: it mends what the guest needs most and begins again at the next target. */
export function resume(a: Assembler, options: ResumeOptions): void {
  a.mov(eax, options.data);
  for (const register of [ds, es, ss]) a.mov(register, ax);
  a.mov(esp, options.stack);
  a.lgdt(mem32(options.pointers));
  a.lidt(mem32(options.pointers + 8));
  a.inc(mem32(options.count));
  a.mov(ebx, mem32(options.count));
  a.test(ebx, 7);
  a.jnz('same');
  a.mov(eax, (options.cr0 & ~CR0.PG) >>> 0);
  a.mov(cr0, eax);
  a.mov(eax, options.cr4);
  a.mov(cr4, eax);
  a.mov(eax, options.cr3);
  a.mov(cr3, eax);
  a.mov(eax, options.cr0);
  a.mov(cr0, eax);
  a.label('same');
  a.and(ebx, TARGETS - 1);
  a.shl(ebx, 2);
  a.mov(ebx, mem32(ebx, options.table));
  options.enter();
}

/** The same for real mode, where targets are an offset and a segment: 16-bit code that may be anywhere. */
export function resumeReal(
  options: Targets & { readonly pointers: number; readonly segment: number },
): Uint8Array {
  const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];
  return Uint8Array.of(
    ...[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0], // XOR AX, AX; MOV DS, AX; MOV SS, AX
    ...[0xbc, ...word(0x7ff0)], // MOV SP, 7FF0h
    ...[0x0f, 0x01, 0x1e, ...word(options.pointers + 8)], // LIDT
    ...[0xff, 0x06, ...word(options.count), 0x8b, 0x1e, ...word(options.count)], // INC [count]; MOV BX, [count]
    ...[0x83, 0xe3, TARGETS - 1, 0xc1, 0xe3, 2], // AND BX, 63; SHL BX, 2
    ...[0x68, ...word(0x202)], // PUSH flags
    ...[0xff, 0xb7, ...word(options.table + 2), 0xff, 0xb7, ...word(options.table)], // PUSH CS, PUSH IP
    ...[0xb8, ...word(options.segment), 0x8e, 0xd8, 0x8e, 0xc0, 0xcf], // MOV AX; MOV DS, AX; MOV ES, AX; IRET
  );
}
