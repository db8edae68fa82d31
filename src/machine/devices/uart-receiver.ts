/** The receiving half of the 16550A: the line, the FIFO behind it, and the character timeout. */
import { type Clock, TICKS_PER_SECOND, type Timer } from '../clock.ts';
import { LCR, LSR, TRIGGER_LEVELS } from './uart-registers.ts';

const CRYSTAL_HERTZ = 1_843_200;
const CLOCKS_PER_BIT = 16;
const FIFO_SIZE = 16;

/** Line-status bits that belong to one character. */
const CHARACTER_ERRORS = LSR.PARITY | LSR.FRAMING | LSR.BREAK;
export const LINE_ERRORS = LSR.OVERRUN | CHARACTER_ERRORS;

/** A received byte with its line-status bits above it. */
const withErrors = (byte: number, errors: number): number => byte | (errors << 8);

export class UartReceiver {
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #fifo: number[] = [];
  /** What the far end has ready to send, and how much of that it has sent. */
  #line: number[] = [];
  #sent = 0;
  #fifoEnabled = false;
  #trigger: number = TRIGGER_LEVELS[0];
  #characterTicks = 0;
  #timedOut = false;
  #errors = 0;

  /** @param changed called when the timeout makes an interrupt due */
  constructor(clock: Clock, changed: () => void) {
    this.#clock = clock;
    this.#timer = clock.timer(() => {
      this.#timedOut = true;
      changed();
    });
  }

  /** Queues a byte at the far end; `errors` are LSR bits that arrive with it. */
  queue(byte: number, errors = 0): void {
    this.#line.push(withErrors(byte, errors));
  }

  /** Lets the far end send as much as there is room for. It never sends faster than the guest reads. */
  fill(): void {
    const room = this.#fifoEnabled ? FIFO_SIZE : 1;
    if (this.#fifo.length >= room || this.#sent === this.#line.length) return;
    while (this.#fifo.length < room && this.#sent < this.#line.length) this.#store(this.#line[this.#sent++]);
    if (this.#sent === this.#line.length) {
      this.#line = [];
      this.#sent = 0;
    }
    this.#restart();
  }

  /** A byte from the transmitter in loopback; without room it is lost, or replaces what was there without FIFO. */
  loop(byte: number): void {
    const room = this.#fifoEnabled ? FIFO_SIZE : 1;
    if (this.#fifo.length >= room) {
      this.#errors |= LSR.OVERRUN;
      if (!this.#fifoEnabled) this.#fifo[0] = byte;
    } else {
      this.#store(byte);
    }
    this.#restart();
  }

  /** Takes a byte out; 0 if there is none. */
  read(): number {
    const character = this.#fifo.shift() ?? 0;
    if (this.#fifo.length > 0) this.#errors |= this.#fifo[0] >> 8;
    this.#restart();
    return character & 0xff;
  }

  clear(): void {
    this.#fifo.length = 0;
    this.#restart();
  }

  /** Mode and trigger level from FCR; changing the mode empties the FIFO. */
  setFifo(enabled: boolean, triggerIndex: number): void {
    if (enabled !== this.#fifoEnabled) this.clear();
    this.#fifoEnabled = enabled;
    this.#trigger = TRIGGER_LEVELS[triggerIndex];
  }

  /** Length of a character on the line, from LCR and the divisor latch. */
  setFormat(lcr: number, divisor: number): void {
    const dataBits = 5 + (lcr & LCR.WORD_LENGTH);
    const bits = 1 + dataBits + (lcr & LCR.PARITY ? 1 : 0) + (lcr & LCR.STOP_BITS ? 2 : 1);
    // The baud generator counts down: 0 is the longest divisor.
    const clocks = bits * CLOCKS_PER_BIT * (divisor || 0x1_0000);
    this.#characterTicks = Math.ceil((clocks * TICKS_PER_SECOND) / CRYSTAL_HERTZ);
  }

  get fifoEnabled(): boolean {
    return this.#fifoEnabled;
  }

  get dataAvailable(): boolean {
    return this.#fifo.length >= (this.#fifoEnabled ? this.#trigger : 1);
  }

  /** Bytes wait below the trigger level and nothing moved for four character times. */
  get timedOut(): boolean {
    return this.#timedOut;
  }

  /** The receiver's bits of LSR. */
  get status(): number {
    const anyErrors = this.#fifoEnabled && this.#fifo.some((character) => character >> 8 !== 0);
    return (this.#fifo.length > 0 ? LSR.DATA_READY : 0) | this.#errors | (anyErrors ? LSR.FIFO_ERROR : 0);
  }

  /** Reading LSR forgets the errors shown. */
  clearErrors(): void {
    this.#errors = 0;
    if (this.#fifo.length > 0) this.#fifo[0] &= 0xff;
  }

  #store(character: number): void {
    this.#fifo.push(character);
    // Errors show when their character reaches the top of the FIFO.
    if (this.#fifo.length === 1) this.#errors |= character >> 8;
  }

  #restart(): void {
    this.#timedOut = false;
    const waits = this.#fifoEnabled && this.#fifo.length > 0;
    this.#clock.arm(
      this.#timer,
      waits ? this.#clock.now + 4 * this.#characterTicks : Number.POSITIVE_INFINITY,
    );
  }
}
