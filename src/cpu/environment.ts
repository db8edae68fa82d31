/** What a processor is wired to. The machine implements these. */
export interface InterruptPin {
  /** True while INTR is asserted. */
  readonly pending: boolean;
  /** INTA: the vector, 0..255. */
  acknowledge(): number;
}

/** I/O space: values are unsigned and `size` bytes wide. */
export interface PortSpace {
  read(port: number, size: 1 | 2 | 4): number;
  write(port: number, size: 1 | 2 | 4, value: number): void;
}

/** Local APIC base register and task priority, where the machine has an APIC. */
export interface ApicRegisters {
  /** MSR APIC_BASE (0x1b), low and high half. */
  baseLo: number;
  baseHi: number;
  /** CR8: bits 7:4 of TPR. */
  taskPriority: number;
  /** The processor takes INIT, and its APIC with it (SDM vol. 3A 10.4.7.3). */
  init?(): void;
}

export interface Environment {
  readonly interrupts: InterruptPin;
  readonly ports: PortSpace;
  readonly apic?: ApicRegisters;
  /** The processor took INIT and is about to begin at the reset vector. */
  initialized?(): void;
}

/** A processor on its own: nothing ever interrupts it, ports float. */
export const NO_ENVIRONMENT: Environment = {
  interrupts: { pending: false, acknowledge: () => 0xff },
  ports: { read: (_port, size) => (size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1), write: () => {} },
};
