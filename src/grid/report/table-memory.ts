/** Memory as reports read page tables from it: to look at only. */
import { gpa } from '../../arch/address.ts';
import { type EntryMemory, UPDATE } from '../../arch/paging/walker.ts';
import type { HostedMachine } from '../../vmm/hosted-machine.ts';

/** Entries in memory, to look at only. */
abstract class Reader implements EntryMemory {
  lo = 0;
  hi = 0;
  protected abstract bytes(address: number, size: number): Uint8Array | undefined;

  readEntry(address: number, size: 4 | 8): boolean {
    const bytes = this.bytes(address, size);
    if (bytes === undefined) return false;
    const view = new DataView(bytes.buffer, bytes.byteOffset, size);
    this.lo = view.getUint32(0, true);
    this.hi = size === 8 ? view.getUint32(4, true) : 0;
    return true;
  }

  updateEntry(): typeof UPDATE.READ_ONLY {
    return UPDATE.READ_ONLY;
  }
}

/** L1's physical memory. */
export class GuestMemory extends Reader {
  readonly #machine: HostedMachine;

  constructor(machine: HostedMachine) {
    super();
    this.#machine = machine;
  }

  protected bytes(address: number, size: number): Uint8Array | undefined {
    const { slots } = this.#machine.vm;
    return slots.hostAddress(address) < 0 ? undefined : this.#machine.read(gpa(address), size);
  }
}

/** L2's physical memory: that of L1 through its nested tables. */
export class NestedMemory extends GuestMemory {
  readonly #frameOf: (page: number) => number | undefined;

  /** @param frameOf L1's frame behind an L2-physical page number, if its nested tables map it */
  constructor(machine: HostedMachine, frameOf: (page: number) => number | undefined) {
    super(machine);
    this.#frameOf = frameOf;
  }

  protected override bytes(address: number, size: number): Uint8Array | undefined {
    const frame = this.#frameOf(Math.floor(address / 4096));
    return frame === undefined ? undefined : super.bytes(frame * 4096 + (address % 4096), size);
  }
}

/** The host's physical memory. */
export class HostTables extends Reader {
  readonly #memory: Uint8Array;

  constructor(machine: HostedMachine) {
    super();
    this.#memory = machine.cpu.physical.u8;
  }

  protected bytes(address: number, size: number): Uint8Array {
    return this.#memory.subarray(address, address + size);
  }
}
