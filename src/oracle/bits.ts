/**
 * The bits that the oracle reads, as bigint, straight from the manuals. They repeat src/arch/registers.ts on purpose:
 * the oracle judges the rest of the program and must not share a mistake with it.
 */

/** Bit `n` alone. */
export const bit = (n: number): bigint => 1n << BigInt(n);

/** Bits `high` down to `low`, both included; nothing if `high < low`. */
export const bits = (high: number, low: number): bigint =>
  high < low ? 0n : (bit(high - low + 1) - 1n) << BigInt(low);

/** Whether any bit of `mask` is set. */
export const has = (value: bigint, mask: bigint): boolean => (value & mask) !== 0n;

// biome-ignore format: table
/** CR0 (SDM vol. 3A 2.5, APM vol. 2 3.1.1). */
export const CR0 = {
  PE: bit(0), MP: bit(1), EM: bit(2), TS: bit(3), ET: bit(4), NE: bit(5),
  WP: bit(16), AM: bit(18), NW: bit(29), CD: bit(30), PG: bit(31),
} as const;

// biome-ignore format: table
/** CR4 (SDM vol. 3A 2.5, APM vol. 2 3.1.3). */
export const CR4 = {
  VME: bit(0), PVI: bit(1), TSD: bit(2), DE: bit(3), PSE: bit(4), PAE: bit(5), MCE: bit(6), PGE: bit(7),
  PCE: bit(8), OSFXSR: bit(9), OSXMMEXCPT: bit(10), UMIP: bit(11), LA57: bit(12), VMXE: bit(13), SMXE: bit(14),
  FSGSBASE: bit(16), PCIDE: bit(17), OSXSAVE: bit(18), SMEP: bit(20), SMAP: bit(21), PKE: bit(22), CET: bit(23),
} as const;

// biome-ignore format: table
/** EFER (APM vol. 2 3.1.7, SDM vol. 4 table 2-2, IA32_EFER). */
export const EFER = {
  SCE: bit(0), LME: bit(8), LMA: bit(10), NXE: bit(11), SVME: bit(12), LMSLE: bit(13), FFXSR: bit(14), TCE: bit(15),
} as const;

// biome-ignore format: table
/** Paging-structure entries (SDM vol. 3A tables 4-4 to 4-20, APM vol. 2 5.4.1). */
export const ENTRY = {
  P: bit(0), RW: bit(1), US: bit(2), PWT: bit(3), PCD: bit(4), A: bit(5), D: bit(6), PS: bit(7), G: bit(8),
  /** PAT of a 4-KByte page; of a larger page it is bit 12. */
  PAT: bit(7), PAT_LARGE: bit(12), XD: bit(63),
} as const;

// biome-ignore format: table
/** Page-fault error code (SDM vol. 3A 4.7, APM vol. 2 8.4.2). */
export const PFERR = { P: 0x01, W: 0x02, U: 0x04, RSVD: 0x08, ID: 0x10, PK: 0x20 } as const;

/** High bits of EXITINFO1 of a nested page fault: which of the guest's addresses it is about (APM vol. 2 15.25.6). */
export const NPF = { FINAL: bit(32), TABLE: bit(33) } as const;

// biome-ignore format: table
/** Exception vectors (SDM vol. 3A table 6-1). */
export const VECTOR = {
  DE: 0, DB: 1, NMI: 2, BP: 3, OF: 4, BR: 5, UD: 6, NM: 7, DF: 8, TS: 10, NP: 11, SS: 12, GP: 13, PF: 14,
  MF: 16, AC: 17, MC: 18, XM: 19, VE: 20, CP: 21, SX: 30,
} as const;
