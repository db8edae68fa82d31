/**
 * Virtual time. One tick is one nanosecond and one TSC count; it passes with retired instructions and, while the
 * processor halts, jumps to the next deadline. Nothing in the machine knows any other clock.
 */
export interface Timer {
  /** Tick at which it fires; Infinity while unarmed. */
  readonly deadline: number;
}

class Entry implements Timer {
  deadline = Number.POSITIVE_INFINITY;
  readonly fire: () => void;
  constructor(fire: () => void) {
    this.fire = fire;
  }
}

export const TICKS_PER_SECOND = 1_000_000_000;

export class Clock {
  readonly #timers: Entry[] = [];
  readonly #now: () => number;
  readonly #rearmed: () => void;
  #next = Number.POSITIVE_INFINITY;

  /**
   * @param now     reads the current tick (the processor's retired instructions plus halted time)
   * @param rearmed called when the earliest deadline may have moved, so that the processor shortens its run
   */
  constructor(now: () => number, rearmed: () => void = () => {}) {
    this.#now = now;
    this.#rearmed = rearmed;
  }

  /** Current tick. */
  get now(): number {
    return this.#now();
  }

  /** Earliest armed deadline, Infinity if none. */
  get nextDeadline(): number {
    return this.#next;
  }

  /** Makes an unarmed timer; `fire` runs once per arming, from `advance`, and may arm it again. */
  timer(fire: () => void): Timer {
    const entry = new Entry(fire);
    this.#timers.push(entry);
    return entry;
  }

  /** Arms (or re-arms) a timer for an absolute tick; Infinity disarms it. */
  arm(timer: Timer, deadline: number): void {
    (timer as Entry).deadline = deadline;
    this.#recompute();
    this.#rearmed();
  }

  /** Fires what is due at the current tick, earliest first; equal deadlines fire in order of creation. */
  advance(): void {
    while (this.#next <= this.#now()) {
      let due: Entry | undefined;
      for (const timer of this.#timers) {
        if (timer.deadline <= this.#now() && (due === undefined || timer.deadline < due.deadline))
          due = timer;
      }
      if (due === undefined) return;
      due.deadline = Number.POSITIVE_INFINITY;
      this.#recompute();
      due.fire();
    }
  }

  #recompute(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const timer of this.#timers) if (timer.deadline < next) next = timer.deadline;
    this.#next = next;
  }
}
