import type { EntryPlace } from './formats/entry.ts';
import type { PhysicalMemory, Width } from './memory.ts';

/** What a walk does to one paging-structure entry: accessed and dirty flags only. */
export interface EntryWrite {
  readonly address: bigint;
  readonly width: 4 | 8;
  readonly before: bigint;
  readonly after: bigint;
}

/**
 * Memory as a walk in progress sees it: its own flag updates over memory that stays as it is. A page table that maps
 * itself is read again after the walk has set its accessed flag, as on the processor.
 */
export class WalkMemory {
  readonly #memory: PhysicalMemory;
  readonly #bytes = new Map<bigint, bigint>();
  readonly #writes: EntryWrite[] = [];

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  read(address: bigint, width: Width): bigint {
    let value = this.#memory.read(address, width);
    if (this.#bytes.size === 0) return value;
    for (let i = 0n; i < width; i++) {
      const byte = this.#bytes.get(address + i);
      if (byte !== undefined) value = (value & ~(0xffn << (8n * i))) | (byte << (8n * i));
    }
    return value;
  }

  /** Sets flags of an entry, if they are not set (SDM vol. 3A 4.8). Where there is no memory nothing changes. */
  setFlags(place: EntryPlace, flags: bigint): void {
    const before = this.read(place.address, place.width);
    const after = before | flags;
    if (after === before || !this.#memory.isRam(place.address)) return;
    for (let i = 0n; i < place.width; i++) this.#bytes.set(place.address + i, (after >> (8n * i)) & 0xffn);
    this.#writes.push({ address: place.address, width: place.width, before, after });
  }

  /** All updates so far, one for each entry, in order of first update. */
  get writes(): readonly EntryWrite[] {
    return mergeWrites(this.#writes);
  }
}

/** Joins successive updates of one entry into one. */
export function mergeWrites(writes: readonly EntryWrite[]): readonly EntryWrite[] {
  const merged: EntryWrite[] = [];
  for (const write of writes) {
    const known = merged.findIndex((other) => other.address === write.address && other.width === write.width);
    const earlier = merged[known];
    if (earlier === undefined) merged.push(write);
    else merged[known] = { ...earlier, after: write.after };
  }
  return merged;
}
