import { type EntryMemory, UPDATE, type Update } from '../../../src/arch/paging/walker.ts';

/** Sparse memory of entries by address, for tables written by hand. Reading where nothing was written gives zero. */
export class EntryStore implements EntryMemory {
  lo = 0;
  hi = 0;
  readonly entries = new Map<number, { lo: number; hi: number }>();
  readonly readOnly = new Set<number>();
  /** Addresses that cannot be read, and ones that can be read but not updated. */
  readonly absent = new Set<number>();
  readonly writeAbsent = new Set<number>();
  /** What was asked for, in order: `r 1000`, `w 1000`. */
  readonly log: string[] = [];
  /** Called before each update, to change memory under the walker. */
  beforeUpdate: (address: number) => void = () => {};

  put(address: number, value: bigint): void {
    this.entries.set(address, { lo: Number(value & 0xffff_ffffn), hi: Number(value >> 32n) });
  }

  get(address: number): bigint {
    const entry = this.entries.get(address) ?? { lo: 0, hi: 0 };
    return (BigInt(entry.hi) << 32n) | BigInt(entry.lo);
  }

  readEntry(address: number, size: 4 | 8): boolean {
    if (address % size !== 0) throw new Error(`entry at ${address.toString(16)} is not aligned to ${size}`);
    this.log.push(`r ${address.toString(16)}`);
    if (this.absent.has(address)) return false;
    const entry = this.entries.get(address);
    this.lo = entry?.lo ?? 0;
    this.hi = entry?.hi ?? 0;
    return true;
  }

  updateEntry(address: number, _size: 4 | 8, lo: number, hi: number, newLo: number): Update {
    this.log.push(`w ${address.toString(16)}`);
    this.beforeUpdate(address);
    if (this.writeAbsent.has(address)) return UPDATE.ABSENT;
    if (this.readOnly.has(address)) return UPDATE.READ_ONLY;
    const entry = this.entries.get(address);
    if (entry === undefined || entry.lo !== lo || entry.hi !== hi) return UPDATE.CHANGED;
    entry.lo = newLo;
    return UPDATE.DONE;
  }
}
