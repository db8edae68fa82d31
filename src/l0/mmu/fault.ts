/**
 * Page faults of the guest under shadow tables: walk the guest's tables, judge the access as the guest's own processor would,
 * and either pass the fault on, or enter what is missing in the shadow tables, or have the instruction emulated.
 */
import type { Gfn } from '../../arch/address.ts';
import { ENTRY, type PagingFormat, RIGHTS } from '../../arch/paging/format.ts';
import { pdpteIndex } from '../../arch/paging/pae.ts';
import { ACCESS, accessAllowed, PAGING_CONTROL, pageFaultErrorCode } from '../../arch/paging/permissions.ts';
import { translate, WALK, WalkResult, type WalkStatus, walk } from '../../arch/paging/walker.ts';
import { PFERR } from '../../arch/registers.ts';
import type { MemorySlot } from '../memslots.ts';
import type { MmuContext } from './context.ts';
import { GuestTables, gpteFrame } from './guest-tables.ts';
import { getShadowPage } from './lookup.ts';
import { roleAccess } from './role.ts';
import type { Roots } from './roots.ts';
import { NONE, type ShadowPage, TABLE_ENTRIES } from './shadow-page.ts';
import { blockStart, type ShadowTables } from './shadow-tables.ts';
import { isLeaf, isPresent, leafHi, leafLo, MMIO_HI, mmioLo, SPTE } from './spte.ts';
import { guestTableWords, syncChildren } from './sync.ts';
import { allowWrite, markParentsUnsync, WRITE_FOR, type WriteFor } from './unsync.ts';

/** What the vCPU does after a fault. */
export const FAULT = {
  /** The shadow tables were mended: run the guest again. */
  RETRY: 0,
  /** It is the guest's: inject #PF with `errorCode`. */
  INJECT: 1,
  /** Run the one instruction in the emulator: a device, or a protected page table, is behind the address. */
  EMULATE: 2,
  /** The tables were right already: drop the processor's cached translation of the page and run again. */
  SPURIOUS: 3,
} as const;
export type FaultOutcome = (typeof FAULT)[keyof typeof FAULT];

/** No more than one new shadow page per level. */
const MOST_NEW_PAGES = 5;
/** Guest entries looked at around a fault: one cache line of 8-byte entries. */
const PREFETCH = 8;
const DIRECTORY_LEVEL = 2;

const entryIndex = (address: number, level: number): number =>
  (address >>> (12 + 9 * (level - 1))) & (TABLE_ENTRIES - 1);

/** Result of entering a leaf. */
const ENTERED = { CHANGED: 0, SAME: 1, PROTECTED: 2 } as const;
type Entered = (typeof ENTERED)[keyof typeof ENTERED];

export class FaultHandler {
  /** Of the last guest walk. */
  readonly walk = new WalkResult();
  /** Page-fault error code after INJECT, and after `translate` returned -1. */
  errorCode = 0;
  readonly #tables: ShadowTables;
  readonly #context: MmuContext;
  readonly #roots: Roots;
  readonly #guestTables: GuestTables;
  #rootLo = 0;
  #rootHi = 0;
  /** A table was linked on the way to the leaf. */
  #linked = false;

  constructor(tables: ShadowTables, context: MmuContext, roots: Roots) {
    this.#tables = tables;
    this.#context = context;
    this.#roots = roots;
    this.#guestTables = new GuestTables(tables.memory, tables.slots, tables.mmio, tables.rules);
  }

  /**
   * Guest-physical address behind a linear one, walked as the guest's processor would, A and D set. -1 if the access
   * faults.
   *
   * @param access ACCESS bits
   * @param alignmentCheck EFLAGS.AC, which lifts SMAP for explicit supervisor accesses
   */
  translate(address: number, access: number, alignmentCheck: boolean): number {
    const { format } = this.#context;
    if (format === null) return address;
    this.#chooseRoot(format, address);
    const control = this.#control(alignmentCheck);
    translate(
      format,
      this.#rootLo,
      this.#rootHi,
      address >>> 12,
      access,
      control,
      this.#guestTables,
      this.walk,
    );
    return this.#found(address, access);
  }

  /** The same without setting A or D: whether the access would fault. */
  probe(address: number, access: number, alignmentCheck: boolean): number {
    const { format } = this.#context;
    if (format === null) return address;
    this.#chooseRoot(format, address);
    const control = this.#control(alignmentCheck);
    const { walk: result } = this;
    const status = walk(format, this.#rootLo, this.#rootHi, address >>> 12, this.#guestTables, result);
    if (status === WALK.OK && !accessAllowed(result.rights, access, control)) result.status = WALK.DENIED;
    result.errorCode = walkErrorCode(result.status, access, control);
    return this.#found(address, access);
  }

  #control(alignmentCheck: boolean): number {
    return this.#context.control | (alignmentCheck ? PAGING_CONTROL.AC : 0);
  }

  /** CR3, or the cached PDPTE of the address. */
  #chooseRoot(format: PagingFormat, address: number): void {
    this.#guestTables.unbacked = false;
    const { pdptes, cr3 } = this.#context.registers;
    const index = format.rootIsEntry ? pdpteIndex(address >>> 12) * 2 : -1;
    this.#rootLo = index < 0 ? cr3 : pdptes[index];
    this.#rootHi = index < 0 ? 0 : pdptes[index + 1];
  }

  #found(address: number, access: number): number {
    const { walk: result } = this;
    const found = result.status === WALK.OK;
    if (this.#tables.trace !== null) this.#tables.trace.walk(address, access, result);
    if (found) return result.frame * 4096 + (address & 0xfff);
    this.errorCode = result.errorCode;
    return -1;
  }

  /**
   * A #PF exit.
   *
   * @param address   linear address (EXITINFO2)
   * @param errorCode as the processor reported it for the shadow tables (EXITINFO1)
   * @param cpl       of the guest; a supervisor access at CPL 3 is an implicit one
   */
  handle(address: number, errorCode: number, cpl: number, alignmentCheck: boolean): FaultOutcome {
    const { statistics } = this.#tables;
    statistics.faults += 1;
    if (this.#tables.trace !== null) this.#tables.trace.pageFault(address, errorCode);
    const outcome = this.#handle(address, errorCode, cpl, alignmentCheck);
    if (outcome === FAULT.INJECT) statistics.injected += 1;
    else if (outcome === FAULT.EMULATE) statistics.emulated += 1;
    else statistics.fixed += 1;
    return outcome;
  }

  #handle(address: number, errorCode: number, cpl: number, alignmentCheck: boolean): FaultOutcome {
    if ((errorCode & PFERR.RSVD) !== 0 && this.#isKnownMmio(address)) return FAULT.EMULATE;
    const context = this.#context;
    const user = (errorCode & PFERR.U) !== 0;
    const write = (errorCode & PFERR.W) !== 0;
    let access = errorCode & (PFERR.W | PFERR.U | PFERR.F);
    if (!user && cpl === 3) access |= ACCESS.IMPLICIT;

    if (this.translate(address, access, alignmentCheck) < 0) return FAULT.INJECT;
    if (this.#guestTables.unbacked && !context.direct) return FAULT.EMULATE;
    const frame = context.direct ? address >>> 12 : this.walk.frame;
    const { rules } = this.#tables;
    const granted: number = context.direct ? RIGHTS.ALL : this.#leafRights(write);
    let rights = granted;
    if (write && (granted & RIGHTS.W) === 0) {
      // Only CR0.WP = 0 lets a supervisor get here; the hardware runs with WP = 1.
      if (rules.emulatesWithoutWriteProtect(granted, context.control)) return FAULT.EMULATE;
      rights = rules.rightsWithoutWriteProtect(granted, context.control);
    }
    const entered = this.#map(address, frame, granted, rights, write);
    if (entered === ENTERED.PROTECTED) return FAULT.EMULATE;
    if (entered === ENTERED.CHANGED) return FAULT.RETRY;
    return this.#isImplicitSmapFault(access, rights) ? this.#denied(access) : FAULT.SPURIOUS;
  }

  /**
   * Nothing was missing and yet the processor faulted. With SMAP and EFLAGS.AC = 1 that was an implicit supervisor access, to a
   * descriptor in a user page, which AC does not lift (SDM vol. 3A 4.6.1); the error code cannot tell it.
   */
  #isImplicitSmapFault(access: number, rights: number): boolean {
    if ((access & (ACCESS.USER | ACCESS.FETCH)) !== 0) return false;
    return !accessAllowed(rights, access | ACCESS.IMPLICIT, this.#context.control);
  }

  #denied(access: number): FaultOutcome {
    this.errorCode = PFERR.P | (access & PFERR.W);
    return FAULT.INJECT;
  }

  /** Rights for a leaf SPTE after a walk for an access. A clean page stays read-only until the write that sets D. */
  #leafRights(write: boolean): number {
    const { walk } = this;
    const { format } = this.#context;
    const dirtyBit = format === null ? 0 : format.levels[walk.level].dirtyBit;
    const clean = !write && dirtyBit !== 0 && (walk.entryLo[walk.level] & ENTRY.D) === 0;
    return clean ? this.#tables.rules.rightsWhileClean(walk.rights) : walk.rights;
  }

  /** The reserved bit that the processor met is that of an MMIO entry, and no slot came or went since it was made. */
  #isKnownMmio(address: number): boolean {
    const reference = this.leafReference(address);
    if (reference === NONE) return false;
    const at = this.#tables.pool.wordOf(reference);
    const { u32 } = this.#tables.memory;
    return u32[at] === mmioLo(this.#tables.generation) && u32[at + 1] === MMIO_HI;
  }

  /** Reference of the level-1 SPTE of an address in the current root, NONE if there is no table for it. */
  leafReference(address: number): number {
    const directory = this.#roots.current.directories[address >>> 30];
    if (directory === null) return NONE;
    const table = this.#tables.childAt(directory, entryIndex(address, DIRECTORY_LEVEL));
    return table === null ? NONE : table.reference(entryIndex(address, 1));
  }

  // --- entering translations -----------------------------------------------------------------------------------

  /**
   * Enters the translation of `address` to guest frame `frame` in the current root: tables on the way down, each with the
   * rights of the guest entries above it, then the leaf.
   *
   * @param granted rights that the guest's entries give
   * @param rights  those that the leaf is to have: others, where CR0.WP = 0 makes a read-only page writable
   */
  #map(address: number, frame: number, granted: number, rights: number, write: boolean): Entered {
    const tables = this.#tables;
    const { rules } = tables;
    const context = this.#context;
    const slot = tables.slots.find(frame);
    tables.makeRoom(MOST_NEW_PAGES);
    let page = this.#roots.load().directories[address >>> 30];
    if (page === null) return ENTERED.PROTECTED;
    // Level of the guest's leaf: at it and below there are no guest tables to shadow.
    const guestLevel = context.direct ? DIRECTORY_LEVEL : Math.min(this.walk.level, DIRECTORY_LEVEL);
    const large =
      guestLevel === DIRECTORY_LEVEL && slot !== undefined && tables.largePageAllowed(slot, frame);
    const leafLevel = large ? DIRECTORY_LEVEL : 1;
    this.#linked = false;
    for (let level = DIRECTORY_LEVEL; level > leafLevel; level -= 1) {
      const direct = level <= guestLevel;
      const childFrame = direct ? blockStart(frame) : this.walk.tableFrame(level - 1);
      if (!direct && tables.slots.find(childFrame) === undefined) return ENTERED.PROTECTED;
      const childRights = direct
        ? rules.splitAccess(this.#rightsAbove(level), granted, rights)
        : rules.tableAccess(this.walk.levelRights[level], granted);
      page = this.#child(page, entryIndex(address, level), childFrame as Gfn, direct, childRights);
    }
    const entry = entryIndex(address, leafLevel);
    if (slot === undefined) return this.#enterMmio(page, entry, frame, rights);
    const first = large ? blockStart(frame) : frame;
    // A page that is only read stays protected if a table would have to go unsync for it.
    const purpose = write ? WRITE_FOR.FAULT : WRITE_FOR.PREFETCH;
    const entered = this.#enterLeaf(page, entry, slot, first, rights, leafLevel, write, purpose);
    if (leafLevel === 1 && !page.direct) this.#prefetch(page, entry);
    // A leaf that was there already may have been out of reach.
    return entered === ENTERED.SAME && this.#linked ? ENTERED.CHANGED : entered;
  }

  /** Rights of the guest entries above a level, none of them with paging off. */
  #rightsAbove(level: number): number {
    const root = this.#context.format?.rootLevel ?? 0;
    return level < root ? this.walk.levelRights[level + 1] : RIGHTS.ALL;
  }

  /** The table behind an entry; another one, or a large page, gives way to it. */
  #child(page: ShadowPage, entry: number, frame: Gfn, direct: boolean, rights: number): ShadowPage {
    const tables = this.#tables;
    const role = tables.rules.childRole(page.role, direct, rights, entry);
    const present = tables.childAt(page, entry);
    if (present !== null && tables.rules.childServes(present, frame, role)) {
      present.writeFlooding = 0;
      return present;
    }
    if (tables.drop(page, entry)) tables.requestFlush();
    const child = getShadowPage(tables, this.#context, frame, role);
    // A guest need not invalidate when it makes an absent entry present: what comes to be reachable must be in sync.
    syncChildren(tables, this.#context, child);
    tables.link(page, entry, child);
    this.#linked = true;
    if (child.unsync || child.unsyncChildCount > 0) markParentsUnsync(tables, child);
    return child;
  }

  #enterMmio(page: ShadowPage, entry: number, frame: number, rights: number): Entered {
    const tables = this.#tables;
    if (tables.drop(page, entry)) tables.requestFlush();
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
    const at = page.words + entry * 2;
    const oldLo = u32[at];
    const oldHi = u32[at + 1];
    const same =
      isPresent(oldLo) && isLeaf(oldLo, level) && tables.pool.frames[page.reference(entry)] === frame;
    const mayWrite = (rights & RIGHTS.W) !== 0 && !slot.readOnly;
    const writable = mayWrite && allowWrite(tables, slot, frame, purpose);
    const address = slot.pfn(frame) * 4096;
    const lo = leafLo(address, level, rights, writable, !slot.readOnly);
    const hi = leafHi(address, rights);
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
      const at = page.words + entry * 2;
      if (entry === around || (u32[at] | u32[at + 1]) !== 0) continue;
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

/** Error code of a walk that judged an access without making it. */
function walkErrorCode(status: WalkStatus, access: number, control: number): number {
  if (status === WALK.OK) return 0;
  const present = status === WALK.NOT_PRESENT ? 0 : PFERR.P;
  return pageFaultErrorCode(present | (status === WALK.RESERVED ? PFERR.RSVD : 0), access, control);
}

/** Whether the new leaf refuses anything that the old one allowed. */
function allowsLess(oldLo: number, oldHi: number, lo: number, hi: number): boolean {
  const flags = SPTE.W | SPTE.U;
  return (oldLo & flags & ~lo) !== 0 || (hi & ~oldHi) >>> 31 !== 0;
}
