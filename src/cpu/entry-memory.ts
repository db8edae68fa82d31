import { ACCESS } from '../arch/paging/permissions.ts';
import { TranslatedEntries } from '../arch/paging/translated-entries.ts';
import { type EntryMemory, UPDATE, type Update } from '../arch/paging/walker.ts';
import type { NestedStage } from './nested-stage.ts';
import type { PhysicalMemory } from './physical-memory.ts';

const A20_BIT = 0x10_0000;

/** The A20 gate: closed, physical address bit 20 reads as zero. It lies behind all translation. */
export class A20Gate {
  #mask = 0;

  set open(open: boolean) {
    this.#mask = open ? 0 : A20_BIT;
  }

  /** Where a physical address leads. */
  pass(address: number): number {
    return this.#mask !== 0 && (Math.floor(address / A20_BIT) & 1) !== 0 ? address - A20_BIT : address;
  }
}

/** Entries of tables in physical memory, devices included, as the walker reads and updates them. */
export class PhysicalEntries implements EntryMemory {
  lo = 0;
  hi = 0;
  readonly #physical: PhysicalMemory;
  readonly #a20: A20Gate;

  constructor(physical: PhysicalMemory, a20: A20Gate) {
    this.#physical = physical;
    this.#a20 = a20;
  }

  readEntry(address: number, size: 4 | 8): boolean {
    const place = this.#a20.pass(address);
    this.lo = this.#physical.read32(place);
    this.hi = size === 8 ? this.#physical.read32(place + 4) : 0;
    return true;
  }

  updateEntry(address: number, size: 4 | 8, lo: number, hi: number, newLo: number): Update {
    const place = this.#a20.pass(address);
    this.readEntry(address, size);
    if (this.lo !== lo || this.hi !== hi) {
      // What does not hold a value (a hole, a ROM) never shows the bits; the processor goes on without.
      return this.#physical.isRam(Math.floor(place / 4096)) ? UPDATE.CHANGED : UPDATE.READ_ONLY;
    }
    this.#physical.write32(place, newLo);
    return UPDATE.DONE;
  }
}

/**
 * Entries of a guest's tables under nested paging. Reading one is a user *write* to the nested tables, whatever becomes of
 * the entry (APM vol. 2 15.25.5). What cannot be reached, they forbid, and `NestedStage` knows the details.
 */
export class NestedEntries extends TranslatedEntries {
  readonly #stage: NestedStage;

  constructor(entries: PhysicalEntries, stage: NestedStage) {
    super(entries);
    this.#stage = stage;
  }

  protected override place(address: number): number {
    return this.#stage.translate(address, ACCESS.WRITE);
  }
}
