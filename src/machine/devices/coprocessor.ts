/**
 * The PC's way to report x87 errors, for software that leaves CR0.NE clear: FERR# raises IRQ 13, and a write to port
 * F0h takes that back and lets the processor go on (SDM vol. 1 appendix D, "MS-DOS compatibility sub-mode").
 */
import type { IoBus } from '../io-bus.ts';
import type { AccessSize, InterruptLine, PortDevice } from '../ports.ts';

const CLEAR_BUSY_PORT = 0xf0;

export class CoprocessorErrors implements PortDevice {
  readonly #irq: InterruptLine;
  #ferr = false;
  #ignoreErrors = false;

  /** @param irq IRQ 13 */
  constructor(irq: InterruptLine) {
    this.#irq = irq;
  }

  attach(io: IoBus): void {
    io.claim({ name: 'coprocessor busy latch', first: CLEAR_BUSY_PORT, count: 1, device: this });
  }

  reset(): void {
    this.setFerr(false);
    this.#ignoreErrors = false;
    this.#irq.set(false);
  }

  /** The processor's FERR# pin: an unmasked x87 exception is pending. */
  setFerr(level: boolean): void {
    if (level && !this.#ferr) this.#irq.set(true);
    if (!level) this.#ignoreErrors = false;
    this.#ferr = level;
  }

  /** The processor's IGNNE# pin: waiting x87 instructions go on in spite of a pending exception. */
  get ignoreErrors(): boolean {
    return this.#ignoreErrors;
  }

  readPort(_port: number, _size: AccessSize): number {
    return 0xff;
  }

  writePort(_port: number, _size: AccessSize, _value: number): void {
    this.#irq.set(false);
    this.#ignoreErrors = this.#ferr;
  }
}
