/**
 * Segment descriptors as {lo, hi} halves of the 8 bytes in a descriptor table (SDM vol. 3A 3.4.5, APM vol. 2
 * 4.7), and the 12-bit attribute form in which a processor and a VMCB keep them (APM vol. 2 15.5.1).
 */

// biome-ignore format: table
/** Bits of the 12-bit attribute form: descriptor bits 47:40 as 7:0, bits 55:52 as 11:8. */
export const ATTRIBUTE = {
  TYPE: 0x00f,
  /** Of the type field, for code and data segments (SDM vol. 3A table 3-1). */
  ACCESSED: 0x001,
  WRITABLE: 0x002,
  READABLE: 0x002,
  EXPAND_DOWN: 0x004,
  CONFORMING: 0x004,
  CODE: 0x008,
  /** One for code and data, zero for system descriptors. */
  S:    0x010,
  DPL:  0x060,
  P:    0x080,
  AVL:  0x100,
  L:    0x200,
  /** D of a code segment, B of a stack or expand-down segment. */
  DB:   0x400,
  G:    0x800,
} as const;
export const ATTRIBUTE_DPL_SHIFT = 5;

// biome-ignore format: table
/** Type field of system descriptors outside long mode (SDM vol. 3A table 3-2). */
export const SYSTEM_TYPE = {
  TSS_16_AVAILABLE: 0x1,
  LDT:              0x2,
  TSS_16_BUSY:      0x3,
  CALL_GATE_16:     0x4,
  TASK_GATE:        0x5,
  INTERRUPT_GATE_16: 0x6,
  TRAP_GATE_16:     0x7,
  TSS_32_AVAILABLE: 0x9,
  TSS_32_BUSY:      0xb,
  CALL_GATE_32:     0xc,
  INTERRUPT_GATE_32: 0xe,
  TRAP_GATE_32:     0xf,
} as const;

/** Selector fields (SDM vol. 3A 3.4.2). */
export const SELECTOR = { RPL: 0x0003, TI: 0x0004, INDEX: 0xfff8 } as const;

/** 12-bit attributes of the descriptor whose high half is `hi`. */
export const attributesOfDescriptor = (hi: number): number => ((hi >>> 8) & 0x0ff) | ((hi >>> 12) & 0xf00);

/** Base address of a descriptor, 32 bits unsigned. */
export const baseOfDescriptor = (lo: number, hi: number): number =>
  ((lo >>> 16) | ((hi & 0xff) << 16) | (hi & 0xff00_0000)) >>> 0;

/** Limit in bytes, unsigned: the highest offset, with the granularity bit applied (SDM vol. 3A 3.4.5). */
export function limitOfDescriptor(lo: number, hi: number): number {
  const raw = (lo & 0xffff) | (hi & 0x000f_0000);
  return (hi & 0x0080_0000) !== 0 ? ((raw << 12) | 0xfff) >>> 0 : raw;
}

/**
 * Low half of the descriptor with this base and byte limit; `attributes` says whether the limit counts pages.
 */
export function descriptorLo(base: number, limit: number, attributes: number): number {
  const raw = (attributes & ATTRIBUTE.G) !== 0 ? limit >>> 12 : limit;
  return ((base << 16) | (raw & 0xffff)) >>> 0;
}

/** High half of the descriptor with this base, byte limit and 12-bit attributes. */
export function descriptorHi(base: number, limit: number, attributes: number): number {
  const raw = (attributes & ATTRIBUTE.G) !== 0 ? limit >>> 12 : limit;
  const flags = ((attributes & 0x0ff) << 8) | ((attributes & 0xf00) << 12);
  return ((base & 0xff00_0000) | ((base >>> 16) & 0xff) | (raw & 0x000f_0000) | flags) >>> 0;
}
