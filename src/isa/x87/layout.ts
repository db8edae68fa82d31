import { SLOT_BYTES } from './softfloat/format.ts';

/**
 * Where the FPU's state lies in the linear memory: byte offsets from a base that is a multiple of 16. All fields are
 * little-endian and 32 bits wide unless said otherwise.
 */
export const X87_LAYOUT = {
  /** FCW. */
  CONTROL: 0,
  /** FSW, with TOP in bits 11-13 as everywhere. */
  STATUS: 4,
  /** Bit n set: physical register n is not empty (the tag byte of FXSAVE). */
  VALID: 8,
  /** FOP: 11 bits. */
  OPCODE: 12,
  /** FIP, 64 bits, and FCS. */
  INSTRUCTION_POINTER: 16,
  CODE_SEGMENT: 32,
  /** FDP, 64 bits, and FDS. */
  DATA_POINTER: 24,
  DATA_SEGMENT: 36,
  /**
   * Physical registers 0-7 in slots of 16 bytes: significand, then sign and exponent. MMn is the significand of
   * slot n, whatever TOP is (SDM vol. 1 9.2.2).
   */
  REGISTERS: 64,
  /** Slots for intermediate values. */
  TEMPORARIES: 64 + 8 * SLOT_BYTES,
  /** 512 bytes: what is read from or written to the memory operand. */
  OPERAND: 64 + 12 * SLOT_BYTES,
} as const;
