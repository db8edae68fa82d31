/** The three seams between a device and the machine: I/O ports, memory-mapped registers, interrupt lines. */

/** Access width in bytes. */
export type AccessSize = 1 | 2 | 4;

/** A device's I/O port range. Values are unsigned and `size` bytes wide; reads of nothing float high (all ones). */
export interface PortDevice {
  readPort(port: number, size: AccessSize): number;
  writePort(port: number, size: AccessSize, value: number): void;
}

/** A device's memory-mapped registers. `offset` counts bytes from the start of the region. */
export interface MmioDevice {
  readMmio(offset: number, size: AccessSize): number;
  writeMmio(offset: number, size: AccessSize, value: number): void;
}

/** One interrupt input: `true` asserts it. */
export interface InterruptLine {
  set(level: boolean): void;
}

/** What the processor asks of the interrupt controllers at an instruction boundary. */
export interface InterruptSource {
  /** True while the INTR pin is asserted. */
  readonly pending: boolean;
  /** INTA: takes the highest-priority vector (0..255) and marks it in service. Spurious vectors come out as the manuals say. */
  acknowledge(): number;
}
