import { type EntryMemory, UPDATE, type Update } from './walker.ts';

/** Entries of tables whose addresses are translated once more before anything is there, as a guest's under nested paging. */
export abstract class TranslatedEntries implements EntryMemory {
  lo = 0;
  hi = 0;
  readonly #behind: EntryMemory;

  /** @param behind where translated addresses lead */
  constructor(behind: EntryMemory) {
    this.#behind = behind;
  }

  /** Where an entry is, for reading and for setting its flags; -1 if it cannot be reached. */
  protected abstract place(address: number): number;

  readEntry(address: number, size: 4 | 8): boolean {
    const place = this.place(address);
    if (place < 0) return false;
    const behind = this.#behind;
    const read = behind.readEntry(place, size);
    this.lo = behind.lo;
    this.hi = behind.hi;
    return read;
  }

  updateEntry(address: number, size: 4 | 8, lo: number, hi: number, newLo: number): Update {
    const place = this.place(address);
    return place < 0 ? UPDATE.ABSENT : this.#behind.updateEntry(place, size, lo, hi, newLo);
  }
}
