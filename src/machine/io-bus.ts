/** The I/O address space: 64 Ki byte-wide ports (SDM vol. 1 19.2), claimed by devices in ranges. */
import type { AccessSize, PortDevice } from './ports.ts';

export const PORT_COUNT = 0x1_0000;

/** What the ten address lines of ISA cards reach. */
const ISA_PORTS = 0x400;
/** An eight-bit cycle: six clocks of 8 MHz, and as much again behind a bridge. Software counts on a microsecond. */
const ISA_CYCLE_TICKS = 1000;

export interface PortRange {
  /** What error messages call it. */
  readonly name: string;
  readonly first: number;
  readonly count: number;
  /** Widest access in bytes that the device takes in one piece; 1 unless given. */
  readonly width?: AccessSize;
  readonly device: PortDevice;
}

interface Claim {
  readonly name: string;
  readonly first: number;
  readonly end: number;
  readonly width: number;
  readonly device: PortDevice;
}

const FLOATING: PortDevice = { readPort: () => 0xff, writePort: () => {} };
const NOBODY: Claim = { name: 'nobody', first: 0, end: PORT_COUNT, width: 1, device: FLOATING };

/**
 * Hands each access to the device that claimed the port. As on the ISA and PCI buses, an access that is unaligned or
 * wider than the device becomes two of half the width at consecutive ports, the lower one first; ports that nobody
 * claimed read as all ones and swallow writes.
 */
export class IoBus {
  /** Takes the ticks that each cycle on the ISA bus lasts: Linux writes to port 80h to let time pass. */
  onIsaCycle: (ticks: number) => void = () => {};
  readonly #claims: Claim[] = [NOBODY];
  readonly #owners = new Uint16Array(PORT_COUNT);

  /** @throws Error where the range leaves the I/O space or overlaps another: a fault of the machine's builder */
  claim({ name, first, count, width = 1, device }: PortRange): void {
    const end = first + count;
    if (count < 1 || first < 0 || end > PORT_COUNT) {
      throw new Error(
        `Ports ${ports(first, end)} of ${name} are outside the I/O space of ${ports(0, PORT_COUNT)}.`,
      );
    }
    const other = this.#claims.find((claim) => claim !== NOBODY && claim.first < end && first < claim.end);
    if (other) {
      throw new Error(
        `Ports ${ports(first, end)} of ${name} overlap ${ports(other.first, other.end)} of ${other.name}.`,
      );
    }
    this.#owners.fill(this.#claims.length, first, end);
    this.#claims.push({ name, first, end, width, device });
  }

  /** Reads `size` bytes at a port; unsigned. An access that runs past port FFFFh finds nobody there. */
  read(port: number, size: AccessSize): number {
    const { device, width } = this.#ownerOf(port);
    if (size === 1) {
      this.#takeTime(port);
      return device.readPort(port, 1) & 0xff;
    }
    if (size <= width && port % size === 0) {
      this.#takeTime(port);
      const value = device.readPort(port, size);
      return size === 2 ? value & 0xffff : value >>> 0;
    }
    const half = size === 4 ? 2 : 1;
    const low = this.read(port, half);
    return (low | (this.read(port + half, half) << (half * 8))) >>> 0;
  }

  /** Writes the low `size` bytes of `value` at a port. */
  write(port: number, size: AccessSize, value: number): void {
    const { device, width } = this.#ownerOf(port);
    if (size === 1) {
      this.#takeTime(port);
      device.writePort(port, 1, value & 0xff);
    } else if (size <= width && port % size === 0) {
      this.#takeTime(port);
      device.writePort(port, size, size === 2 ? value & 0xffff : value >>> 0);
    } else {
      const half = size === 4 ? 2 : 1;
      this.write(port, half, value);
      this.write(port + half, half, value >>> (half * 8));
    }
  }

  #takeTime(port: number): void {
    if (port < ISA_PORTS) this.onIsaCycle(ISA_CYCLE_TICKS);
  }

  #ownerOf(port: number): Claim {
    return this.#claims[this.#owners[port] ?? 0];
  }
}

const ports = (first: number, end: number): string => `0x${first.toString(16)}-0x${(end - 1).toString(16)}`;
