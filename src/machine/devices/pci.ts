/** PCI configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2), and the reset control register in its midst. */
import type { IoBus } from '../io-bus.ts';
import type { AccessSize, PortDevice } from '../ports.ts';

const ADDRESS_PORT = 0xcf8;
const RESET_PORT = 0xcf9;
const DATA_PORT = 0xcfc;
const PORTS = 8;

// biome-ignore format: table
const ADDRESS = { ENABLE: 0x8000_0000, WRITABLE: 0x80ff_fffc, REGISTER: 0xfc } as const;

/** Reset control (Intel 82371SB data sheet, RC): the rising edge of bit 2 resets, the processor alone without bit 1. */
const RESET = { SYSTEM: 0x02, START: 0x04 } as const;

/** Configuration space of one function. Accesses are aligned; `register` counts bytes. */
export interface PciFunction {
  readConfiguration(register: number, size: AccessSize): number;
  writeConfiguration(register: number, size: AccessSize, value: number): void;
}

/** Bus 0 and its host bridge's ports. Functions that are not there read as all ones. */
export class Pci implements PortDevice {
  readonly #functions = new Map<number, PciFunction>();
  readonly #onReset: () => void;
  readonly #onInit: () => void;
  #address = 0;
  #resetControl = 0;

  /**
   * @param onReset the reset control register is told to reset the machine
   * @param onInit  it pulses the processor's INIT pin
   */
  constructor(onReset: () => void, onInit: () => void) {
    this.#onReset = onReset;
    this.#onInit = onInit;
  }

  attach(io: IoBus): void {
    io.claim({ name: 'PCI configuration', first: ADDRESS_PORT, count: PORTS, width: 4, device: this });
  }

  /** Puts a function on bus 0. @throws Error if one is there: a fault of the machine's builder */
  add(device: number, fn: number, configuration: PciFunction): void {
    const key = (device << 3) | fn;
    if (this.#functions.has(key)) throw new Error(`PCI function 00:${device.toString(16)}.${fn} is taken.`);
    this.#functions.set(key, configuration);
  }

  reset(): void {
    this.#address = 0;
    this.#resetControl = 0;
  }

  readPort(port: number, size: AccessSize): number {
    if (port >= DATA_PORT) {
      return this.#selected?.readConfiguration(this.#register(port), size) ?? 0xffff_ffff;
    }
    if (port === ADDRESS_PORT && size === 4) return this.#address;
    return port === RESET_PORT && size === 1 ? this.#resetControl : 0xffff_ffff;
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (port >= DATA_PORT) {
      this.#selected?.writeConfiguration(this.#register(port), size, value);
    } else if (port === ADDRESS_PORT && size === 4) {
      // Smaller accesses are not for the bridge but for whatever is at these ports.
      this.#address = (value & ADDRESS.WRITABLE) >>> 0;
    } else if (port === RESET_PORT && size === 1) {
      this.#writeReset(value);
    }
  }

  #writeReset(value: number): void {
    const starts = (value & RESET.START) !== 0 && (this.#resetControl & RESET.START) === 0;
    this.#resetControl = value & (RESET.SYSTEM | RESET.START);
    if (!starts) return;
    if ((value & RESET.SYSTEM) !== 0) this.#onReset();
    else this.#onInit();
  }

  get #selected(): PciFunction | undefined {
    const onBus0 = (this.#address & 0xff_0000) === 0;
    if ((this.#address & ADDRESS.ENABLE) === 0 || !onBus0) return undefined;
    return this.#functions.get((this.#address >> 8) & 0xff);
  }

  #register(port: number): number {
    return (this.#address & ADDRESS.REGISTER) | (port & 3);
  }
}
