import { Clock } from '../../../src/machine/clock.ts';

/** A clock that tests move by hand; every deadline on the way fires at its own tick. */
export class ManualClock {
  #now = 0;
  readonly clock = new Clock(() => this.#now);

  get now(): number {
    return this.#now;
  }

  moveTo(tick: number): void {
    while (this.clock.nextDeadline <= tick) {
      this.#now = Math.max(this.#now, this.clock.nextDeadline);
      this.clock.advance();
    }
    this.#now = tick;
  }

  move(ticks: number): void {
    this.moveTo(this.#now + ticks);
  }

  /** Lets time pass without looking at deadlines, as a processor does that is late. */
  sleep(ticks: number): void {
    this.#now += ticks;
  }
}
