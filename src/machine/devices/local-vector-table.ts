/** The local vector table and the pins LINT0 and LINT1 behind it (SDM vol. 3A 10.5.1). */
import { DELIVERY_MODE } from './apic-messages.ts';
import { LVT, LVT_WRITABLE } from './local-apic-registers.ts';

/** Entries by their index from LVT_TIMER. */
export const ENTRY = { TIMER: 0, THERMAL: 1, PERF: 2, LINT0: 3, LINT1: 4, ERROR: 5 } as const;
type LintEntry = typeof ENTRY.LINT0 | typeof ENTRY.LINT1;

export class LocalVectorTable {
  readonly #accept: (mode: number, vector: number, levelTriggered: boolean) => void;
  readonly #entries = new Uint32Array(LVT_WRITABLE.length);
  readonly #asserted = [false, false];

  /** @param accept takes the interrupt of an entry that is not masked; `mode` is one of DELIVERY_MODE */
  constructor(accept: (mode: number, vector: number, levelTriggered: boolean) => void) {
    this.#accept = accept;
    this.reset();
  }

  reset(): void {
    this.#entries.fill(LVT.MASKED);
  }

  read(entry: number): number {
    return this.#entries[entry];
  }

  /** Writes what is writable of an entry; with `keepMasked` the mask bit stays set. */
  write(entry: number, value: number, keepMasked: boolean): void {
    const remoteIrr = value & LVT.LEVEL ? this.#entries[entry] & LVT.REMOTE_IRR : 0;
    this.#entries[entry] = (value & LVT_WRITABLE[entry]) | remoteIrr | (keepMasked ? LVT.MASKED : 0);
    if (entry === ENTRY.LINT0 || entry === ENTRY.LINT1) this.#serveLevel(entry);
  }

  maskAll(): void {
    for (let entry = 0; entry < this.#entries.length; entry++) this.#entries[entry] |= LVT.MASKED;
  }

  isMasked(entry: number): boolean {
    return (this.#entries[entry] & LVT.MASKED) !== 0;
  }

  /** Level of LINT0 or LINT1. */
  isAsserted(pin: 0 | 1): boolean {
    return this.#asserted[pin];
  }

  /** LINT0 is asserted and passes the 8259's requests on. */
  get extIntPending(): boolean {
    return (
      this.#asserted[0] && !this.isMasked(ENTRY.LINT0) && this.#modeOf(ENTRY.LINT0) === DELIVERY_MODE.EXTINT
    );
  }

  /**
   * Drives LINT0 or LINT1; with `deliver` false only the level is remembered.
   * The polarity bit changes nothing: lines here carry "asserted", whatever their voltage.
   */
  setLint(pin: 0 | 1, level: boolean, deliver: boolean): void {
    const rises = level && !this.#asserted[pin];
    this.#asserted[pin] = level;
    if (!deliver) return;
    const entry = pin === 0 ? ENTRY.LINT0 : ENTRY.LINT1;
    const mode = this.#modeOf(entry);
    if (mode === DELIVERY_MODE.FIXED && this.#entries[entry] & LVT.LEVEL) this.#serveLevel(entry);
    else if (rises && mode !== DELIVERY_MODE.EXTINT) this.deliver(entry);
  }

  /** An edge from the source of an entry. */
  deliver(entry: number): void {
    if (!this.isMasked(entry)) this.#accept(this.#modeOf(entry), this.#entries[entry] & LVT.VECTOR, false);
  }

  /** A level-triggered vector ended: a pin that is still asserted interrupts again. */
  end(vector: number): void {
    for (const entry of [ENTRY.LINT0, ENTRY.LINT1] as const) {
      if ((this.#entries[entry] & LVT.VECTOR) !== vector) continue;
      this.#entries[entry] &= ~LVT.REMOTE_IRR;
      this.#serveLevel(entry);
    }
  }

  #serveLevel(entry: LintEntry): void {
    const value = this.#entries[entry];
    const ready = (value & (LVT.LEVEL | LVT.MASKED | LVT.REMOTE_IRR)) === LVT.LEVEL;
    if (!ready || !this.#asserted[entry - ENTRY.LINT0] || this.#modeOf(entry) !== DELIVERY_MODE.FIXED) return;
    this.#entries[entry] |= LVT.REMOTE_IRR;
    this.#accept(DELIVERY_MODE.FIXED, value & LVT.VECTOR, true);
  }

  #modeOf(entry: number): number {
    return (this.#entries[entry] >> LVT.MODE_SHIFT) & 7;
  }
}
