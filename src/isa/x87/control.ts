/** Bits of the x87 status word (SDM vol. 1 8.1.3). Softfloat functions return exception flags in these positions. */
export const FSW = {
  IE: 0x0001,
  DE: 0x0002,
  ZE: 0x0004,
  OE: 0x0008,
  UE: 0x0010,
  PE: 0x0020,
  SF: 0x0040,
  ES: 0x0080,
  C0: 0x0100,
  C1: 0x0200,
  C2: 0x0400,
  TOP: 0x3800,
  C3: 0x4000,
  B: 0x8000,
} as const;

export const FSW_TOP_SHIFT = 11;
/** The six exception flags, which the control word's masks mirror. */
export const FSW_EXCEPTIONS = 0x3f;

/** Fields of the x87 control word (SDM vol. 1 8.1.5). Bits 0-5 mask the exceptions of the same FSW bits. */
export const FCW = {
  MASKS: 0x003f,
  /** Always reads as one. */
  RESERVED_ONE: 0x0040,
  PC: 0x0300,
  RC: 0x0c00,
  /** Infinity control: kept, without meaning since the 387. */
  X: 0x1000,
} as const;

export const FCW_RC_SHIFT = 10;
/** Value after FNINIT. */
export const FCW_INITIAL = 0x037f;

/** Rounding control (SDM vol. 1 table 4-8). */
export const ROUND = { NEAREST: 0, DOWN: 1, UP: 2, ZERO: 3 } as const;

/** Precision control (SDM vol. 1 table 8-2). */
export const PRECISION = { SINGLE: 0x000, DOUBLE: 0x200, EXTENDED: 0x300 } as const;
