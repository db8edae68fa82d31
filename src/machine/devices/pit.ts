/** The 8254 of a PC: counter 0 drives IRQ 0, counter 1 the memory refresh, counter 2 the speaker. */
import type { Clock, Timer } from '../clock.ts';
import type { IoBus } from '../io-bus.ts';
import type { AccessSize, InterruptLine, PortDevice } from '../ports.ts';
import { Oscillator } from './oscillator.ts';
import { PitCounter } from './pit-counter.ts';

/** 14.31818 MHz / 12, rounded to whole hertz as operating systems do. */
export const PIT_HERTZ = 1_193_182;

const FIRST_PORT = 0x40;
const CONTROL_PORT = 0x43;
const READ_BACK = 3;
const READ_BACK_NO_COUNT = 0x20;
const READ_BACK_NO_STATUS = 0x10;

/** Count that PC firmware gives counter 1. */
const REFRESH_COUNT = 18;

/** Edges of OUT that one call makes up for before it jumps to the present. */
const MAX_LATE_EDGES = 4;

export class Pit implements PortDevice {
  readonly #clock: Clock;
  readonly #oscillator: Oscillator;
  readonly #irq: InterruptLine;
  readonly #timer: Timer;
  #counters = makeCounters();

  /** @param irq follows OUT of counter 0 */
  constructor(clock: Clock, irq: InterruptLine) {
    this.#clock = clock;
    this.#oscillator = new Oscillator(clock, PIT_HERTZ);
    this.#irq = irq;
    this.#timer = clock.timer(() => this.#follow());
  }

  attach(io: IoBus): void {
    io.claim({ name: '8254', first: FIRST_PORT, count: 4, device: this });
  }

  reset(): void {
    this.#counters = makeCounters();
    this.#follow();
  }

  /** GATE of counter 2 (port 61h bit 0). */
  get speakerGate(): boolean {
    return this.#counters[2].gate;
  }

  set speakerGate(level: boolean) {
    this.#now(2).gate = level;
  }

  /** OUT of counter 2 (port 61h bit 5). */
  get speakerOut(): boolean {
    return this.#now(2).out;
  }

  /** Toggles with each refresh request of counter 1, about every 15 us (port 61h bit 4). */
  get refreshToggle(): boolean {
    return Math.floor(this.#oscillator.cycles / REFRESH_COUNT) % 2 === 1;
  }

  readPort(port: number, _size: AccessSize): number {
    // The control word register cannot be read (8254 data sheet, "Read/Write Operations Summary").
    return port === CONTROL_PORT ? 0xff : this.#now(port - FIRST_PORT).read();
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    this.#follow();
    if (port !== CONTROL_PORT) this.#now(port - FIRST_PORT).write(value);
    else if (value >> 6 === READ_BACK) this.#readBack(value);
    else if ((value & 0x30) === 0) this.#now(value >> 6).latchCount();
    else this.#now(value >> 6).setControl(value);
    this.#follow();
  }

  #readBack(command: number): void {
    for (let index = 0; index < this.#counters.length; index++) {
      if ((command & (2 << index)) === 0) continue;
      const counter = this.#now(index);
      if ((command & READ_BACK_NO_COUNT) === 0) counter.latchCount();
      if ((command & READ_BACK_NO_STATUS) === 0) counter.latchStatus();
    }
  }

  #now(index: number): PitCounter {
    const counter = this.#counters[index];
    counter.advance(this.#oscillator.cycles);
    return counter;
  }

  /** Brings IRQ 0 up to now, each edge of OUT in its turn, and waits for the next. */
  #follow(): void {
    const counter = this.#counters[0];
    const now = this.#oscillator.cycles;
    for (let edges = 0; edges < MAX_LATE_EDGES && counter.nextEdge <= now; edges++) {
      counter.advance(counter.nextEdge);
      this.#irq.set(counter.out);
    }
    counter.advance(now);
    this.#irq.set(counter.out);
    this.#clock.arm(this.#timer, this.#oscillator.tickOf(counter.nextEdge));
  }
}

const makeCounters = (): [PitCounter, PitCounter, PitCounter] => [
  new PitCounter(true),
  new PitCounter(true),
  new PitCounter(false),
];
