/**
 * The A20 gate: address bit 20 passes while either the keyboard controller's output port or port 92h lets it
 * (Intel 82371SB data sheet, A20M#).
 */
export class A20Gate {
  readonly #changed: (enabled: boolean) => void;
  #keyboard = true;
  #fast = false;

  /** @param changed called with the new state whenever it changes; it starts enabled */
  constructor(changed: (enabled: boolean) => void) {
    this.#changed = changed;
  }

  get enabled(): boolean {
    return this.#keyboard || this.#fast;
  }

  /** Bit 1 of the keyboard controller's output port. */
  get keyboard(): boolean {
    return this.#keyboard;
  }

  set keyboard(level: boolean) {
    this.#set(level, this.#fast);
  }

  /** Bit 1 of port 92h. */
  get fast(): boolean {
    return this.#fast;
  }

  set fast(level: boolean) {
    this.#set(this.#keyboard, level);
  }

  reset(): void {
    this.#set(true, false);
  }

  #set(keyboard: boolean, fast: boolean): void {
    const before = this.enabled;
    this.#keyboard = keyboard;
    this.#fast = fast;
    if (this.enabled !== before) this.#changed(this.enabled);
  }
}
