/**
 * Registers: names in encoding order and the bits of the control registers.
 *
 * Bit values are unsigned numbers. JavaScript's `&` gives a signed 32-bit result, so for bit 31 test `(x &
 * CR0.PG) !== 0` and compare masks only after `>>> 0`. Registers that are 64 bits wide in the manuals are
 * described by their low half unless a name ends in `_HI`.
 */

export { MSR } from './msrs.ts';

// biome-ignore format: table
/** General-purpose registers in ModRM encoding order (SDM vol. 2 2.1.5, table 2-2). */
export const GPR = {
  EAX: 0, ECX: 1, EDX: 2, EBX: 3, ESP: 4, EBP: 5, ESI: 6, EDI: 7,
  R8: 8, R9: 9, R10: 10, R11: 11, R12: 12, R13: 13, R14: 14, R15: 15,
} as const;

// biome-ignore format: table
export const GPR_NAMES_32 = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'] as const;
// biome-ignore format: table
export const GPR_NAMES_16 = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'] as const;
// biome-ignore format: table
export const GPR_NAMES_8 = ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh'] as const;

/** Segment registers in encoding order (SDM vol. 2 table B-8). */
export const SEGMENT = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5 } as const;
export const SEGMENT_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;

// biome-ignore format: table
/** EFLAGS (SDM vol. 1 3.4.3, APM vol. 2 3.1.6). */
export const EFLAGS = {
  CF:   0x0000_0001,
  /** Bit 1 always reads as one. */
  ONE:  0x0000_0002,
  PF:   0x0000_0004,
  AF:   0x0000_0010,
  ZF:   0x0000_0040,
  SF:   0x0000_0080,
  TF:   0x0000_0100,
  IF:   0x0000_0200,
  DF:   0x0000_0400,
  OF:   0x0000_0800,
  IOPL: 0x0000_3000,
  NT:   0x0000_4000,
  RF:   0x0001_0000,
  VM:   0x0002_0000,
  AC:   0x0004_0000,
  VIF:  0x0008_0000,
  VIP:  0x0010_0000,
  ID:   0x0020_0000,
} as const;
export const EFLAGS_IOPL_SHIFT = 12;
/** CF PF AF ZF SF OF: what arithmetic instructions write (SDM vol. 1 3.4.3.1). */
export const EFLAGS_STATUS = 0x0000_08d5;
/** Every bit that is not reserved, bit 1 included. */
export const EFLAGS_DEFINED = 0x003f_7fd7;

// biome-ignore format: table
/** CR0 (SDM vol. 3A 2.5, APM vol. 2 3.1.1). */
export const CR0 = {
  PE: 0x0000_0001,
  MP: 0x0000_0002,
  EM: 0x0000_0004,
  TS: 0x0000_0008,
  ET: 0x0000_0010,
  NE: 0x0000_0020,
  WP: 0x0001_0000,
  AM: 0x0004_0000,
  NW: 0x2000_0000,
  CD: 0x4000_0000,
  PG: 0x8000_0000,
} as const;
export const CR0_DEFINED = 0xe005_003f;
/** CR0 after RESET and INIT: ET, NW and CD set (SDM vol. 3A table 10-1, APM vol. 2 table 14-1). */
export const CR0_RESET = 0x6000_0010;

// biome-ignore format: table
/** CR3 outside PCID (SDM vol. 3A 2.5 and 4.3 to 4.5, APM vol. 2 5.2.1, 5.3.1). */
export const CR3 = {
  PWT: 0x0000_0008,
  PCD: 0x0000_0010,
  /** Table base of 2-level, 4-level and 5-level paging (low half). */
  BASE: 0xffff_f000,
  /** Base of the page-directory-pointer table under PAE paging: 32-byte aligned. */
  PAE_BASE: 0xffff_ffe0,
  /** With CR4.PCIDE (SDM vol. 3A 4.10.1). */
  PCID: 0x0000_0fff,
} as const;

// biome-ignore format: table
/** CR4 (SDM vol. 3A 2.5, APM vol. 2 3.1.3). */
export const CR4 = {
  VME:        0x0000_0001,
  PVI:        0x0000_0002,
  TSD:        0x0000_0004,
  DE:         0x0000_0008,
  PSE:        0x0000_0010,
  PAE:        0x0000_0020,
  MCE:        0x0000_0040,
  PGE:        0x0000_0080,
  PCE:        0x0000_0100,
  OSFXSR:     0x0000_0200,
  OSXMMEXCPT: 0x0000_0400,
  UMIP:       0x0000_0800,
  LA57:       0x0000_1000,
  VMXE:       0x0000_2000,
  SMXE:       0x0000_4000,
  FSGSBASE:   0x0001_0000,
  PCIDE:      0x0002_0000,
  OSXSAVE:    0x0004_0000,
  KL:         0x0008_0000,
  SMEP:       0x0010_0000,
  SMAP:       0x0020_0000,
  PKE:        0x0040_0000,
  CET:        0x0080_0000,
  PKS:        0x0100_0000,
} as const;

// biome-ignore format: table
/** EFER, MSR C000_0080h (APM vol. 2 3.1.7, SDM vol. 3A 2.2.1). */
export const EFER = {
  SCE:   0x0000_0001,
  LME:   0x0000_0100,
  LMA:   0x0000_0400,
  NXE:   0x0000_0800,
  SVME:  0x0000_1000,
  LMSLE: 0x0000_2000,
  FFXSR: 0x0000_4000,
  TCE:   0x0000_8000,
} as const;

// biome-ignore format: table
/** DR6, debug status (SDM vol. 3B 17.2.3, APM vol. 2 13.1.1.3). */
export const DR6 = {
  B0: 0x0000_0001,
  B1: 0x0000_0002,
  B2: 0x0000_0004,
  B3: 0x0000_0008,
  BD: 0x0000_2000,
  BS: 0x0000_4000,
  BT: 0x0000_8000,
} as const;
/** Bits of DR6 that always read as one, and its value after RESET. */
export const DR6_FIXED_ONE = 0xffff_0ff0;

// biome-ignore format: table
/** DR7, debug control (SDM vol. 3B 17.2.4, APM vol. 2 13.1.1.4). */
export const DR7 = {
  L0: 0x0000_0001, G0: 0x0000_0002,
  L1: 0x0000_0004, G1: 0x0000_0008,
  L2: 0x0000_0010, G2: 0x0000_0020,
  L3: 0x0000_0040, G3: 0x0000_0080,
  LE: 0x0000_0100, GE: 0x0000_0200,
  GD: 0x0000_2000,
} as const;
/** Bit 10 of DR7 always reads as one; this is also the value after RESET. */
export const DR7_FIXED_ONE = 0x0000_0400;
/** Bits 11, 12, 14 and 15 of DR7 read as zero. */
export const DR7_FIXED_ZERO = 0x0000_d800;
/** R/W field of breakpoint n is at bit 16 + 4n, LEN at 18 + 4n; two bits each. */
export const DR7_RW_SHIFT = 16;
export const DR7_LEN_SHIFT = 18;
/** Values of an R/W field; IO only with CR4.DE. */
export const DR7_RW = { EXECUTE: 0, WRITE: 1, IO: 2, READ_WRITE: 3 } as const;
/** Length in bytes for each value of a LEN field (2 means 8 in long mode only; undefined before). */
export const DR7_LENGTHS = [1, 2, 8, 4] as const;

// biome-ignore format: table
/** Page-fault error code (SDM vol. 3A 4.7, APM vol. 2 8.4.2), bits 31:0. */
export const PFERR = {
  /** The fault is a protection or reserved-bit violation, not an absent page. */
  P:    0x0000_0001,
  W:    0x0000_0002,
  U:    0x0000_0004,
  RSVD: 0x0000_0008,
  /** Instruction fetch; reported only with EFER.NXE or CR4.SMEP. */
  F:    0x0000_0010,
  PK:   0x0000_0020,
  SS:   0x0000_0040,
} as const;

/** High half of EXITINFO1 on VMEXIT_NPF (APM vol. 2 15.25.6): which walk the nested fault belongs to. */
export const NPFERR_HI = {
  /** Bit 32: the fault occurred while translating the guest's final physical address. */
  FINAL: 0x0000_0001,
  /** Bit 33: the fault occurred while translating a guest page table's address. */
  TABLE: 0x0000_0002,
} as const;

// biome-ignore format: table
/** MXCSR (SDM vol. 1 10.2.3, APM vol. 1 4.2.2): exception flags 5:0, DAZ, masks 12:7, RC 14:13, FZ. */
export const MXCSR = {
  IE: 0x0001, DE: 0x0002, ZE: 0x0004, OE: 0x0008, UE: 0x0010, PE: 0x0020,
  DAZ: 0x0040,
  IM: 0x0080, DM: 0x0100, ZM: 0x0200, OM: 0x0400, UM: 0x0800, PM: 0x1000,
  RC: 0x6000,
  FZ: 0x8000,
} as const;
export const MXCSR_RESET = 0x1f80;
