/**
 * Where everything lives in the processor's one WebAssembly.Memory. Byte offsets; little-endian; 64-bit slots, so
 * that long mode needs no other layout.
 */

/** Eight bytes that are always zero: the base or index register of an address that has none. */
export const ZERO_SLOT = 0x08;
/** Sixteen general registers, eight bytes each, in encoding order. */
export const REGISTERS = 0x40;

/**
 * Arithmetic flags, kept as what they derive from: ZF is `result == 0`; SF the sign of `result ^ aux`; PF the parity
 * of the low byte of `result ^ aux >> 8`; AF bit 4 of aux; CF bit 63 of carry; OF bits 63 and 62 of carry differ.
 */
export const FLAG_RESULT = 0xc0;
export const FLAG_CARRY = 0xc8;
export const FLAG_AUX = 0xd0;
/** All other bits of EFLAGS. */
export const EFLAGS_REST = 0xd8;

/** EIP of the next block, current only between blocks; within one, it derives from the record. */
export const EIP = 0xe0;
/** EIP minus page offset of the running block: EIP of a record is this plus the record's offset. */
export const EIP_BASE = 0xe8;
/** Instructions left in this slice, less those of the running block. */
export const BUDGET = 0xec;
/** Not zero after a slow path delivered an exception: the instruction must end without further effect. */
export const FAULT = 0xf0;
/** What the low twelve bits of a matching entry of the fast TLB hold. */
export const TLB_TAG = 0xf4;
/** What a matching entry of the jump cache holds besides EIP; -1 matches none. */
export const CODE_CONTEXT = 0xf8;
/** 0xffff or 0xffffffff, by SS.B. */
export const STACK_MASK = 0xfc;

/** Segment registers in encoding order, then LDTR and TR; `SEGMENT_SIZE` bytes each. */
export const SEGMENTS = 0x100;
export const SEGMENT_SIZE = 64;
// biome-ignore format: table
export const SEGMENT = {
  BASE: 0, LIMIT: 8, ATTRIBUTES: 12, SELECTOR: 14,
  /** First valid offset; then how many bytes less one may be read and written from there (i64; -1: none). */
  LOW: 16, READ_SPAN: 24, WRITE_SPAN: 32,
} as const;
// biome-ignore format: table
export const ES = 0, CS = 1, SS = 2, DS = 3, FS = 4, GS = 5, LDTR = 6, TR = 7;
export const segmentAddress = (segment: number): number => SEGMENTS + segment * SEGMENT_SIZE;

/** System registers; only TypeScript reads them. */
// biome-ignore format: table
export const SYSTEM = {
  CR0: 0x300, CR2: 0x308, CR3: 0x310, CR4: 0x318, CR8: 0x320,
  GDT_BASE: 0x328, GDT_LIMIT: 0x330, IDT_BASE: 0x338, IDT_LIMIT: 0x340,
  DR0: 0x348, DR6: 0x368, DR7: 0x370, EFER: 0x378,
  PDPTES: 0x380,
} as const;

/** x87 state, 768 bytes; see `isa/x87/layout.ts`. */
export const FPU = 0x400;
/** Sixteen XMM registers of 16 bytes, then MXCSR. */
export const XMM = 0x800;
export const MXCSR = 0x900;
/** What CR0 and CR4 keep from SIMD instructions: `SIMD_STOP` bits. */
export const SIMD_ACCESS = 0x904;
/** Exception flags and result of the floating-point operation in progress. */
export const SIMD_FLAGS = 0x908;
export const SIMD_RESULT = 0x910;
/** Sixteen bytes on their way to or from a slow path, and a byte mask. */
export const SIMD_TRANSFER = 0x920;
export const SIMD_MASK = 0x930;
/** MMX has the bit of FSW.ES, so that one test finds a pending x87 exception as well. */
export const SIMD_STOP = { SSE: 0x01, MMX: 0x80 } as const;

/** Records of a block that was cut short to end a slice exactly, up to LEAVE_RECORD. */
export const SCRATCH_RECORDS = 0x1000;
/** A record whose handler looks the next block up; where an instruction goes that must leave its block. */
export const LEAVE_RECORD = 0x3000;

/** A block of one instruction that must not be kept, with room for the record behind it. */
export const UNCACHED_RECORD = 0x3100;

/** The fast TLB: what the common memory access is checked against. */
export const FAST_TLB = 0x10000;
export const FAST_TLB_ENTRIES = 4096;
export const FAST_TLB_ENTRY_SHIFT = 5;
// biome-ignore format: table
export const TLB_ENTRY = { READ_TAG: 0, WRITE_TAG: 8, ADDEND: 16 } as const;

/** EIP and context to block. */
export const JUMP_CACHE = 0x30000;
export const JUMP_CACHE_ENTRIES = 16384;
// biome-ignore format: table
export const JUMP_ENTRY = { EIP: 0, CONTEXT: 8, RECORD: 12, SIZE: 16 } as const;

/** Decoded instructions grow from here to the start of RAM. */
export const RECORD_ARENA = 0x80000;

/** A decoded instruction. */
export const RECORD_SIZE = 32;
// biome-ignore format: table
export const RECORD = {
  /** u16: slot of its handler */              HANDLER: 0,
  /** u8: bytes */                             LENGTH: 2,
  /** u8: instructions from here to the end of the block, this one included */ REMAINING: 3,
  /** u16: addresses of its register operands */ A: 4, B: 6,
  /** u16: addresses of base and index register */ BASE: 8, INDEX: 10,
  /** u8 */                                    SCALE: 12,
  /** u8: `RECORD_FLAG` */                     FLAGS: 13,
  /** u16: address of the segment register of its memory operand */ SEGMENT: 14,
  DISPLACEMENT: 16,
  /** i32: immediate, or the target of a relative branch less EIP_BASE */ IMMEDIATE: 20,
  /** i32: record of a branch's target, 0 unknown, -1 none; for others the mask of the effective address */ LINK: 24,
  /** u16: offset within its page */           OFFSET: 28,
  /** u16: index of its form */                FORM: 30,
} as const;
// biome-ignore format: table
export const RECORD_FLAG = {
  OPERAND16: 1, ADDRESS16: 2, MEMORY: 4, REP: 8, REPNE: 16, LOCK: 32, SECOND_IMMEDIATE: 64,
} as const;
