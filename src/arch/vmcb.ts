/**
 * The virtual machine control block: byte offsets from its start and the bits in its fields
 * (APM vol. 2 appendix B; fields explained in chapter 15). One 4 KiB page, little-endian.
 */

export const VMCB_SIZE = 4096;
export const VMCB_SAVE_AREA = 0x400;

// biome-ignore format: table
/** Control area (APM vol. 2 table B-1). The number at the end of a line is the width in bits. */
export const VMCB = {
  INTERCEPT_CR:        0x000, // 32: reads 15:0, writes 31:16
  INTERCEPT_DR:        0x004, // 32: reads 15:0, writes 31:16
  INTERCEPT_EXCEPTION: 0x008, // 32: one bit per vector
  INTERCEPT_MISC1:     0x00c, // 32
  INTERCEPT_MISC2:     0x010, // 32
  INTERCEPT_MISC3:     0x014, // 32
  PAUSE_FILTER_THRESHOLD: 0x03c, // 16
  PAUSE_FILTER_COUNT:  0x03e, // 16
  IOPM_BASE_PA:        0x040, // 64
  MSRPM_BASE_PA:       0x048, // 64
  TSC_OFFSET:          0x050, // 64
  GUEST_ASID:          0x058, // 32
  TLB_CONTROL:         0x05c, // 8
  V_INTR:              0x060, // 32: see V_INTR
  V_INTR_VECTOR:       0x064, // 8
  INTERRUPT_STATE:     0x068, // 64: see INTERRUPT_STATE
  EXITCODE:            0x070, // 64
  EXITINFO1:           0x078, // 64
  EXITINFO2:           0x080, // 64
  EXITINTINFO:         0x088, // 64: format of EVENTINJ
  NESTED_CTL:          0x090, // 64
  AVIC_APIC_BAR:       0x098, // 64
  GHCB_GPA:            0x0a0, // 64
  EVENTINJ:            0x0a8, // 64
  N_CR3:               0x0b0, // 64
  VIRT_EXT:            0x0b8, // 64
  CLEAN_BITS:          0x0c0, // 32
  NRIP:                0x0c8, // 64
  INSTRUCTION_COUNT:   0x0d0, // 8
  INSTRUCTION_BYTES:   0x0d1, // 15 bytes
  AVIC_BACKING_PAGE:   0x0e0, // 64
  AVIC_LOGICAL_TABLE:  0x0f0, // 64
  AVIC_PHYSICAL_TABLE: 0x0f8, // 64
  VMSA_POINTER:        0x108, // 64
} as const;

// biome-ignore format: table
/** State-save area (APM vol. 2 table B-2), offsets from the start of the VMCB. 64 bits each unless noted. */
export const VMCB_SAVE = {
  ES:    0x400, // segment registers: 16 bytes each, see VMCB_SEGMENT
  CS:    0x410,
  SS:    0x420,
  DS:    0x430,
  FS:    0x440,
  GS:    0x450,
  GDTR:  0x460,
  LDTR:  0x470,
  IDTR:  0x480,
  TR:    0x490,
  CPL:   0x4cb, // 8
  EFER:  0x4d0,
  CR4:   0x548,
  CR3:   0x550,
  CR0:   0x558,
  DR7:   0x560,
  DR6:   0x568,
  RFLAGS: 0x570,
  RIP:   0x578,
  RSP:   0x5d8,
  S_CET: 0x5e0,
  SSP:   0x5e8,
  ISST_ADDR: 0x5f0,
  RAX:   0x5f8,
  STAR:  0x600,
  LSTAR: 0x608,
  CSTAR: 0x610,
  SFMASK: 0x618,
  KERNEL_GS_BASE: 0x620,
  SYSENTER_CS:  0x628,
  SYSENTER_ESP: 0x630,
  SYSENTER_EIP: 0x638,
  CR2:   0x640,
  G_PAT: 0x668,
  DBGCTL: 0x670,
  BR_FROM: 0x678,
  BR_TO: 0x680,
  LASTEXCP_FROM: 0x688,
  LASTEXCP_TO: 0x690,
  SPEC_CTRL: 0x6e0,
} as const;

/**
 * One segment register in the save area (APM vol. 2 table B-2): offsets from its start. ATTRIBUTES holds the
 * 12-bit form (see descriptors.ts), LIMIT the byte limit. GDTR and IDTR use BASE and the low 16 bits of LIMIT
 * only.
 */
export const VMCB_SEGMENT = { SELECTOR: 0, ATTRIBUTES: 2, LIMIT: 4, BASE: 8 } as const;
/** Segment registers of the save area in encoding order (ES CS SS DS FS GS). */
export const VMCB_SEGMENT_ORDER = [0x400, 0x410, 0x420, 0x430, 0x440, 0x450] as const;

// biome-ignore format: table
/** Intercept word 3, offset 00Ch (APM vol. 2 15.9 to 15.14). */
export const INTERCEPT1 = {
  INTR:         0x0000_0001,
  NMI:          0x0000_0002,
  SMI:          0x0000_0004,
  INIT:         0x0000_0008,
  VINTR:        0x0000_0010,
  /** Writes of CR0 that change bits other than TS or MP. */
  CR0_SEL_WRITE: 0x0000_0020,
  IDTR_READ:    0x0000_0040,
  GDTR_READ:    0x0000_0080,
  LDTR_READ:    0x0000_0100,
  TR_READ:      0x0000_0200,
  IDTR_WRITE:   0x0000_0400,
  GDTR_WRITE:   0x0000_0800,
  LDTR_WRITE:   0x0000_1000,
  TR_WRITE:     0x0000_2000,
  RDTSC:        0x0000_4000,
  RDPMC:        0x0000_8000,
  PUSHF:        0x0001_0000,
  POPF:         0x0002_0000,
  CPUID:        0x0004_0000,
  RSM:          0x0008_0000,
  IRET:         0x0010_0000,
  SWINT:        0x0020_0000,
  INVD:         0x0040_0000,
  PAUSE:        0x0080_0000,
  HLT:          0x0100_0000,
  INVLPG:       0x0200_0000,
  INVLPGA:      0x0400_0000,
  IOIO:         0x0800_0000,
  MSR:          0x1000_0000,
  TASK_SWITCH:  0x2000_0000,
  FERR_FREEZE:  0x4000_0000,
  SHUTDOWN:     0x8000_0000,
} as const;

// biome-ignore format: table
/** Intercept word 4, offset 010h. Bits 31:16 trap after a write of CR15 to CR0. */
export const INTERCEPT2 = {
  VMRUN:        0x0000_0001,
  VMMCALL:      0x0000_0002,
  VMLOAD:       0x0000_0004,
  VMSAVE:       0x0000_0008,
  STGI:         0x0000_0010,
  CLGI:         0x0000_0020,
  SKINIT:       0x0000_0040,
  RDTSCP:       0x0000_0080,
  ICEBP:        0x0000_0100,
  WBINVD:       0x0000_0200,
  MONITOR:      0x0000_0400,
  MWAIT:        0x0000_0800,
  /** MWAIT only if the monitor hardware is armed. */
  MWAIT_ARMED:  0x0000_1000,
  XSETBV:       0x0000_2000,
  RDPRU:        0x0000_4000,
  EFER_WRITE_TRAP: 0x0000_8000,
  CR0_WRITE_TRAP:  0x0001_0000,
  CR4_WRITE_TRAP:  0x0010_0000,
  CR8_WRITE_TRAP:  0x0100_0000,
} as const;

// biome-ignore format: table
/** Intercept word 5, offset 014h. */
export const INTERCEPT3 = {
  INVLPGB:         0x0000_0001,
  INVLPGB_ILLEGAL: 0x0000_0002,
  INVPCID:         0x0000_0004,
  MCOMMIT:         0x0000_0008,
  TLBSYNC:         0x0000_0010,
  BUSLOCK:         0x0000_0020,
  IDLE_HLT:        0x0000_0040,
} as const;

/** TLB_CONTROL (APM vol. 2 15.16.1); the last two need CPUID Fn8000_000A_EDX[FlushByAsid]. */
export const TLB_CONTROL = { NOTHING: 0, FLUSH_ALL: 1, FLUSH_ASID: 3, FLUSH_ASID_NON_GLOBAL: 7 } as const;

// biome-ignore format: table
/** Virtual interrupt control at 060h (APM vol. 2 15.21.1, 15.21.4, 15.33.2). */
export const V_INTR = {
  TPR:             0x0000_00ff,
  IRQ:             0x0000_0100,
  GIF:             0x0000_0200,
  NMI:             0x0000_0800,
  NMI_MASK:        0x0000_1000,
  PRIORITY:        0x000f_0000,
  IGNORE_TPR:      0x0010_0000,
  INTR_MASKING:    0x0100_0000,
  GIF_ENABLE:      0x0200_0000,
  NMI_ENABLE:      0x0400_0000,
  X2AVIC_ENABLE:   0x4000_0000,
  AVIC_ENABLE:     0x8000_0000,
} as const;
export const V_INTR_PRIORITY_SHIFT = 16;

/** Interrupt state at 068h: the shadow of STI and MOV SS; RFLAGS.IF of an SEV-ES guest. */
export const INTERRUPT_STATE = { SHADOW: 0x1, GUEST_INTERRUPT_MASK: 0x2 } as const;

/** Nested control at 090h, VIRT_EXT at 0B8h. */
export const NESTED_CTL = { NP_ENABLE: 0x1, SEV: 0x2, SEV_ES: 0x4, GMET: 0x8 } as const;
export const VIRT_EXT = { LBR: 0x1, VMLOAD_VMSAVE: 0x2 } as const;

// biome-ignore format: table
/** EVENTINJ and EXITINTINFO, low half; the high half is the error code (APM vol. 2 15.20, 15.7.2). */
export const EVENT = {
  VECTOR:     0x0000_00ff,
  TYPE:       0x0000_0700,
  /** Error code valid (bit 11). */
  EV:         0x0000_0800,
  VALID:      0x8000_0000,
} as const;
/** Event types in place (bits 10:8). 1 and 5 to 7 are reserved: VMRUN with them fails. */
export const EVENT_TYPE = { INTR: 0x000, NMI: 0x200, EXCEPTION: 0x300, SOFTWARE: 0x400 } as const;
export type EventType = (typeof EVENT_TYPE)[keyof typeof EVENT_TYPE];

/**
 * Vectors that EVENTINJ may name as exceptions, one bit each: 0, 1, 3 to 8, 10 to 14, 16 to 19, and #SX, which came with SVM
 * (APM vol. 2 15.20, table 8-1). No processor here has the others.
 */
const EXCEPTION_VECTORS = 0x400f_7dfb;
export const isInjectableException = (vector: number): boolean =>
  vector < 32 && ((EXCEPTION_VECTORS >>> vector) & 1) !== 0;

/** Low half of EVENTINJ for an event, unsigned; with `hasErrorCode` the error code goes to the high half. */
export const eventInjection = (type: EventType, vector: number, hasErrorCode: boolean): number =>
  (EVENT.VALID | (hasErrorCode ? EVENT.EV : 0) | type | (vector & EVENT.VECTOR)) >>> 0;

// biome-ignore format: table
/** VMCB clean bits (APM vol. 2 15.15.3): one means unchanged since the last VMRUN of this VMCB here. */
export const CLEAN = {
  INTERCEPTS: 0x0001, IOPM: 0x0002, ASID: 0x0004, TPR:  0x0008,
  NP:         0x0010, CRX:  0x0020, DRX:  0x0040, DT:   0x0080,
  SEG:        0x0100, CR2:  0x0200, LBR:  0x0400, AVIC: 0x0800,
  CET:        0x1000,
} as const;

// biome-ignore format: table
/** EXITINFO1 of VMEXIT_IOIO (APM vol. 2 15.10.2); EXITINFO2 is the rIP after the instruction. */
export const IOIO = {
  IN:     0x0000_0001,
  STRING: 0x0000_0004,
  REP:    0x0000_0008,
  SZ8:    0x0000_0010,
  SZ16:   0x0000_0020,
  SZ32:   0x0000_0040,
  A16:    0x0000_0080,
  A32:    0x0000_0100,
  A64:    0x0000_0200,
  SEG:    0x0000_1c00,
} as const;
export const IOIO_SEG_SHIFT = 10;
export const IOIO_PORT_SHIFT = 16;

/** EXITINFO1 of MOV CRx and DRx exits with decode assists: bit 63 and bits 3:0 (APM vol. 2 15.8.1). */
export const CR_ACCESS = { GPR: 0x0000_000f, HI_MOV: 0x8000_0000 } as const;

/** EXITINFO2 of VMEXIT_TASK_SWITCH, high half: bits 36, 38, 44 and 48 (APM vol. 2 15.14.1). */
export const TASK_SWITCH_HI = { IRET: 0x10, FAR_JUMP: 0x40, ERROR_CODE: 0x1000, RF: 0x1_0000 } as const;

/**
 * EXITINFO1 of VMEXIT_NPF (APM vol. 2 15.25.6): the low half is a page-fault error code (PFERR), U always set; of the high
 * half one of these. EXITINFO2 is the guest-physical address.
 */
export const NPF = {
  /** Bit 32: the guest's final physical address has no translation. */
  FINAL_HI: 0x1,
  /** Bit 33: an entry of the guest's page tables has none. */
  TABLE_HI: 0x2,
} as const;

/** Sizes of the permission maps in bytes (APM vol. 2 15.10.1, 15.11). Both are 4 KiB aligned. */
export const IOPM_SIZE = 12 * 1024;
export const MSRPM_SIZE = 8 * 1024;

/**
 * Bit offset in the MSR permission map of an MSR's read bit; its write bit follows (APM vol. 2 15.11).
 * -1 for an MSR that no range covers: with MSR_PROT set, access to it always exits.
 */
export function msrpmBit(msr: number): number {
  const number = msr >>> 0;
  if (number <= 0x1fff) return 2 * number;
  if (number >= 0xc000_0000 && number <= 0xc000_1fff) return 0x4000 + 2 * (number - 0xc000_0000);
  if (number >= 0xc001_0000 && number <= 0xc001_1fff) return 0x8000 + 2 * (number - 0xc001_0000);
  return -1;
}
