import { type Clock, TICKS_PER_SECOND } from '../clock.ts';

/**
 * A crystal of a whole number of hertz, seen from the machine's clock. Exact: whole seconds and the rest are converted
 * apart, so that no product leaves the 53 bits of a double.
 */
export class Oscillator {
  readonly hertz: number;
  readonly #clock: Clock;

  /** @param hertz below 9 MHz, so that hertz times the ticks of a second stays exact */
  constructor(clock: Clock, hertz: number) {
    if (!Number.isSafeInteger(hertz * TICKS_PER_SECOND))
      throw new Error(`${hertz} Hz cannot be derived exactly.`);
    this.hertz = hertz;
    this.#clock = clock;
  }

  /** Whole cycles since tick 0. */
  get cycles(): number {
    const now = this.#clock.now;
    const seconds = Math.floor(now / TICKS_PER_SECOND);
    const rest = now - seconds * TICKS_PER_SECOND;
    return seconds * this.hertz + Math.floor((rest * this.hertz) / TICKS_PER_SECOND);
  }

  /** The first tick at which `cycles` have passed; Infinity for Infinity. */
  tickOf(cycles: number): number {
    if (cycles === Number.POSITIVE_INFINITY) return cycles;
    const seconds = Math.floor(cycles / this.hertz);
    const rest = cycles - seconds * this.hertz;
    return seconds * TICKS_PER_SECOND + Math.ceil((rest * TICKS_PER_SECOND) / this.hertz);
  }
}
