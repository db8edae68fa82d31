/** The two functions that make a PC of a PCI bus: host bridge (82441FX) and ISA bridge (82371SB function 0). */
import type { AccessSize } from '../ports.ts';
import type { PciFunction } from './pci.ts';

// biome-ignore format: table
/** Header type 00h (PCI Local Bus Specification 3.0, 6.1). */
const HEADER = {
  VENDOR: 0x00, DEVICE: 0x02, COMMAND: 0x04, STATUS: 0x06,
  REVISION: 0x08, DEVICE_SPECIFIC: 0x40,
} as const;
const CONFIGURATION_SIZE = 256;
const INTEL = 0x8086;

interface Identity {
  readonly device: number;
  readonly command: number;
  readonly commandWritable: number;
  readonly status: number;
  readonly revision: number;
  /** Base class, subclass, programming interface: 24 bits. */
  readonly classCode: number;
  /** Device-specific registers that are not 0 after reset. */
  readonly defaults: readonly (readonly [register: number, value: number])[];
}

// biome-ignore format: table
const HOST_BRIDGE: Identity = {
  device: 0x1237, command: 0x0006, commandWritable: 0x0100, status: 0x0280, revision: 0x02, classCode: 0x06_0000,
  defaults: [[0x72, 0x02]],
};

// biome-ignore format: table
const ISA_BRIDGE: Identity = {
  device: 0x7000, command: 0x0007, commandWritable: 0x0008, status: 0x0200, revision: 0x00, classCode: 0x06_0100,
  // Interrupt routing off: no function here has an interrupt pin.
  defaults: [[0x4c, 0x4d], [0x4e, 0x03], [0x60, 0x80], [0x61, 0x80], [0x62, 0x80], [0x63, 0x80], [0x69, 0x02]],
};

/**
 * A bridge without base addresses or interrupt pin. Its own registers remember what is written and do nothing: memory
 * and ports lie where the machine was built to have them.
 */
export class PciBridge implements PciFunction {
  readonly #identity: Identity;
  readonly #bytes = new Uint8Array(CONFIGURATION_SIZE);
  readonly #writable = new Uint8Array(CONFIGURATION_SIZE);

  constructor(identity: Identity) {
    this.#identity = identity;
    this.#writable.fill(0xff, HEADER.DEVICE_SPECIFIC);
    this.#writable[HEADER.COMMAND] = identity.commandWritable & 0xff;
    this.#writable[HEADER.COMMAND + 1] = identity.commandWritable >> 8;
    this.reset();
  }

  reset(): void {
    const { device, command, status, revision, classCode, defaults } = this.#identity;
    const view = new DataView(this.#bytes.buffer);
    this.#bytes.fill(0);
    view.setUint16(HEADER.VENDOR, INTEL, true);
    view.setUint16(HEADER.DEVICE, device, true);
    view.setUint16(HEADER.COMMAND, command, true);
    view.setUint16(HEADER.STATUS, status, true);
    view.setUint32(HEADER.REVISION, (classCode << 8) | revision, true);
    for (const [register, value] of defaults) this.#bytes[register] = value;
  }

  readConfiguration(register: number, size: AccessSize): number {
    let value = 0;
    for (let byte = 0; byte < size; byte++) value |= this.#bytes[register + byte] << (byte * 8);
    return value;
  }

  writeConfiguration(register: number, size: AccessSize, value: number): void {
    for (let byte = 0; byte < size; byte++) {
      const at = register + byte;
      const mask = this.#writable[at];
      this.#bytes[at] = (this.#bytes[at] & ~mask) | ((value >>> (byte * 8)) & mask);
    }
  }
}

export const hostBridge = (): PciBridge => new PciBridge(HOST_BRIDGE);
export const isaBridge = (): PciBridge => new PciBridge(ISA_BRIDGE);
