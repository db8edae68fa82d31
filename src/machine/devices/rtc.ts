/** Real-time clock and CMOS memory (Motorola MC146818 data sheet) behind ports 70h and 71h. */
import type { Clock, Timer } from '../clock.ts';
import type { IoBus } from '../io-bus.ts';
import type { AccessSize, InterruptLine, PortDevice } from '../ports.ts';
import { addSeconds, calendarTime, SECONDS_PER_DAY } from './calendar.ts';
import { setUpCmos } from './cmos-setup.ts';
import { Oscillator } from './oscillator.ts';
import { alarmMatches, RTC, RTC_B, readTime, writeTime } from './rtc-time.ts';

/** 2021-07-12 00:00:00 UTC, when every machine is switched on unless told otherwise; seconds since 1970. */
export const DEFAULT_EPOCH = 1_626_048_000;

const INDEX_PORT = 0x70;
const NMI_MASK = 0x80;
const CMOS_SIZE = 128;

// biome-ignore format: table
/** Register A: divider (010 runs a 32768 Hz crystal), rate selection. */
const A = { RATE: 0x0f, DIVIDER: 0x70, RUNNING: 0x20, UPDATE_IN_PROGRESS: 0x80 } as const;
const C = { UPDATE: 0x10, ALARM: 0x20, PERIODIC: 0x40, IRQ: 0x80 } as const;
const ENABLES = RTC_B.UPDATE_IRQ | RTC_B.ALARM_IRQ | RTC_B.PERIODIC_IRQ;
const D_VALID = 0x80;

const CRYSTAL_HERTZ = 32_768;
/** An update takes 1984 us and is announced 244 us before it begins; in cycles of the crystal. */
const UPDATE_CYCLES = 65 + 8;

export interface RtcOptions {
  readonly clock: Clock;
  /** IRQ 8. */
  readonly irq: InterruptLine;
  /** RAM from address 0 up. */
  readonly memoryBytes: number;
  /** Time at tick 0, in seconds since 1970; DEFAULT_EPOCH unless given. */
  readonly epochSeconds?: number | undefined;
}

/**
 * The chip keeps its bytes; elapsed seconds and periods are worked in when somebody looks or an interrupt is due.
 * Daylight saving (bit 0 of register B) is stored without effect, as in the clocks of later chipsets.
 */
export class Rtc implements PortDevice {
  readonly #clock: Clock;
  readonly #oscillator: Oscillator;
  readonly #irq: InterruptLine;
  readonly #timer: Timer;
  readonly #cmos = new Uint8Array(CMOS_SIZE);
  #index = 0;
  #nmiMasked = false;

  /** Cycle at which the divider chain stood at zero. */
  #chainStart = 0;
  /** Seconds and periods since then that are worked in. */
  #seconds = 0;
  #periods = 0;

  constructor({ clock, irq, memoryBytes, epochSeconds = DEFAULT_EPOCH }: RtcOptions) {
    this.#clock = clock;
    this.#oscillator = new Oscillator(clock, CRYSTAL_HERTZ);
    this.#irq = irq;
    this.#timer = clock.timer(() => this.#sync());
    this.#chainStart = this.#oscillator.cycles;
    this.#cmos[RTC.A] = A.RUNNING | 0x06;
    this.#cmos[RTC.B] = RTC_B.HOURS_24;
    this.#cmos[RTC.D] = D_VALID;
    writeTime(
      this.#cmos,
      addSeconds(calendarTime(epochSeconds), Math.floor(this.#chainStart / CRYSTAL_HERTZ)),
    );
    this.#chainStart -= this.#chainStart % CRYSTAL_HERTZ;
    setUpCmos(this.#cmos, memoryBytes);
  }

  attach(io: IoBus): void {
    io.claim({ name: 'RTC', first: INDEX_PORT, count: 2, device: this });
  }

  /** The RESET pin: interrupts off; time and memory live on (data sheet, "RESET"). */
  reset(): void {
    this.#sync();
    this.#cmos[RTC.B] &= ~(ENABLES | RTC_B.SQUARE_WAVE);
    this.#cmos[RTC.C] = 0;
    this.#nmiMasked = false;
    this.#index = 0;
    this.#follow();
  }

  /** Bit 7 of port 70h: the chipset keeps NMI from the processor. */
  get nmiMasked(): boolean {
    return this.#nmiMasked;
  }

  readPort(port: number, _size: AccessSize): number {
    if (port === INDEX_PORT) return 0xff;
    this.#sync();
    switch (this.#index) {
      case RTC.A:
        return this.#cmos[RTC.A] | (this.#updating ? A.UPDATE_IN_PROGRESS : 0);
      case RTC.C: {
        const flags = this.#cmos[RTC.C] | (this.#interrupting ? C.IRQ : 0);
        this.#cmos[RTC.C] = 0;
        this.#follow();
        return flags;
      }
      default:
        return this.#cmos[this.#index];
    }
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    if (port === INDEX_PORT) {
      this.#index = value & (CMOS_SIZE - 1);
      this.#nmiMasked = (value & NMI_MASK) !== 0;
      return;
    }
    this.#sync();
    switch (this.#index) {
      case RTC.A:
        this.#writeA(value & ~A.UPDATE_IN_PROGRESS);
        break;
      case RTC.B:
        // Setting SET clears the update interrupt's enable.
        this.#cmos[RTC.B] = value & RTC_B.SET ? value & ~RTC_B.UPDATE_IRQ : value;
        break;
      case RTC.C:
      case RTC.D:
        break;
      default:
        this.#cmos[this.#index] = this.#index === RTC.SECONDS ? value & 0x7f : value;
    }
    this.#follow();
  }

  #writeA(value: number): void {
    const wasRunning = this.#running;
    this.#cmos[RTC.A] = value;
    if (this.#running && !wasRunning) {
      // The first update comes half a second after the divider is released.
      this.#chainStart = this.#oscillator.cycles - CRYSTAL_HERTZ / 2;
      this.#seconds = 0;
    }
    this.#periods = this.#periodsNow;
  }

  get #running(): boolean {
    return (this.#cmos[RTC.A] & A.DIVIDER) === A.RUNNING;
  }

  get #updating(): boolean {
    if (!this.#running || this.#cmos[RTC.B] & RTC_B.SET) return false;
    return (this.#oscillator.cycles - this.#chainStart) % CRYSTAL_HERTZ >= CRYSTAL_HERTZ - UPDATE_CYCLES;
  }

  get #interrupting(): boolean {
    return (this.#cmos[RTC.C] & this.#cmos[RTC.B] & ENABLES) !== 0;
  }

  /** Length of the periodic interrupt's period in cycles; Infinity for rate 0. */
  get #period(): number {
    const rate = this.#cmos[RTC.A] & A.RATE;
    if (rate === 0) return Number.POSITIVE_INFINITY;
    return 1 << (rate <= 2 ? rate + 6 : rate - 1);
  }

  get #periodsNow(): number {
    return Math.floor((this.#oscillator.cycles - this.#chainStart) / this.#period);
  }

  /** Works in what has passed since the last look. */
  #sync(): void {
    if (this.#running) {
      const periods = this.#periodsNow;
      if (periods > this.#periods) this.#cmos[RTC.C] |= C.PERIODIC;
      this.#periods = periods;
      const seconds = Math.floor((this.#oscillator.cycles - this.#chainStart) / CRYSTAL_HERTZ);
      const passed = seconds - this.#seconds;
      this.#seconds = seconds;
      if (passed > 0 && (this.#cmos[RTC.B] & RTC_B.SET) === 0) this.#update(passed);
    }
    this.#follow();
  }

  #update(seconds: number): void {
    const time = readTime(this.#cmos);
    writeTime(this.#cmos, addSeconds(time, seconds));
    this.#cmos[RTC.C] |= C.UPDATE;
    const start = time.hour * 3600 + time.minute * 60 + time.second;
    for (let second = 1; second <= Math.min(seconds, SECONDS_PER_DAY); second++) {
      if (!alarmMatches(this.#cmos, (start + second) % SECONDS_PER_DAY)) continue;
      this.#cmos[RTC.C] |= C.ALARM;
      break;
    }
  }

  /** Drives IRQ 8 and waits for the next event that could raise it. */
  #follow(): void {
    this.#irq.set(this.#interrupting);
    let next = Number.POSITIVE_INFINITY;
    if (this.#running && !this.#interrupting) {
      const enabled = this.#cmos[RTC.B];
      if (enabled & RTC_B.PERIODIC_IRQ) next = (this.#periods + 1) * this.#period;
      if (enabled & (RTC_B.UPDATE_IRQ | RTC_B.ALARM_IRQ))
        next = Math.min(next, (this.#seconds + 1) * CRYSTAL_HERTZ);
    }
    this.#clock.arm(this.#timer, this.#oscillator.tickOf(this.#chainStart + next));
  }
}
