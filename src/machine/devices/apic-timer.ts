/** The local APIC's timer (SDM vol. 3A 10.5.4): counts down from the initial count at the divided bus clock. */
import type { Clock, Timer } from '../clock.ts';

/** A bus clock of 100 MHz: whole ticks, so that the timer keeps step with the TSC exactly. */
export const TICKS_PER_BUS_CLOCK = 10;

const NEVER = Number.POSITIVE_INFINITY;

export class ApicTimer {
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #expired: () => void;
  #initialCount = 0;
  #divideConfiguration = 0;
  #periodic = false;
  #masked = true;
  /** Tick at which the count reaches 0; NEVER while it rests there. */
  #end = NEVER;

  /** @param expired called each time the count reaches 0 while the timer is not masked */
  constructor(clock: Clock, expired: () => void) {
    this.#clock = clock;
    this.#expired = expired;
    this.#timer = clock.timer(() => this.#reachZero());
  }

  reset(): void {
    this.#initialCount = 0;
    this.#divideConfiguration = 0;
    this.#periodic = false;
    this.#masked = true;
    this.#end = NEVER;
    this.#follow();
  }

  get initialCount(): number {
    return this.#initialCount;
  }

  /** Starts the timer, or stops it with 0. */
  set initialCount(count: number) {
    this.#initialCount = count;
    this.#end = count === 0 ? NEVER : this.#clock.now + count * this.#unit;
    this.#follow();
  }

  get currentCount(): number {
    this.#catchUp();
    return this.#end === NEVER ? 0 : Math.ceil((this.#end - this.#clock.now) / this.#unit);
  }

  get divideConfiguration(): number {
    return this.#divideConfiguration;
  }

  /** Bits 3, 1 and 0 count; a running timer goes on from its current count at the new rate. */
  set divideConfiguration(value: number) {
    const count = this.currentCount;
    this.#divideConfiguration = value & 0x0b;
    if (this.#end !== NEVER) this.#end = this.#clock.now + count * this.#unit;
    this.#follow();
  }

  /** Mode and mask from the LVT entry. The count goes on under the mask. */
  setMode(periodic: boolean, masked: boolean): void {
    this.#catchUp();
    this.#periodic = periodic;
    this.#masked = masked;
    this.#follow();
  }

  /** Ticks per count. The divisor is 2 to the power of one more than the configuration, 1 for the highest. */
  get #unit(): number {
    const configuration = (this.#divideConfiguration & 3) | ((this.#divideConfiguration & 8) >> 1);
    return TICKS_PER_BUS_CLOCK << ((configuration + 1) & 7);
  }

  #reachZero(): void {
    this.#catchUp();
    this.#follow();
    this.#expired();
  }

  /** Moves past the ends that were reached: to the next one, or to rest. */
  #catchUp(): void {
    const late = this.#clock.now - this.#end;
    if (late < 0 || this.#end === NEVER) return;
    const period = this.#initialCount * this.#unit;
    this.#end = this.#periodic ? this.#end + period * (Math.floor(late / period) + 1) : NEVER;
  }

  #follow(): void {
    this.#clock.arm(this.#timer, this.#masked ? NEVER : this.#end);
  }
}
