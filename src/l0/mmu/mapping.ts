/**
 * Entering translations: tables on the way down from the root, each with the rights of the guest entries above it, then the
 * leaf. What a translation may be, fault.ts has found out before.
 */
import type { Gfn } from '../../arch/address.ts';
import { RIGHTS } from '../../arch/paging/format.ts';
import type { WalkResult } from '../../arch/paging/walker.ts';
import type { MemorySlot } from '../memslots.ts';
import type { MmuContext } from './context.ts';
import { gpteFrame } from './guest-tables.ts';
import { getShadowPage } from './lookup.ts';
import { isPrivate, roleAccess } from './role.ts';
import type { Roots } from './roots.ts';
import { NONE, type ShadowPage } from './shadow-page.ts';
import type { ShadowTables } from './shadow-tables.ts';
import { isLeaf, isPresent, leafHi, leafLo, MMIO_HI, mmioLo, SPTE } from './spte.ts';
import { guestTableWords, protectAndSync, syncChildren } from './sync.ts';
import { allowWrite, markParentsUnsync, WRITE_FOR, type WriteFor } from './unsync.ts';

/** No more than one new shadow page per level. */
const MOST_NEW_PAGES = 5;
/** Guest entries looked at around a fault: one cache line of 8-byte entries. */
const PREFETCH = 8;
const DIRECTORY_LEVEL = 2;

/** Result of entering a leaf. */
export const ENTERED = { CHANGED: 0, SAME: 1, PROTECTED: 2 } as const;
export type Entered = (typeof ENTERED)[keyof typeof ENTERED];

export class Mapper {
  readonly #tables: ShadowTables;
  readonly #context: MmuContext;
  readonly #roots: Roots;
  /** The guest's entries on the way to the page; of no meaning where there are none. */
  readonly #walk: WalkResult;
  readonly #indexBits: number;
  readonly #indexMask: number;
  /** A table was linked on the way to the leaf. */
  #linked = false;

  constructor(tables: ShadowTables, context: MmuContext, roots: Roots, walk: WalkResult) {
    this.#tables = tables;
    this.#context = context;
    this.#roots = roots;
    this.#walk = walk;
    this.#indexBits = tables.format.indexBits;
    this.#indexMask = tables.format.entries - 1;
  }

  #entryIndex(address: number, level: number): number {
    return (address >>> (12 + this.#indexBits * (level - 1))) & this.#indexMask;
  }

  /** Whether the reserved bit that the processor met is that of an MMIO entry, and no slot came or went since it was made. */
  isKnownMmio(address: number): boolean {
    const reference = this.leafReference(address);
    if (reference === NONE || !this.#tables.format.reservedBit) return false;
    const at = this.#tables.pool.wordOf(reference);
    const { u32 } = this.#tables.memory;
    return u32[at] === mmioLo(this.#tables.generation) && u32[at + 1] === MMIO_HI;
  }

  /** Reference of the level-1 SPTE of an address in the current root, NONE if there is no table for it. */
  leafReference(address: number): number {
    const directory = this.#roots.current.directoryOf(address);
    if (directory === null) return NONE;
    const table = this.#tables.childAt(directory, this.#entryIndex(address, DIRECTORY_LEVEL));
    return table === null ? NONE : table.reference(this.#entryIndex(address, 1));
  }

  /**
   * Enters the translation of `address` to guest frame `frame` in the current root: tables on the way down, each with the
   * rights of the guest entries above it, then the leaf.
   *
   * @param granted rights that the guest's entries give
   * @param rights  those that the leaf is to have: others, where CR0.WP = 0 makes a read-only page writable
   */
  map(address: number, frame: number, granted: number, rights: number, write: boolean): Entered {
    const tables = this.#tables;
    const { rules } = tables;
    const context = this.#context;
    const slot = tables.slots.find(frame);
    tables.makeRoom(MOST_NEW_PAGES);
    // A page that is only read stays protected if a table would have to go unsync for it.
    const purpose = write && rules.toleratesUnsync(context.kind) ? WRITE_FOR.FAULT : WRITE_FOR.PREFETCH;
    let page = this.#roots.load().directoryOf(address);
    if (page === null) return ENTERED.PROTECTED;
    this.#linked = false;
    if (isPrivate(page.role)) return this.#mapPrivate(page, address, frame, slot, rights, write, purpose);
    // Level of the guest's leaf: at it and below there are no guest tables to shadow.
    const guestLevel = context.direct ? DIRECTORY_LEVEL : Math.min(this.#walk.level, DIRECTORY_LEVEL);
    const large =
      guestLevel === DIRECTORY_LEVEL && slot !== undefined && tables.largePageAllowed(slot, frame);
    const leafLevel = large ? DIRECTORY_LEVEL : 1;
    for (let level = DIRECTORY_LEVEL; level > leafLevel; level -= 1) {
      const direct = level <= guestLevel;
      const childFrame = direct ? tables.blockStart(frame) : this.#walk.tableFrame(level - 1);
      if (!direct && tables.slots.find(childFrame) === undefined) return ENTERED.PROTECTED;
      const childRights = direct
        ? rules.splitAccess(this.#rightsAbove(level), granted, rights)
        : rules.tableAccess(this.#walk.levelRights[level], granted);
      page = this.#child(page, this.#entryIndex(address, level), childFrame as Gfn, direct, childRights);
    }
    const entry = this.#entryIndex(address, leafLevel);
    if (slot === undefined) return this.#enterMmio(page, entry, frame, rights);
    const first = large ? tables.blockStart(frame) : frame;
    const entered = this.#enterLeaf(page, entry, slot, first, rights, leafLevel, write, purpose);
    if (leafLevel === 1 && page.shadowsTable) this.#prefetch(page, entry);
    return this.#reached(entered);
  }

  /** A leaf that was there already may have been out of reach. */
  #reached(entered: Entered): Entered {
    return entered === ENTERED.SAME && this.#linked ? ENTERED.CHANGED : entered;
  }

  /**
   * Enters a translation in private tables: 4 KiB by 4 KiB, whatever L1 has. What was read for it is guarded first, so that a leaf
   * cannot be writable that maps one of those tables.
   */
  #mapPrivate(
    directory: ShadowPage,
    address: number,
    frame: number,
    slot: MemorySlot | undefined,
    rights: number,
    write: boolean,
    purpose: WriteFor,
  ): Entered {
    const tables = this.#tables;
    const walk = this.#walk;
    for (let level = walk.rootLevel; level >= walk.level; level -= 1) {
      tables.guards.guard(walk.tableFrame(level) as Gfn);
    }
    const at = this.#entryIndex(address, DIRECTORY_LEVEL);
    let page = tables.childAt(directory, at);
    if (page === null) {
      const role = tables.rules.childRole(directory.role, false, RIGHTS.ALL, at, tables.format);
      page = tables.create(tables.blockStart(address >>> 12) as Gfn, role);
      tables.link(directory, at, page);
      this.#linked = true;
    }
    const entry = this.#entryIndex(address, 1);
    if (slot === undefined) return this.#enterMmio(page, entry, frame, rights);
    return this.#reached(this.#enterLeaf(page, entry, slot, frame, rights, 1, write, purpose));
  }

  /** Rights of the guest entries above a level, none of them with paging off. */
  #rightsAbove(level: number): number {
    const root = this.#context.direct ? 0 : this.#walk.rootLevel;
    return level < root ? this.#walk.levelRights[level + 1] : RIGHTS.ALL;
  }

  /** The table behind an entry; another one, or a large page, gives way to it. */
  #child(page: ShadowPage, entry: number, frame: Gfn, direct: boolean, rights: number): ShadowPage {
    const tables = this.#tables;
    const role = tables.rules.childRole(page.role, direct, rights, entry, tables.format);
    const present = tables.childAt(page, entry);
    if (present !== null && tables.rules.childServes(present, frame, role)) {
      present.writeFlooding = 0;
      return present;
    }
    if (tables.drop(page, entry)) tables.requestFlush();
    const child = getShadowPage(tables, this.#context, frame, role);
    // A guest need not invalidate when it makes an absent entry present: what comes to be reachable must be in sync.
    if (child.unsync && !tables.rules.toleratesUnsync(this.#context.kind))
      protectAndSync(tables, this.#context, child);
    syncChildren(tables, this.#context, child);
    tables.link(page, entry, child);
    this.#linked = true;
    if (child.unsync || child.unsyncChildCount > 0) markParentsUnsync(tables, child);
    return child;
  }

  /**
   * Without a reserved bit to tell it by, the entry stays absent and each access walks. So it does for nested tables of L1, since
   * what they forbid L1 must hear of before anything is emulated.
   */
  #enterMmio(page: ShadowPage, entry: number, frame: number, rights: number): Entered {
    const tables = this.#tables;
    if (tables.drop(page, entry)) tables.requestFlush();
    if (!tables.format.reservedBit || this.#context.kind === 'nested') return ENTERED.PROTECTED;
    const reference = page.reference(entry);
    tables.pool.frames[reference] = frame;
    tables.pool.rights[reference] = rights;
    tables.write(page, entry, mmioLo(tables.generation), MMIO_HI);
    return ENTERED.PROTECTED;
  }

  #enterLeaf(
    page: ShadowPage,
    entry: number,
    slot: MemorySlot,
    frame: number,
    rights: number,
    level: number,
    write: boolean,
    purpose: WriteFor,
  ): Entered {
    const tables = this.#tables;
    const { u32 } = tables.memory;
    const at = page.wordOf(entry);
    const oldLo = u32[at];
    const oldHi = tables.pool.high(at);
    const same =
      isPresent(oldLo) && isLeaf(oldLo, level) && tables.pool.frames[page.reference(entry)] === frame;
    const mayWrite = (rights & RIGHTS.W) !== 0 && !slot.readOnly;
    const writable = mayWrite && allowWrite(tables, slot, frame, purpose);
    const address = slot.pfn(frame) * 4096;
    const lo = leafLo(address, level, rights, writable, !slot.readOnly);
    const hi = leafHi(address, rights, tables.format.nx);
    const outcome = write && !writable ? ENTERED.PROTECTED : ENTERED.CHANGED;
    if (!same) {
      if (tables.drop(page, entry)) tables.requestFlush();
      tables.setLeaf(page, entry, frame, rights, lo, hi);
      return outcome;
    }
    if (oldLo === lo && oldHi === hi) return outcome === ENTERED.PROTECTED ? outcome : ENTERED.SAME;
    if (allowsLess(oldLo, oldHi, lo, hi)) tables.requestFlush();
    tables.pool.rights[page.reference(entry)] = rights;
    tables.write(page, entry, lo, hi);
    return outcome;
  }

  /** Enters neighbours of a faulting page that the guest has used before. */
  #prefetch(page: ShadowPage, around: number): void {
    const tables = this.#tables;
    const { format } = this.#context;
    if (format === null) return;
    const { u32 } = tables.memory;
    const { rules } = tables;
    const guest = guestTableWords(tables, page);
    const first = around & ~(PREFETCH - 1);
    for (let entry = first; entry < first + PREFETCH; entry += 1) {
      const at = page.wordOf(entry);
      if (entry === around || (u32[at] | tables.pool.high(at)) !== 0) continue;
      const gpte = guest + (format.entrySize === 4 ? entry : entry * 2);
      const lo = u32[gpte];
      const hi = format.entrySize === 4 ? 0 : u32[gpte + 1];
      if (!rules.gpteUsable(format, lo, hi)) continue;
      const frame = gpteFrame(lo, hi);
      const slot = tables.slots.find(frame);
      if (slot === undefined) continue;
      const rights = rules.speculativeRights(format, roleAccess(page.role), lo, hi);
      this.#enterLeaf(page, entry, slot, frame, rights, 1, false, WRITE_FOR.PREFETCH);
      tables.statistics.prefetched += 1;
    }
  }
}

/** Whether the new leaf refuses anything that the old one allowed. */
function allowsLess(oldLo: number, oldHi: number, lo: number, hi: number): boolean {
  const flags = SPTE.W | SPTE.U;
  return (oldLo & flags & ~lo) !== 0 || (hi & ~oldHi) >>> 31 !== 0;
}
