/** 82093AA I/O APIC (Intel 82093AA data sheet, order number 290566): 24 inputs, a message for each. */
import { PAGE_SIZE } from '../../arch/address.ts';
import type { MmioBus } from '../mmio-bus.ts';
import type { AccessSize, InterruptLine, MmioDevice } from '../ports.ts';
import { type ApicMessage, DELIVERY_MODE, isFixed } from './apic-messages.ts';

export const IO_APIC_BASE = 0xfec0_0000;
export const IO_APIC_INPUTS = 24;

/** Index register and data window in the page. */
const SELECT = 0x00;
const WINDOW = 0x10;

// biome-ignore format: table
/** Register indices; redirection entry n is at 10h + 2n (low half) and 11h + 2n. */
const REGISTER = { ID: 0x00, VERSION: 0x01, ARBITRATION: 0x02, REDIRECTION: 0x10 } as const;
/** Version 11h, highest redirection entry in bits 23:16. */
const VERSION = 0x11 | ((IO_APIC_INPUTS - 1) << 16);
const ID_BITS = 0x0f00_0000;

// biome-ignore format: table
/** Low half of a redirection entry; delivery status (bit 12) and remote IRR are read-only. */
const ENTRY = {
  VECTOR: 0x0_00ff, MODE_SHIFT: 8, LOGICAL: 0x0_0800,
  REMOTE_IRR: 0x0_4000, LEVEL: 0x0_8000, MASKED: 0x1_0000, WRITABLE: 0x1_afff,
} as const;
const DESTINATION_SHIFT = 24;

export class IoApic implements MmioDevice {
  readonly #send: (message: ApicMessage) => void;
  readonly #low = new Uint32Array(IO_APIC_INPUTS);
  readonly #high = new Uint32Array(IO_APIC_INPUTS);
  readonly #asserted: boolean[] = new Array(IO_APIC_INPUTS).fill(false);
  #select = 0;
  #id = 0;

  /** @param send puts a message on the APIC bus */
  constructor(send: (message: ApicMessage) => void) {
    this.#send = send;
    this.reset();
  }

  attach(mmio: MmioBus): void {
    mmio.map({ name: 'I/O APIC', base: IO_APIC_BASE, size: PAGE_SIZE, device: this });
  }

  reset(): void {
    this.#low.fill(ENTRY.MASKED);
    this.#high.fill(0);
    this.#select = 0;
    this.#id = 0;
  }

  /**
   * Input 0..23. Lines carry "asserted", whatever their voltage, so the polarity bit of an entry changes nothing.
   */
  line(input: number): InterruptLine {
    return { set: (level) => this.#setInput(input, level) };
  }

  /** EOI message of a local APIC: level-triggered entries with this vector may interrupt again. */
  endOfInterrupt(vector: number): void {
    for (let input = 0; input < IO_APIC_INPUTS; input++) {
      const low = this.#low[input];
      if ((low & ENTRY.LEVEL) === 0 || (low & ENTRY.VECTOR) !== vector) continue;
      this.#low[input] &= ~ENTRY.REMOTE_IRR;
      this.#serveLevel(input);
    }
  }

  readMmio(offset: number, size: AccessSize): number {
    if (size !== 4) return 0;
    if (offset === SELECT) return this.#select;
    return offset === WINDOW ? this.#read(this.#select) : 0;
  }

  writeMmio(offset: number, size: AccessSize, value: number): void {
    if (offset === SELECT) this.#select = value & 0xff;
    else if (offset === WINDOW && size === 4) this.#write(this.#select, value);
  }

  #read(register: number): number {
    const input = (register - REGISTER.REDIRECTION) >> 1;
    if (input >= 0 && input < IO_APIC_INPUTS) return (register & 1 ? this.#high : this.#low)[input];
    switch (register) {
      case REGISTER.ID:
      case REGISTER.ARBITRATION:
        return this.#id;
      case REGISTER.VERSION:
        return VERSION;
      default:
        return 0;
    }
  }

  #write(register: number, value: number): void {
    const input = (register - REGISTER.REDIRECTION) >> 1;
    if (register === REGISTER.ID) this.#id = value & ID_BITS;
    if (input < 0 || input >= IO_APIC_INPUTS) return;
    if (register & 1) this.#high[input] = value & (0xff << DESTINATION_SHIFT);
    else this.#writeLow(input, value);
  }

  /** An entry that becomes edge triggered loses its remote IRR, by which software clears one that hangs. */
  #writeLow(input: number, value: number): void {
    const remoteIrr = value & ENTRY.LEVEL ? this.#low[input] & ENTRY.REMOTE_IRR : 0;
    this.#low[input] = (value & ENTRY.WRITABLE) | remoteIrr;
    this.#serveLevel(input);
  }

  #setInput(input: number, level: boolean): void {
    const rises = level && !this.#asserted[input];
    this.#asserted[input] = level;
    const low = this.#low[input];
    if (endsWithEoi(low)) this.#serveLevel(input);
    // Edges at a masked entry are lost (data sheet, "Interrupt Mask").
    else if (rises && (low & ENTRY.MASKED) === 0) this.#deliver(input, false);
  }

  /** Sends an asserted level once; remote IRR holds it until EOI. */
  #serveLevel(input: number): void {
    const low = this.#low[input];
    const ready = endsWithEoi(low) && (low & (ENTRY.MASKED | ENTRY.REMOTE_IRR)) === 0;
    if (!ready || !this.#asserted[input]) return;
    this.#low[input] |= ENTRY.REMOTE_IRR;
    this.#deliver(input, true);
  }

  #deliver(input: number, levelTriggered: boolean): void {
    const low = this.#low[input];
    const mode = (low >> ENTRY.MODE_SHIFT) & 7;
    if (mode === RESERVED_MODE || mode === DELIVERY_MODE.STARTUP) return;
    this.#send({
      vector: low & ENTRY.VECTOR,
      mode,
      levelTriggered,
      destination: this.#high[input] >>> DESTINATION_SHIFT,
      logical: (low & ENTRY.LOGICAL) !== 0,
    });
  }
}

const RESERVED_MODE = 3;

/** Only fixed and lowest-priority interrupts can be level triggered; the others are edges whatever the entry says. */
const endsWithEoi = (low: number): boolean =>
  (low & ENTRY.LEVEL) !== 0 && isFixed((low >> ENTRY.MODE_SHIFT) & 7);
