/** Registers of the local APIC (SDM vol. 3A table 10-1): offsets in its page, and their bits. */

// biome-ignore format: table
export const APIC = {
  ID:            0x020,
  VERSION:       0x030,
  TPR:           0x080,
  APR:           0x090,
  PPR:           0x0a0,
  EOI:           0x0b0,
  RRD:           0x0c0,
  LDR:           0x0d0,
  DFR:           0x0e0,
  SVR:           0x0f0,
  ISR:           0x100, // eight registers, 10h apart, as the next two
  TMR:           0x180,
  IRR:           0x200,
  ESR:           0x280,
  ICR_LOW:       0x300,
  ICR_HIGH:      0x310,
  LVT_TIMER:     0x320,
  LVT_THERMAL:   0x330,
  LVT_PERF:      0x340,
  LVT_LINT0:     0x350,
  LVT_LINT1:     0x360,
  LVT_ERROR:     0x370,
  INITIAL_COUNT: 0x380,
  CURRENT_COUNT: 0x390,
  DIVIDE:        0x3e0,
} as const;

export const SVR = { VECTOR: 0x0ff, ENABLE: 0x100, WRITABLE: 0x3ff } as const;

// biome-ignore format: table
/** Local vector table entry (figure 10-8). */
export const LVT = {
  VECTOR: 0x0_00ff, MODE_SHIFT: 8, REMOTE_IRR: 0x0_4000, LEVEL: 0x0_8000, MASKED: 0x1_0000, PERIODIC: 0x2_0000,
} as const;

/** Entry by entry from LVT_TIMER: what software may write. */
// biome-ignore format: table
export const LVT_WRITABLE: readonly number[] = [
  0x3_00ff, // timer: vector, mask, periodic
  0x1_07ff, // thermal: vector, delivery mode, mask
  0x1_07ff, // performance counters
  0x1_a7ff, // LINT0: also polarity and trigger mode
  0x1_a7ff, // LINT1
  0x1_00ff, // error: vector, mask
];

/** Error status register (figure 10-9). */
export const ESR = {
  SEND_ILLEGAL_VECTOR: 0x20,
  RECEIVE_ILLEGAL_VECTOR: 0x40,
  ILLEGAL_REGISTER: 0x80,
} as const;
