/** What travels between I/O APIC and local APICs (SDM vol. 3A 10.6.1, 10.11). */

// biome-ignore format: table
export const DELIVERY_MODE = {
  FIXED: 0, LOWEST_PRIORITY: 1, SMI: 2, NMI: 4, INIT: 5, STARTUP: 6, EXTINT: 7,
} as const;

export interface ApicMessage {
  readonly vector: number;
  /** One of DELIVERY_MODE. */
  readonly mode: number;
  readonly levelTriggered: boolean;
  /** 8-bit APIC ID, or with `logical` a message destination address (SDM vol. 3A 10.6.2). */
  readonly destination: number;
  readonly logical: boolean;
}

/** Physical destination and cluster of everybody. */
const BROADCAST = 0xff;

/** Vectors below are reserved for exceptions (SDM vol. 3A 10.5.2). */
export const LOWEST_VECTOR = 16;

/** ICR fields that say where a message goes (SDM vol. 3A figure 10-12). */
// biome-ignore format: table
const ICR = {
  VECTOR: 0x0_00ff, MODE_SHIFT: 8, LOGICAL: 0x0_0800, LEVEL_ASSERT: 0x0_4000, SHORTHAND_SHIFT: 18, WRITABLE: 0xc_cfff,
} as const;
export const ICR_LOW_WRITABLE = ICR.WRITABLE;
export const SHORTHAND = { NONE: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const;

export interface IcrCommand {
  readonly message: ApicMessage;
  /** One of SHORTHAND. */
  readonly shorthand: number;
  /** "INIT level de-assert", which only synchronises arbitration IDs. */
  readonly isDeassert: boolean;
}

/** What an interrupt command register says. The trigger mode matters to INIT alone. */
export function decodeIcr(low: number, high: number): IcrCommand {
  const mode = (low >> ICR.MODE_SHIFT) & 7;
  return {
    message: {
      vector: low & ICR.VECTOR,
      mode,
      levelTriggered: false,
      destination: high >>> 24,
      logical: (low & ICR.LOGICAL) !== 0,
    },
    shorthand: (low >>> ICR.SHORTHAND_SHIFT) & 3,
    isDeassert: mode === DELIVERY_MODE.INIT && (low & ICR.LEVEL_ASSERT) === 0,
  };
}

/**
 * Whether a message is for the APIC with this 8-bit ID and these LDR and DFR: physical by ID, logical by the flat or
 * the cluster model (SDM vol. 3A 10.6.2).
 */
export function isDestination(
  { destination, logical }: ApicMessage,
  id: number,
  ldr: number,
  dfr: number,
): boolean {
  if (destination === BROADCAST) return true;
  if (!logical) return destination === id;
  const own = ldr >>> 24;
  if (dfr >>> 28 === FLAT_MODEL) return (own & destination) !== 0;
  return own >> 4 === destination >> 4 && (own & destination & 0xf) !== 0;
}

const FLAT_MODEL = 0xf;

export const isFixed = (mode: number): boolean =>
  mode === DELIVERY_MODE.FIXED || mode === DELIVERY_MODE.LOWEST_PRIORITY;
