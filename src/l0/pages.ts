/** The host-physical pages that L0 owns: VMCBs, permission maps, page-directory-pointer tables, shadow pages. */
import { type Hpa, hpa, PAGE_SIZE } from '../arch/address.ts';
import type { HostMemory, HostRange } from './hardware.ts';

/** L0 ran out of the pages it was given, or was given none that serve. Says how many it wanted. */
export class OutOfHostPages extends Error {
  override readonly name = 'OutOfHostPages';
}

const FOUR_GIB = 0x1_0000_0000;

/** Hands out zeroed runs of pages from one range, first fit, and takes them back. Not for hot paths. */
export class HostPages {
  readonly #memory: HostMemory;
  /** Free runs in order of address, never adjacent. */
  #free: { base: number; pages: number }[];

  /** @param range pages that nothing else in the machine uses */
  constructor(memory: HostMemory, range: HostRange) {
    if (range.base % PAGE_SIZE !== 0 || range.size % PAGE_SIZE !== 0) {
      throw new RangeError(
        `The host range at ${range.base} of ${range.size} bytes must start and end on a multiple of 4096.`,
      );
    }
    if (range.base + range.size > memory.size) {
      throw new RangeError(`The host range ends at ${range.base + range.size}, behind RAM (${memory.size}).`);
    }
    this.#memory = memory;
    this.#free = [{ base: range.base, pages: range.size / PAGE_SIZE }];
  }

  /** Pages not handed out, in all runs. */
  get available(): number {
    return this.#free.reduce((sum, run) => sum + run.pages, 0);
  }

  /**
   * Takes `pages` adjacent pages below 4 GiB and clears them. Everything that L0 allocates must lie there: a shadow CR3
   * and PDPTE pointer are 32 bits wide under PAE paging (SDM vol. 3A 4.4.1), and a 32-bit host reaches no VMCB above.
   */
  allocate(pages: number): Hpa {
    const base = this.reserve(pages);
    this.#memory.u8.fill(0, base, base + pages * PAGE_SIZE);
    this.#memory.written(base, pages * PAGE_SIZE);
    return base;
  }

  /** As `allocate`, but the pages hold anything; who stores to one tells `HostMemory.written`. */
  reserve(pages: number): Hpa {
    const at = this.#free.findIndex((run) => run.pages >= pages && run.base + pages * PAGE_SIZE <= FOUR_GIB);
    const run = this.#free[at];
    if (run === undefined) {
      throw new OutOfHostPages(
        `L0 needs ${pages} adjacent pages of its own below 4 GiB, and ${this.available} are left in pieces.`,
      );
    }
    const base = run.base;
    run.base += pages * PAGE_SIZE;
    run.pages -= pages;
    if (run.pages === 0) this.#free.splice(at, 1);
    return hpa(base);
  }

  /** Gives back what `allocate` returned. */
  release(base: Hpa, pages: number): void {
    const next = this.#free.findIndex((run) => run.base > base);
    const at = next < 0 ? this.#free.length : next;
    this.#free.splice(at, 0, { base, pages });
    this.#mergeAt(at);
    if (at > 0) this.#mergeAt(at - 1);
  }

  #mergeAt(at: number): void {
    const run = this.#free[at];
    const after = this.#free[at + 1];
    if (run === undefined || after === undefined) return;
    if (run.base + run.pages * PAGE_SIZE !== after.base) return;
    run.pages += after.pages;
    this.#free.splice(at + 1, 1);
  }
}
