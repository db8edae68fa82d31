/** Contents of the slots: instructions that L0 has a hand in, and random bytes for user code. */
import { CR0, CR4 } from '../../../src/arch/registers.ts';
import type { Paging } from './program.ts';

/** A number from 0 to `below` - 1. */
export type Random = (below: number) => number;

const le32 = (value: number): number[] => [
  value & 0xff,
  (value >>> 8) & 0xff,
  (value >>> 16) & 0xff,
  value >>> 24,
];
const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)];

const DATA = 0x6_0000;
const TABLE = 0xb000;
const PAE_TABLE = 0xe000;
/** One address in each page of DATA, one outside the tables, one where no memory is. */
const PLACES = [
  0x60020, 0x61020, 0x62020, 0x63020, 0x64020, 0x65020, 0x66020, 0x60ffe, 0x61ffc, 0x900000, 0x500000,
] as const;
const MSRS = [
  0x174, 0x175, 0x176, 0x277, 0xfe, 0x200, 0x201, 0x2ff, 0x179, 0x400, 0x1b, 0x12345, 0xc0010015, 0xc0010010,
  0xc0010114, 0xc0010117, 0xc0000081, 0xc0000101, 0x8b,
] as const;

type Template = (random: Random, paging: Paging) => readonly number[];

const movEax = (value: number): number[] => [0xb8, ...le32(value)];
const movEcx = (value: number): number[] => [0xb9, ...le32(value)];
const place = (random: Random): number => pick(random, PLACES) + random(2) * random(16);

// biome-ignore format: table
const KERNEL: readonly Template[] = [
  // Loads, stores and read-modify-writes of all sizes
  (r) => [0xa1, ...le32(place(r))],
  (r) => [0xc7, 0x05, ...le32(place(r)), ...le32(r(0x10000))],
  (r) => [0x01, 0x15, ...le32(place(r))],
  (r) => [0x66, 0x87, 0x15, ...le32(place(r))],
  (r) => [0x0f, 0xc7, 0x0d, ...le32(place(r))],                         // cmpxchg8b
  (r) => [0xf0, 0x0f, 0xb1, 0x15, ...le32(place(r))],                   // lock cmpxchg
  (r) => [0xff, 0x35, ...le32(place(r)), 0x8f, 0x05, ...le32(place(r))], // push, pop
  (r) => [0xdd, 0x05, ...le32(place(r)), 0xdd, 0x1d, ...le32(place(r))], // fld, fstp
  // Strings
  (r) => [0xbe, ...le32(place(r)), 0xbf, ...le32(place(r)), 0xf3, pick(r, [0xa4, 0xa5, 0xab, 0xa6])],
  (r) => [0xbe, ...le32(place(r)), 0xba, ...le32(pick(r, [0xe9, 0x80, 0x1234])), 0xf3, pick(r, [0x6e, 0x6f])],
  (r) => [0xbf, ...le32(place(r)), 0xba, ...le32(0x1234), 0xf3, pick(r, [0x6c, 0x6d])],
  // Ports
  (r) => [0xba, ...le32(pick(r, [0x80, 0xe9, 0x1234, 0xffff])), pick(r, [0xec, 0xed, 0xee, 0xef])],
  (r) => [0x66, 0xe7, pick(r, [0x80, 0x84])],
  // Control registers
  (r) => [0x0f, 0x20, pick(r, [0xc0, 0xd0, 0xd8, 0xe0])],
  (r) => [0x0f, 0x20, 0xc0, 0x35, ...le32(pick(r, [CR0.TS, CR0.MP, CR0.EM, CR0.AM, CR0.NE, CR0.WP, CR0.TS | CR0.MP])), 0x0f, 0x22, 0xc0],
  (r) => [0x0f, 0x20, 0xe0, 0x35, ...le32(pick(r, [CR4.PGE, CR4.DE, CR4.SMEP, CR4.MCE, CR4.VMXE, CR4.OSFXSR])), 0x0f, 0x22, 0xe0],
  () => [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8],
  () => [0x0f, 0x06],
  (r) => [0x66, 0xb8, r(16), 0x00, 0x0f, 0x01, 0xf0],                     // lmsw ax
  (r) => [0x0f, 0x01, 0x35, ...le32(pick(r, [0x64020, 0x500000]))],        // lmsw of what is not there
  (r) => [0x0f, 0x01, 0x25, ...le32(place(r)), 0x0f, 0x01, 0xe0],          // smsw
  (r) => [0x0f, 0x01, 0x3d, ...le32(place(r))],                           // invlpg
  // A table entry changes, and is invalidated
  (r, p) => {
    if (p === 'off') return [0x90];
    const page = DATA / 0x1000 + r(7);
    const entry = p === 'pae' ? PAE_TABLE + 8 * page : TABLE + 4 * page;
    return [0x81, 0x35, ...le32(entry), ...le32(pick(r, [1, 2, 4, 0x20, 0x40])), 0x0f, 0x01, 0x3d, ...le32(page << 12)];
  },
  // MSRs and CPUID
  (r) => [...movEcx(pick(r, MSRS)), 0x0f, 0x32],
  (r) => [...movEcx(pick(r, MSRS)), 0x0f, 0x32, 0x0f, 0x30],
  (r) => [...movEcx(pick(r, MSRS)), ...movEax(r(0x10000)), 0x31, 0xd2, 0x0f, 0x30],
  (r) => [...movEax(pick(r, [0, 1, 2, 4, 5, 7, 0xd, 0x80000000, 0x80000001, 0x80000008, 0x8000000a, 0x12345])), 0x31, 0xc9, 0x0f, 0xa2],
  () => [...movEcx(0xc0000080), 0x0f, 0x32, 0x0d, 0, 0, 1, 0, 0x0f, 0x30],  // EFER: a reserved bit
  // Exceptions and traps
  () => [0x0f, 0x0b],
  () => [0xcc],
  (r) => [0xcd, pick(r, [0, 3, 5, 8, 13, 14, 0x30, 0x41, 0xff])],
  () => [0x31, 0xc9, 0xf7, 0xf1],
  () => [0x70, 0x00, 0xb0, 0x7f, 0x04, 0x01, 0xce],                        // add sets OF; into
  () => [0xf1],
  (r) => [0x62, 0x05, ...le32(place(r))],                                  // bound
  () => [0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90],                  // TF
  () => [0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x0f, 0xa2],            // TF on CPUID
  () => [0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0xe6, 0x80],            // TF on OUT
  (r) => [0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0xc7, 0x05, ...le32(place(r)), 1, 0, 0, 0],
  () => [0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d],                        // AC
  // Segments and tables
  (r) => [0xb8, ...le32(pick(r, [0, 0x10, 0x23, 0x30, 0x38, 0x3b, 0x40, 0x08])), 0x8e, pick(r, [0xc0, 0xe0, 0xe8])],
  (r) => [0x0f, 0x01, 0x05 | (r(2) << 3), ...le32(place(r))],              // sgdt, sidt
  (r) => [0xb8, ...le32(pick(r, [0x28, 0x30, 0x10])), 0x0f, 0x00, 0xd8],   // ltr: busy, absent, no TSS
  (r) => [0x0f, 0x00, pick(r, [0xc0, 0xc8])],                              // sldt, str
  (r) => [0xb8, ...le32(pick(r, [0x08, 0x1b, 0x30, 0x38, 0x70])), 0x0f, pick(r, [0x02, 0x03]), 0xd0],
  () => [0x16, 0x17],                                                     // push ss, pop ss: shadow
  () => [0x0f, 0x21, 0xf0, 0x0f, 0x23, 0xc0],                              // mov eax, dr6; mov dr0, eax
  (r) => [0xb8, ...le32(pick(r, [0x400, 0x401, 0x1_0402])), 0x0f, 0x23, 0xf8, 0xb8, ...le32(DATA + 0x20), 0x0f, 0x23, 0xc8],
  // Odd ones
  () => [0x0f, 0x08],
  () => [0x0f, 0x09],
  () => [0x31, 0xc9, 0x0f, 0x33],
  () => [0x0f, 0x01, 0xd0],
  () => [0x0f, 0xaa],
  () => [0xf3, 0x90],
  () => [0x0f, 0x01, 0xc8],                                               // monitor
  // SVM
  (r) => [...movEax(pick(r, [0x8000, 0x8001, 0x123000])), 0x0f, 0x01, pick(r, [0xd8, 0xdb, 0xdd, 0xdc, 0xde, 0xdf])],
];

/** A few instructions at CPL 0, and the end. */
export function kernelSlot(random: Random, options: { end: readonly number[]; paging: Paging }): Uint8Array {
  const bytes: number[] = [];
  for (let i = 1 + random(2); i > 0; i -= 1) bytes.push(...pick(random, KERNEL)(random, options.paging));
  bytes.push(...options.end);
  if (bytes.length > 64) return kernelSlot(random, options);
  return Uint8Array.from(bytes);
}

/** Random bytes, or an access and the like, at CPL 3. */
export function userSlot(random: Random, end: readonly number[]): Uint8Array {
  const bytes: number[] = [];
  if (random(3) > 0) for (let i = random(20); i > 0; i -= 1) bytes.push(randomByte(random));
  else for (let i = 1 + random(2); i > 0; i -= 1) bytes.push(...pick(random, KERNEL)(random, 'off'));
  bytes.push(...end, ...end);
  if (bytes.length > 64) return userSlot(random, end);
  return Uint8Array.from(bytes);
}

/** Short jumps would often make endless loops of it. */
function randomByte(random: Random): number {
  const byte = random(256);
  const jumps = (byte & 0xf0) === 0x70 || (byte & 0xfc) === 0xe0 || byte === 0xe9 || byte === 0xeb;
  return jumps && random(8) > 0 ? randomByte(random) : byte;
}
