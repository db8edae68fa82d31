/**
 * One counter of an 8254 programmable interval timer (Intel 8254 data sheet, order number 231164), computed from the
 * time of its last load instead of counted down. Times are CLK pulses.
 */

/** Read/write field of the control word: which bytes of the count move through the port. */
const ACCESS = { LOW: 1, HIGH: 2, BOTH: 3 } as const;

const NEVER = Number.POSITIVE_INFINITY;

interface PendingCount {
  readonly count: number;
  /** CLK pulse that loads it. */
  readonly at: number;
}

export class PitCounter {
  /** The time up to which the counter has been carried. */
  #clk = 0;
  #gate: boolean;

  /** Bits 5:0 of the control word as written, which read-back returns. */
  #control = ACCESS.BOTH << 4;
  #mode = 0;
  #bcd = false;
  #access: number = ACCESS.BOTH;

  /** Count register: what the next load takes; 1..65536 (10000 in BCD). */
  #register = 0x1_0000;
  #lowByte = 0;
  #writeHighNext = false;
  #readHighNext = false;

  /** The count loaded last and the pulse that loaded it; NEVER while the counter waits for a count or a trigger. */
  #count = 0x1_0000;
  #loadedAt = NEVER;
  /** Pulses counted when the gate stopped the counter; undefined while it counts. */
  #stoppedAfter: number | undefined;
  /** A new count that waits for the end of the (half) period. */
  #pending: PendingCount | undefined;
  /** The pulse that takes the count register into the counter; the null count flag is set until then. */
  #nullUntil = NEVER;
  /** Level of OUT between a write or trigger and the load. */
  #outBeforeLoad = false;

  #latchedCount: number | undefined;
  #latchedStatus: number | undefined;

  /** @param gate level of the GATE pin at the start */
  constructor(gate: boolean) {
    this.#gate = gate;
  }

  /** Carries the counter to a later CLK pulse. */
  advance(clk: number): void {
    this.#clk = clk;
    while (this.#pending && this.#pending.at <= clk) this.#takePending(this.#pending);
  }

  get gate(): boolean {
    return this.#gate;
  }

  /** Drives GATE (data sheet, "Gate Pin Operations Summary"). */
  set gate(level: boolean) {
    if (level === this.#gate) return;
    this.#gate = level;
    if (this.#mode === 1 || this.#mode === 5) {
      if (level) this.#load(this.#clk + 1);
    } else if (!level) {
      if (this.#loadedAt !== NEVER) this.#stoppedAfter = Math.max(0, this.#clk - this.#loadedAt);
    } else if (this.#loadedAt !== NEVER) {
      if (this.#periodic) this.#load(this.#clk + 1);
      else this.#loadedAt = this.#clk - this.#stoppedAfter!;
      this.#stoppedAfter = undefined;
    }
  }

  /** A control word for this counter other than latch and read-back. */
  setControl(control: number): void {
    this.#control = control & 0x3f;
    this.#access = (control >> 4) & 3;
    // Modes 2 and 3 ignore the high bit of the field.
    const mode = (control >> 1) & 7;
    this.#mode = mode > 5 ? mode - 4 : mode;
    this.#bcd = (control & 1) !== 0;
    this.#writeHighNext = false;
    this.#readHighNext = false;
    this.#loadedAt = NEVER;
    this.#pending = undefined;
    this.#stoppedAfter = undefined;
    this.#nullUntil = NEVER;
    this.#outBeforeLoad = this.#mode !== 0;
    this.#latchedCount = undefined;
    this.#latchedStatus = undefined;
  }

  /** A byte of the count. */
  write(value: number): void {
    if (this.#access === ACCESS.BOTH && !this.#writeHighNext) {
      this.#lowByte = value;
      this.#writeHighNext = true;
      // Mode 0: the first byte stops the counter and OUT goes low at once.
      if (this.#mode === 0) this.#loadedAt = NEVER;
      this.#nullUntil = NEVER;
      return;
    }
    this.#writeHighNext = false;
    const raw =
      this.#access === ACCESS.LOW ? value : (value << 8) | (this.#access === ACCESS.BOTH ? this.#lowByte : 0);
    this.#register = (this.#bcd ? fromBcd(raw) : raw) || this.#modulus;
    this.#nullUntil = NEVER;
    if (this.#mode === 1 || this.#mode === 5) return;
    const counting = this.#loadedAt <= this.#clk && this.#stoppedAfter === undefined;
    if (this.#periodic && counting) {
      this.#nullUntil = this.#periodEnd;
      this.#pending = { count: this.#register, at: this.#nullUntil };
    } else {
      this.#load(this.#clk + 1);
    }
  }

  read(): number {
    if (this.#latchedStatus !== undefined) {
      const status = this.#latchedStatus;
      this.#latchedStatus = undefined;
      return status;
    }
    const count = this.#latchedCount ?? this.#encoded;
    const high = this.#access === ACCESS.HIGH || (this.#access === ACCESS.BOTH && this.#readHighNext);
    if (this.#access === ACCESS.BOTH) this.#readHighNext = !this.#readHighNext;
    if (!this.#readHighNext) this.#latchedCount = undefined;
    return (high ? count >> 8 : count) & 0xff;
  }

  /** Holds the count for the next read; a count that is still held stays. */
  latchCount(): void {
    this.#latchedCount ??= this.#encoded;
  }

  latchStatus(): void {
    this.#latchedStatus ??= (this.out ? 0x80 : 0) | (this.#clk < this.#nullUntil ? 0x40 : 0) | this.#control;
  }

  /** Level of the OUT pin. */
  get out(): boolean {
    const n = this.#count;
    const elapsed = this.#elapsed;
    if (elapsed < 0) return this.#outBeforeLoad;
    switch (this.#mode) {
      case 0:
      case 1:
        return elapsed >= n;
      case 2:
        return !this.#gate || n < 2 || elapsed % n !== n - 1;
      case 3:
        return !this.#gate || elapsed % n < highHalf(n);
      default:
        return elapsed !== n;
    }
  }

  /** CLK pulse of the next change of OUT, if nobody touches the counter. */
  get nextEdge(): number {
    const n = this.#count;
    if (this.#loadedAt === NEVER || this.#stoppedAfter !== undefined) return NEVER;
    const elapsed = this.#elapsed;
    switch (this.#mode) {
      case 0:
        return elapsed < n ? this.#loadedAt + n : NEVER;
      case 1:
        if (elapsed < 0) return this.#loadedAt;
        return elapsed < n ? this.#loadedAt + n : NEVER;
      case 2:
        return this.#nextOf(n - 1);
      case 3:
        return this.#nextOf(highHalf(n));
      default:
        if (elapsed < n) return this.#loadedAt + n;
        return elapsed === n ? this.#loadedAt + n + 1 : NEVER;
    }
  }

  /** Next of the two edges of a period: OUT falls at `fall` pulses into it and rises at its end. */
  #nextOf(fall: number): number {
    const n = this.#count;
    // A count of 1 is illegal in modes 2 and 3; OUT rests.
    if (n < 2) return NEVER;
    const elapsed = Math.max(0, this.#elapsed);
    const start = this.#loadedAt + elapsed - (elapsed % n);
    return elapsed % n < fall ? start + fall : start + n;
  }

  get #periodic(): boolean {
    return this.#mode === 2 || this.#mode === 3;
  }

  get #modulus(): number {
    return this.#bcd ? 10_000 : 0x1_0000;
  }

  /** Pulses since the load; negative before it. */
  get #elapsed(): number {
    if (this.#loadedAt === NEVER) return -1;
    return this.#stoppedAfter ?? this.#clk - this.#loadedAt;
  }

  #load(at: number): void {
    // A one-shot that is triggered again stays low.
    this.#outBeforeLoad = this.#mode === 1 ? this.out : this.#mode !== 0;
    this.#count = this.#register;
    this.#loadedAt = at;
    this.#nullUntil = at;
    this.#pending = undefined;
    if (!this.#gate && this.#mode !== 1 && this.#mode !== 5) this.#stoppedAfter = 0;
  }

  /** When a count written meanwhile is loaded: the end of the period in mode 2, of the half period in mode 3. */
  get #periodEnd(): number {
    if (this.#count < 2) return this.#clk + 1;
    if (this.#mode === 3) return this.#nextOf(highHalf(this.#count));
    return this.#clk + this.#count - (this.#elapsed % this.#count);
  }

  #takePending({ count, at }: PendingCount): void {
    const endsHighHalf = this.#mode === 3 && (at - this.#loadedAt) % this.#count === highHalf(this.#count);
    this.#pending = undefined;
    this.#count = count;
    this.#loadedAt = endsHighHalf ? at - highHalf(count) : at;
  }

  /** The counting element as the port shows it. */
  get #encoded(): number {
    const value = this.#value % this.#modulus;
    return this.#bcd ? toBcd(value) : value;
  }

  get #value(): number {
    const n = this.#count;
    // Before the load the count is undefined; software that reads too early wants to see its own.
    if (this.#elapsed < 0) return this.#register;
    const elapsed = this.#elapsed;
    if (this.#mode === 2) return n - (elapsed % n);
    if (this.#mode !== 3) return (((n - elapsed) % this.#modulus) + this.#modulus) % this.#modulus;
    // Mode 3 counts by two, an odd count from one less.
    const inPeriod = elapsed % n;
    const half = highHalf(n);
    return (n & ~1) - 2 * (inPeriod < half ? inPeriod : inPeriod - half);
  }
}

/** Pulses for which OUT is high in mode 3: (N + 1) / 2 for an odd count. */
const highHalf = (count: number): number => (count + 1) >> 1;

const fromBcd = (raw: number): number =>
  ((raw >> 12) * 1000 + ((raw >> 8) & 15) * 100 + ((raw >> 4) & 15) * 10 + (raw & 15)) % 10_000;

const toBcd = (value: number): number =>
  (Math.floor(value / 1000) << 12) |
  (Math.floor((value % 1000) / 100) << 8) |
  (Math.floor((value % 100) / 10) << 4) |
  (value % 10);
