/** Registers of the 16550A, named as in the data sheet (National Semiconductor PC16550D). */

/** Offsets from the first port; 0 and 1 lead to the divisor latch while LCR.DLAB is set. */
export const UART = { DATA: 0, IER: 1, IIR_FCR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCR: 7 } as const;

// biome-ignore format: table
export const IER = { RECEIVED: 0x01, TRANSMIT_EMPTY: 0x02, LINE_STATUS: 0x04, MODEM_STATUS: 0x08 } as const;

// biome-ignore format: table
/** Interrupt identification, highest priority first. */
export const IIR = {
  LINE_STATUS: 0x06, RECEIVED: 0x04, TIMEOUT: 0x0c, TRANSMIT_EMPTY: 0x02, MODEM_STATUS: 0x00,
  NONE: 0x01, FIFOS_ENABLED: 0xc0,
} as const;

// biome-ignore format: table
export const FCR = { ENABLE: 0x01, CLEAR_RECEIVER: 0x02, TRIGGER_SHIFT: 6 } as const;

/** Received bytes that raise the interrupt, by the top bits of the FCR. */
export const TRIGGER_LEVELS = [1, 4, 8, 14] as const;

// biome-ignore format: table
export const LCR = { WORD_LENGTH: 0x03, STOP_BITS: 0x04, PARITY: 0x08, BREAK: 0x40, DIVISOR_LATCH: 0x80 } as const;

// biome-ignore format: table
export const MCR = { DTR: 0x01, RTS: 0x02, OUT1: 0x04, OUT2: 0x08, LOOP: 0x10 } as const;

// biome-ignore format: table
export const LSR = {
  DATA_READY: 0x01, OVERRUN: 0x02, PARITY: 0x04, FRAMING: 0x08, BREAK: 0x10,
  TRANSMIT_EMPTY: 0x20, TRANSMITTER_IDLE: 0x40, FIFO_ERROR: 0x80,
} as const;

// biome-ignore format: table
export const MSR = {
  DELTA_CTS: 0x01, DELTA_DSR: 0x02, TRAILING_RI: 0x04, DELTA_DCD: 0x08,
  CTS: 0x10, DSR: 0x20, RI: 0x40, DCD: 0x80,
} as const;
