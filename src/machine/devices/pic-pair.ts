/** The two 8259A of a PC, the second on input 2 of the first, and the ELCR that makes inputs level triggered. */
import type { IoBus } from '../io-bus.ts';
import type { AccessSize, InterruptLine, InterruptSource, PortDevice } from '../ports.ts';
import { Pic } from './pic.ts';

const MASTER_PORT = 0x20;
const SLAVE_PORT = 0xa0;
const ELCR_PORT = 0x4d0;
const CASCADE = 2;

/** Inputs that the ELCR can make level triggered: not IRQ 0, 1, 2, 8 and 13 (Intel 82371SB data sheet, ELCR1 and ELCR2). */
const ELCR_WRITABLE = [0xf8, 0xde] as const;

/** IRQ 0..15 of an ISA machine. Alone it is the processor's interrupt source; beside a local APIC it feeds LINT0. */
export class PicPair implements PortDevice, InterruptSource {
  readonly #master: Pic;
  readonly #slave: Pic;

  /** @param output follows the INT pin of the first chip */
  constructor(output: InterruptLine = { set: () => {} }) {
    this.#master = new Pic(output, 1 << CASCADE);
    this.#slave = new Pic({ set: (level) => this.#master.setInput(CASCADE, level) });
  }

  attach(io: IoBus): void {
    io.claim({ name: 'first 8259A', first: MASTER_PORT, count: 2, device: this });
    io.claim({ name: 'second 8259A', first: SLAVE_PORT, count: 2, device: this });
    io.claim({ name: 'ELCR', first: ELCR_PORT, count: 2, device: this });
  }

  reset(): void {
    this.#slave.reset();
    this.#master.reset();
  }

  /** Input of an IRQ, 0..15 but 2, which is the cascade. */
  line(irq: number): InterruptLine {
    const pic = irq < 8 ? this.#master : this.#slave;
    return { set: (level) => pic.setInput(irq & 7, level) };
  }

  get pending(): boolean {
    return this.#master.asserted;
  }

  acknowledge(): number {
    const input = this.#master.acknowledge();
    // A request that went away between INT and INTA ends as input 7 of whichever chip looked for it.
    if (input !== CASCADE) return this.#master.vector(input);
    return this.#slave.vector(this.#slave.acknowledge());
  }

  readPort(port: number, _size: AccessSize): number {
    const pic = this.#chip(port);
    return (port & ~1) === ELCR_PORT ? pic.levelTriggered : pic.read(port & 1);
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    const pic = this.#chip(port);
    if ((port & ~1) === ELCR_PORT) pic.levelTriggered = value & ELCR_WRITABLE[port & 1];
    else pic.write(port & 1, value);
  }

  #chip(port: number): Pic {
    const slave = (port & ~1) === ELCR_PORT ? (port & 1) === 1 : (port & ~1) === SLAVE_PORT;
    return slave ? this.#slave : this.#master;
  }
}
