/**
 * The shadow tables of a VM: shadow pages under their key (gfn, role), the links between them, and the reverse maps from
 * guest frames to the SPTEs that map them. Whoever changes an SPTE so that it allows less asks for a TLB flush here; the
 * flush happens with the next VMRUN of every ASID (asid.ts), before any guest instruction.
 */
import type { Gfn } from '../../arch/address.ts';
import type { MmioBus } from '../../cpu/physical-memory.ts';
import type { HostMemory } from '../hardware.ts';
import type { MemorySlot, MemorySlots } from '../memslots.ts';
import type { HostPages } from '../pages.ts';
import type { Rules } from '../rules.ts';
import type { MmuStatistics } from '../statistics.ts';
import type { TraceSink } from '../trace.ts';
import { TableGuards } from './guards.ts';
import { invalidated, isPrivate, type PageRole, roleLevel } from './role.ts';
import { NONE, type ShadowPage, ShadowPagePool } from './shadow-page.ts';
import { isLeaf, isPresent, SPTE, spteAddress, tableLo } from './spte.ts';
import { SHADOW_FORMAT, type TableFormat } from './table-format.ts';

const HASH_BUCKETS = 4096;

export class ShadowTables {
  readonly memory: HostMemory;
  readonly slots: MemorySlots;
  /** What is behind guest frames in no slot. */
  readonly mmio: MmioBus;
  readonly pool: ShadowPagePool;
  readonly statistics: MmuStatistics;
  readonly rules: Rules;
  /** Of all tables that L0 makes for this VM. */
  readonly format: TableFormat;
  readonly guards: TableGuards;
  trace: TraceSink | null = null;
  /** Counts changes of the memory slots. Shadow pages and MMIO entries of an older generation are obsolete. */
  generation = 0;
  /** Counts requests to flush the TLB; an ASID that was flushed at an older count must be flushed again. */
  flushEpoch = 0;
  /** Counts zaps of pages that roots use; a vCPU that saw an older count looks through its roots. */
  rootEpoch = 0;
  readonly #words: Uint32Array;
  readonly #buckets: (ShadowPage | null)[] = new Array<ShadowPage | null>(HASH_BUCKETS).fill(null);

  constructor(
    memory: HostMemory,
    hostPages: HostPages,
    slots: MemorySlots,
    mmio: MmioBus,
    limit: number,
    statistics: MmuStatistics,
    rules: Rules,
    format: TableFormat = SHADOW_FORMAT,
  ) {
    this.memory = memory;
    this.slots = slots;
    this.mmio = mmio;
    this.statistics = statistics;
    this.rules = rules;
    this.format = format;
    this.#words = memory.u32;
    this.pool = new ShadowPagePool(memory, hostPages, limit, format);
    this.guards = new TableGuards(this);
  }

  requestFlush(): void {
    this.flushEpoch += 1;
  }

  // --- finding and making shadow pages -------------------------------------------------------------------------

  /** First shadow page in the bucket of a frame; follow `hashNext` and compare gfn. Invalid pages are not in it. */
  bucket(frame: Gfn): ShadowPage | null {
    return this.#buckets[frame % HASH_BUCKETS];
  }

  /** Makes a shadow page. For a guest table this protects the frame from direct writes. */
  create(frame: Gfn, role: PageRole): ShadowPage {
    const page = this.pool.take(frame, role, this.generation);
    if (!isPrivate(role)) {
      const at = frame % HASH_BUCKETS;
      page.hashNext = this.#buckets[at];
      this.#buckets[at] = page;
    }
    if (page.shadowsTable) this.#account(page);
    this.statistics.shadowPagesCreated += 1;
    this.statistics.shadowPages = this.pool.used;
    if (this.trace !== null) this.trace.getPage(page, true);
    return page;
  }

  #unhash(page: ShadowPage): void {
    if (isPrivate(page.role)) return;
    const at = page.gfn % HASH_BUCKETS;
    let link = this.#buckets[at];
    if (link === page) {
      this.#buckets[at] = page.hashNext;
      return;
    }
    while (link !== null && link.hashNext !== page) link = link.hashNext;
    if (link !== null) link.hashNext = page.hashNext;
  }

  /** A guest table is shadowed from now on: writes to it must be seen, and no large page may cover it. */
  #account(page: ShadowPage): void {
    const slot = this.slotOf(page.gfn);
    slot.shadowed[slot.index(page.gfn)] += 1;
    const level = roleLevel(page.role);
    if (!this.rules.mayGoUnsync(level)) slot.writeTracked[slot.index(page.gfn)] += 1;
    slot.disallowLarge[slot.block(page.gfn)] += 1;
    if (this.rules.protectsTable(level) && this.writeProtect(slot, page.gfn)) this.requestFlush();
  }

  #unaccount(page: ShadowPage): void {
    const slot = this.slotOf(page.gfn);
    slot.shadowed[slot.index(page.gfn)] -= 1;
    if (!this.rules.mayGoUnsync(roleLevel(page.role))) slot.writeTracked[slot.index(page.gfn)] -= 1;
    slot.disallowLarge[slot.block(page.gfn)] -= 1;
  }

  /** Slot of a frame that shadow pages or leaves refer to: they are zapped before their slot goes. */
  slotOf(frame: Gfn | number): MemorySlot {
    const slot = this.slots.find(frame);
    if (slot === undefined)
      throw new Error(`Frame 0x${frame.toString(16)} is in use by the shadow MMU but in no slot.`);
    return slot;
  }

  // --- entries -------------------------------------------------------------------------------------------------

  /** Points an empty entry to a child table. */
  link(parent: ShadowPage, entry: number, child: ShadowPage): void {
    this.pool.store(parent.wordOf(entry), tableLo(child.address), 0);
    this.pool.insert(this.pool.parents, child.index, parent.reference(entry));
    if (this.trace !== null) this.trace.linkPage(parent, entry, child);
  }

  /** Enters a leaf in an empty entry. `frame` is the first guest frame that it maps, `rights` what it was made from. */
  setLeaf(page: ShadowPage, entry: number, frame: number, rights: number, lo: number, hi: number): void {
    const reference = page.reference(entry);
    const slot = this.slotOf(frame);
    this.pool.frames[reference] = frame;
    this.pool.rights[reference] = rights;
    if ((lo & SPTE.PS) !== 0) this.pool.insert(slot.largeRmap, slot.block(frame), reference);
    else this.pool.insert(slot.rmap, slot.index(frame), reference);
    this.write(page, entry, lo, hi);
  }

  /** Stores the halves of an entry; list membership is the caller's business. */
  write(page: ShadowPage, entry: number, lo: number, hi: number): void {
    this.pool.store(page.wordOf(entry), lo, hi);
    if (this.trace !== null)
      this.trace.setSpte(page, entry, this.#mappedFrame(page.reference(entry), lo), lo, hi);
  }

  #mappedFrame(reference: number, lo: number): number {
    return isPresent(lo) ? this.pool.frames[reference] : NONE;
  }

  /** Empties an entry of any kind. True if the processor may have cached something of it. */
  drop(page: ShadowPage, entry: number): boolean {
    const at = page.wordOf(entry);
    const lo = this.#words[at];
    const hi = this.pool.high(at);
    if ((lo | hi) === 0) return false;
    if (isPresent(lo)) this.#unlist(page, entry, lo, hi);
    this.pool.store(at, 0, 0);
    if (this.trace !== null) this.trace.dropSpte(page, entry);
    return true;
  }

  #unlist(page: ShadowPage, entry: number, lo: number, hi: number): void {
    const reference = page.reference(entry);
    if (!isLeaf(lo, roleLevel(page.role))) {
      this.pool.remove(this.pool.parents, this.pool.at(spteAddress(lo, hi)).index, reference);
      clearUnsyncChild(page, entry);
      return;
    }
    const frame = this.pool.frames[reference];
    const slot = this.slotOf(frame);
    if ((lo & SPTE.PS) !== 0) this.pool.remove(slot.largeRmap, slot.block(frame), reference);
    else this.pool.remove(slot.rmap, slot.index(frame), reference);
  }

  // --- reverse maps --------------------------------------------------------------------------------------------

  /** Takes W from every leaf that maps the frame, large ones too. True if one had it. */
  writeProtect(slot: MemorySlot, frame: Gfn): boolean {
    const small = this.#writeProtectList(slot.rmap[slot.index(frame)]);
    const large = this.#writeProtectList(slot.largeRmap[slot.block(frame)]);
    return small || large;
  }

  #writeProtectList(head: number): boolean {
    let changed = false;
    for (let reference = head; reference !== NONE; reference = this.pool.next[reference]) {
      const at = this.pool.wordOf(reference);
      if ((this.#words[at] & SPTE.W) === 0) continue;
      this.#words[at] &= ~SPTE.W;
      changed = true;
      if (this.trace !== null) {
        this.trace.setSpte(
          this.pool.owner(reference),
          this.pool.entryOf(reference),
          this.#mappedFrame(reference, this.#words[at]),
          this.#words[at],
          this.pool.high(at),
        );
      }
    }
    return changed;
  }

  /** Empties every leaf that maps the frame. True if there was one. */
  unmap(slot: MemorySlot, frame: Gfn): boolean {
    const small = this.#unmapList(slot.rmap, slot.index(frame));
    const large = this.#unmapList(slot.largeRmap, slot.block(frame));
    return small || large;
  }

  #unmapList(heads: Int32Array, at: number): boolean {
    let changed = false;
    while (heads[at] !== NONE) {
      const reference = heads[at];
      this.drop(this.pool.owner(reference), this.pool.entryOf(reference));
      changed = true;
    }
    return changed;
  }

  // --- zapping -------------------------------------------------------------------------------------------------

  /**
   * Removes a shadow page: its entries, the entries that point to it, its key. A page that a root uses stays, invalid and
   * empty, until that root is freed. Unsync pages below it go too, for no root would ever lead a sync to them.
   */
  zap(page: ShadowPage): void {
    this.#zapUnsyncChildren(page);
    for (let entry = 0; entry < page.entries; entry += 1) this.drop(page, entry);
    this.#unlinkParents(page);
    this.statistics.zaps += 1;
    if (this.trace !== null) this.trace.zapPage(page);
    if (!page.invalid) {
      if (page.shadowsTable) this.#unaccount(page);
      this.#unhash(page);
    }
    page.unsync = false;
    this.requestFlush();
    if (page.rootCount === 0) this.#free(page);
    else {
      page.role = invalidated(page.role);
      this.rootEpoch += 1;
    }
  }

  #zapUnsyncChildren(page: ShadowPage): void {
    if (page.unsyncChildCount === 0) return;
    for (let entry = 0; entry < page.entries; entry += 1) {
      if ((page.unsyncChildren[entry >>> 5] & (1 << (entry & 31))) === 0) continue;
      const child = this.childAt(page, entry);
      if (child === null) clearUnsyncChild(page, entry);
      else if (child.unsync) this.zap(child);
      else this.#zapUnsyncChildren(child);
    }
  }

  #unlinkParents(page: ShadowPage): void {
    for (;;) {
      const reference = this.pool.parents[page.index];
      if (reference === NONE) return;
      this.drop(this.pool.owner(reference), this.pool.entryOf(reference));
    }
  }

  #free(page: ShadowPage): void {
    this.pool.give(page);
    this.statistics.shadowPages = this.pool.used;
  }

  /** Takes everything out of a private directory, tables below it included. */
  emptyPrivate(directory: ShadowPage): void {
    for (let entry = 0; entry < directory.entries; entry += 1) {
      const child = this.childAt(directory, entry);
      if (child !== null) this.zap(child);
    }
  }

  /** Child table behind an entry, null if it is empty or a leaf. */
  childAt(page: ShadowPage, entry: number): ShadowPage | null {
    const at = page.wordOf(entry);
    const lo = this.#words[at];
    if (!isPresent(lo) || isLeaf(lo, roleLevel(page.role))) return null;
    return this.pool.at(spteAddress(lo, this.pool.high(at)));
  }

  /** A root lets go of a page. */
  releaseRoot(page: ShadowPage): void {
    page.rootCount -= 1;
    if (page.rootCount === 0 && page.invalid) this.#free(page);
  }

  /** Evicts the oldest pages until `count` are free. Pages in use by roots stay. */
  makeRoom(count: number): void {
    let page = this.pool.oldest;
    while (this.pool.available < count && page !== null) {
      const victim: ShadowPage = page;
      page = page.younger;
      if (victim.rootCount > 0) continue;
      this.zap(victim);
      this.statistics.evictions += 1;
      // Zapping may have taken neighbours along (unsync children): start over from what is oldest now.
      page = this.pool.oldest;
    }
  }

  /** Memory came where there was none: MMIO entries and roots of the older generation are obsolete. */
  slotsGrew(): void {
    this.generation += 1;
    this.rootEpoch += 1;
  }

  /** Zaps everything: a memory slot goes, or the meaning of guest entries changed (CPUID). */
  zapAll(): void {
    this.generation += 1;
    this.rootEpoch += 1;
    this.guards.lift();
    let page = this.pool.oldest;
    while (page !== null) {
      if (page.invalid) page = page.younger;
      else {
        this.zap(page);
        page = this.pool.oldest;
      }
    }
    this.requestFlush();
  }

  /** Zaps the shadow pages of a guest table, so that it can be written like any other page. True if there was one. */
  unshadow(frame: Gfn): boolean {
    let found = false;
    for (;;) {
      const page = this.#indirectPageOf(frame);
      if (page === null) return found;
      this.zap(page);
      found = true;
    }
  }

  #indirectPageOf(frame: Gfn): ShadowPage | null {
    for (let page = this.bucket(frame); page !== null; page = page.hashNext) {
      if (page.gfn === frame && page.shadowsTable) return page;
    }
    return null;
  }

  /** First frame of the block around a frame that a large page would map. */
  blockStart(frame: number): number {
    return frame - (frame % this.format.entries);
  }

  /** Whether a leaf of level 2 may map the block of a frame. */
  largePageAllowed(slot: MemorySlot, frame: number): boolean {
    return this.format.largePages && this.rules.mayMapLarge(slot.disallowLarge[slot.block(frame)]);
  }
}

/** Takes an entry out of the bitmap of unsync children. */
export function clearUnsyncChild(page: ShadowPage, entry: number): void {
  const bit = 1 << (entry & 31);
  if ((page.unsyncChildren[entry >>> 5] & bit) === 0) return;
  page.unsyncChildren[entry >>> 5] &= ~bit;
  page.unsyncChildCount -= 1;
}

/** Enters it. True if it was not there. */
export function setUnsyncChild(page: ShadowPage, entry: number): boolean {
  const bit = 1 << (entry & 31);
  if ((page.unsyncChildren[entry >>> 5] & bit) !== 0) return false;
  page.unsyncChildren[entry >>> 5] |= bit;
  page.unsyncChildCount += 1;
  return true;
}
