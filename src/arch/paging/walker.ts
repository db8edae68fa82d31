/**
 * The table walker: one for every format, for the processor and for a hypervisor that reads a guest's tables.
 *
 * Three steps that can be used alone: `walk` reads entries and accumulates rights, `accessAllowed`
 * (permissions.ts) judges them, `markAccessed` writes accessed and dirty bits. `translate` is the three in
 * order, repeated when an entry changed under it. So an access that faults sets no A and no D bit. (The
 * manuals forbid it for D only; on some processors a faulting access leaves A set in upper entries.)
 *
 * Nothing here allocates: the result is the caller's, entries are {lo, hi} pairs of unsigned 32-bit numbers.
 */
import { PFERR } from '../registers.ts';
import { ENTRY, type PagingFormat, type PagingLevel, RIGHTS } from './format.ts';
import { ACCESS, accessAllowed, pageFaultErrorCode } from './permissions.ts';

const TWO_TO_20 = 0x10_0000;
const TWO_TO_32 = 0x1_0000_0000;
/** Bits 51:32 of an entry: the high part of an address in it. */
const ADDRESS_HI = 0x000f_ffff;
const HIGHEST_LEVEL = 5;

/** What became of an attempt to set bits in an entry. */
export const UPDATE = {
  DONE: 0,
  /** The entry is no longer what was read: walk again. */
  CHANGED: 1,
  /** The memory ignores writes (ROM, a read-only memslot): go on without. */
  READ_ONLY: 2,
  /** The entry cannot be reached for writing. */
  ABSENT: 3,
} as const;
export type Update = (typeof UPDATE)[keyof typeof UPDATE];

/**
 * Where entries live. Addresses are those the tables use: for a nested walk the implementation translates
 * each one first, and keeps the details of its own fault when it answers false or ABSENT.
 */
export interface EntryMemory {
  /** The entry last read, unsigned halves; `hi` is zero for 4-byte entries. */
  lo: number;
  hi: number;
  /**
   * Loads the naturally aligned entry into `lo` and `hi`. False: there is no memory that this walk could
   * read.
   */
  readEntry(address: number, size: 4 | 8): boolean;
  /** Replaces the low half if the entry still is {lo, hi}, atomically as other processors see it. */
  updateEntry(address: number, size: 4 | 8, lo: number, hi: number, newLo: number): Update;
}

export const WALK = {
  OK: 0,
  /** An entry is not present: #PF with P = 0. */
  NOT_PRESENT: 1,
  /** A present entry has a reserved bit set: #PF with P and RSVD. */
  RESERVED: 2,
  /** The rights do not allow the access: #PF with P. Only from `translate`. */
  DENIED: 3,
  /** EntryMemory could not reach the entry at `level`. No page fault by itself: `errorCode` is zero. */
  TABLE_ABSENT: 4,
} as const;
export type WalkStatus = (typeof WALK)[keyof typeof WALK];

/** entryAddress of an entry that is a register (a cached PDPTE). */
export const IN_REGISTER = -1;

/**
 * Outcome of a walk, reused from one to the next. Arrays are indexed by level, valid from the root's down to
 * `level`.
 */
export class WalkResult {
  status: WalkStatus = WALK.NOT_PRESENT;
  /** Page-fault error code if `translate` ended in a fault, else 0. */
  errorCode = 0;
  rootLevel = 0;
  /** Where the walk ended: the level of the leaf, or of the entry at fault. */
  level = 0;
  /**
   * The page mapped is 2 ** pageShift bytes: 12, 21, 22 or 30. Only with OK and DENIED, like the next two.
   */
  pageShift = 0;
  /** Frame number (address >> 12) of the 4 KiB page asked for, also inside a large page. */
  frame = 0;
  /** RIGHTS accumulated over all levels. */
  rights = 0;
  /** Physical address of the entry, IN_REGISTER for a cached PDPTE; its table starts at the 4 KiB below. */
  readonly entryAddress = new Float64Array(HIGHEST_LEVEL + 1);
  readonly entryLo = new Uint32Array(HIGHEST_LEVEL + 1);
  readonly entryHi = new Uint32Array(HIGHEST_LEVEL + 1);
  /** RIGHTS accumulated from the root through this level. */
  readonly levelRights = new Uint8Array(HIGHEST_LEVEL + 1);

  /** Frame number of the table that holds this level's entry. */
  tableFrame(level: number): number {
    return Math.floor(this.entryAddress[level] / 4096);
  }
}

/**
 * Walks the tables for a linear page number (linear >> 12; bits above the format's are ignored), reading
 * only. Root: CR3 as {rootLo, rootHi}, or the cached PDPTE if the format says `rootIsEntry`. Order of checks
 * in an entry: present, then reserved bits (SDM vol. 3A 4.7: P = 0 hides reserved bits).
 */
export function walk(
  format: PagingFormat,
  rootLo: number,
  rootHi: number,
  pageNumber: number,
  memory: EntryMemory,
  result: WalkResult,
): WalkStatus {
  const { entrySize, rootLevel, levels } = format;
  let table = (rootHi & format.rootMaskHi) * TWO_TO_32 + ((rootLo & format.rootMaskLo) >>> 0);
  let rights: number = RIGHTS.ALL;
  result.rootLevel = rootLevel;
  result.errorCode = 0;
  for (let level = rootLevel; ; level -= 1) {
    const shape = levels[level];
    let lo = rootLo >>> 0;
    let hi = rootHi >>> 0;
    if (level === rootLevel && format.rootIsEntry) {
      result.entryAddress[level] = IN_REGISTER;
    } else {
      const index = (pageNumber / shape.indexDivisor) & shape.indexMask;
      const address = table + index * entrySize;
      result.entryAddress[level] = address;
      if (!memory.readEntry(address, entrySize)) return finish(result, level, WALK.TABLE_ABSENT);
      lo = memory.lo;
      hi = memory.hi;
    }
    result.entryLo[level] = lo;
    result.entryHi[level] = hi;
    if ((lo & format.presentMask) === 0) return finish(result, level, WALK.NOT_PRESENT);
    const large = shape.largePage && (lo & ENTRY.PS) !== 0;
    if (hasReservedBit(shape, large, lo, hi)) return finish(result, level, WALK.RESERVED);
    rights &= shape.rights[(lo & 7) | ((hi >>> 31) << 3)];
    result.levelRights[level] = rights;
    if (large || level === 1) {
      result.rights = rights;
      result.pageShift = 12 + shape.indexShift;
      result.frame = frameOf(shape, entrySize, large, lo, hi, pageNumber);
      return finish(result, level, WALK.OK);
    }
    table = (hi & ADDRESS_HI) * TWO_TO_32 + ((lo & 0xffff_f000) >>> 0);
  }
}

function finish(result: WalkResult, level: number, status: WalkStatus): WalkStatus {
  result.level = level;
  result.status = status;
  return status;
}

function hasReservedBit(shape: PagingLevel, large: boolean, lo: number, hi: number): boolean {
  return large
    ? ((lo & shape.largeReservedLo) | (hi & shape.largeReservedHi)) !== 0
    : ((lo & shape.reservedLo) | (hi & shape.reservedHi)) !== 0;
}

/** Frame number from a leaf: the entry's address bits, below them the page number's. `large`: PS maps a large page. */
export function frameOf(
  shape: PagingLevel,
  entrySize: 4 | 8,
  large: boolean,
  lo: number,
  hi: number,
  pageNumber: number,
): number {
  // In a 4 MiB page's entry, bits 20:13 are address bits 39:32 (SDM vol. 3A 4.3); reserved ones among them
  // are zero.
  const high = entrySize === 8 ? hi & ADDRESS_HI : large ? (lo >>> 13) & 0xff : 0;
  const offsetMask = shape.indexDivisor - 1;
  return high * TWO_TO_20 + (((lo >>> 12) & ~offsetMask) | (pageNumber & offsetMask));
}

/**
 * After `walk` gave OK: sets the accessed bit in every entry used and, for a write, the dirty bit in the leaf
 * (SDM vol. 3A 4.8), each by compare and set; `result` keeps up with what was written. CHANGED: an entry was
 * not what the walk had read; walk again. ABSENT: `result.level` is the entry not reached.
 */
export function markAccessed(
  format: PagingFormat,
  write: boolean,
  memory: EntryMemory,
  result: WalkResult,
): Update {
  const leaf = result.level;
  for (let level = result.rootLevel; level >= leaf; level -= 1) {
    const shape = format.levels[level];
    const lo = result.entryLo[level];
    const newLo = (lo | shape.accessedBit | (write && level === leaf ? shape.dirtyBit : 0)) >>> 0;
    if (newLo === lo) continue;
    const address = result.entryAddress[level];
    const update = memory.updateEntry(address, format.entrySize, lo, result.entryHi[level], newLo);
    if (update === UPDATE.DONE) {
      result.entryLo[level] = newLo;
    } else if (update !== UPDATE.READ_ONLY) {
      if (update === UPDATE.ABSENT) result.level = level;
      return update;
    }
  }
  return UPDATE.DONE;
}

/**
 * Translates a linear page number as the processor does for an access (ACCESS) under PAGING_CONTROL: walk,
 * rights, accessed and dirty bits. On a fault `result.errorCode` is the page-fault error code; a reserved bit
 * is reported before rights count, an absent entry before both.
 */
export function translate(
  format: PagingFormat,
  rootLo: number,
  rootHi: number,
  pageNumber: number,
  access: number,
  control: number,
  memory: EntryMemory,
  result: WalkResult,
): WalkStatus {
  for (;;) {
    const status = walk(format, rootLo, rootHi, pageNumber, memory, result);
    if (status !== WALK.OK) {
      result.errorCode = faultCode(status, access, control);
      return status;
    }
    if (!accessAllowed(result.rights, access, control)) {
      result.status = WALK.DENIED;
      result.errorCode = pageFaultErrorCode(PFERR.P, access, control);
      return WALK.DENIED;
    }
    const update = markAccessed(format, (access & ACCESS.WRITE) !== 0, memory, result);
    if (update === UPDATE.DONE) return WALK.OK;
    if (update === UPDATE.ABSENT) {
      result.status = WALK.TABLE_ABSENT;
      return WALK.TABLE_ABSENT;
    }
  }
}

function faultCode(status: WalkStatus, access: number, control: number): number {
  if (status === WALK.NOT_PRESENT) return pageFaultErrorCode(0, access, control);
  if (status === WALK.RESERVED) return pageFaultErrorCode(PFERR.P | PFERR.RSVD, access, control);
  return 0;
}
