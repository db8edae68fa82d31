/**
 * Bringing unsync shadow pages up to date: at INVLPG for one entry, at a CR3 load, a TLB flush or a nested transition for
 * all below a root, and before a page is linked or found again.
 */
import type { PagingFormat } from '../../arch/paging/format.ts';
import { RIGHTS } from '../../arch/paging/format.ts';
import type { MmuContext } from './context.ts';
import { gpteFrame } from './guest-tables.ts';
import { agreesWithRoot, has4ByteGpte, roleAccess, roleQuadrant } from './role.ts';
import type { ShadowPage } from './shadow-page.ts';
import { clearUnsyncChild, type ShadowTables } from './shadow-tables.ts';
import { isPresent, leafHi, leafLo, mmioLo, SPTE } from './spte.ts';
import { allowWrite, WRITE_FOR } from './unsync.ts';

/** What a sync did, in order of severity. */
export const SYNC = { UNCHANGED: 0, CHANGED: 1, FAILED: 2 } as const;
export type Sync = (typeof SYNC)[keyof typeof SYNC];

/** Index in HostMemory.u32 of the guest entry behind entry 0 of a level-1 shadow page. */
export function guestTableWords(tables: ShadowTables, page: ShadowPage): number {
  const table = tables.slotOf(page.gfn).pfn(page.gfn) * 4096;
  return (table >>> 2) + (has4ByteGpte(page.role) ? roleQuadrant(page.role) * page.entries : 0);
}

/**
 * Re-reads every guest entry behind a level-1 shadow page. FAILED: the page was made in another mode than the MMU is in, and
 * must be zapped.
 */
export function syncPage(tables: ShadowTables, context: MmuContext, page: ShadowPage): Sync {
  const { format } = context;
  if (format === null || !page.shadowsTable || !agreesWithRoot(page.role, context.rootRole))
    return SYNC.FAILED;
  tables.statistics.syncs += 1;
  if (tables.trace !== null) tables.trace.syncPage(page);
  const guest = guestTableWords(tables, page);
  const words = tables.memory.u32;
  let result: Sync = SYNC.UNCHANGED;
  for (let entry = 0; entry < page.entries; entry += 1) {
    const at = page.wordOf(entry);
    if ((words[at] | tables.pool.high(at)) === 0) continue;
    if (syncEntry(tables, format, page, entry, guest)) result = SYNC.CHANGED;
  }
  return result;
}

/**
 * Re-reads the guest entry behind one non-empty entry of a level-1 shadow page and makes the SPTE agree. True if it changed.
 *
 * @param guest from guestTableWords
 */
export function syncEntry(
  tables: ShadowTables,
  format: PagingFormat,
  page: ShadowPage,
  entry: number,
  guest: number,
): boolean {
  const words = tables.memory.u32;
  const gpte = guest + (format.entrySize === 4 ? entry : entry * 2);
  const lo = words[gpte];
  const hi = format.entrySize === 4 ? 0 : words[gpte + 1];
  const reference = page.reference(entry);
  const { frames, rights } = tables.pool;
  const { rules } = tables;
  if (!rules.gpteUsable(format, lo, hi) || gpteFrame(lo, hi) !== frames[reference])
    return tables.drop(page, entry);
  const now = rules.speculativeRights(format, roleAccess(page.role), lo, hi);
  const at = page.wordOf(entry);
  if (!isPresent(words[at])) {
    rights[reference] = now;
    tables.write(page, entry, mmioLo(tables.generation), tables.pool.high(at));
    return false;
  }
  if (now === rights[reference]) return false;
  return rebuildLeaf(tables, page, entry, now);
}

function rebuildLeaf(tables: ShadowTables, page: ShadowPage, entry: number, rights: number): boolean {
  const reference = page.reference(entry);
  const frame = tables.pool.frames[reference];
  const slot = tables.slotOf(frame);
  const wasWritable = (tables.memory.u32[page.wordOf(entry)] & SPTE.W) !== 0;
  const mayWrite = (rights & RIGHTS.W) !== 0 && !slot.readOnly;
  const writable = mayWrite && (wasWritable || allowWrite(tables, slot, frame, WRITE_FOR.SYNC));
  const address = slot.pfn(frame) * 4096;
  tables.pool.rights[reference] = rights;
  const lo = leafLo(address, 1, rights, writable, !slot.readOnly);
  tables.write(page, entry, lo, leafHi(address, rights, tables.format.nx));
  return true;
}

/**
 * Brings every unsync page below `root` up to date, after protecting its guest table again: from here on the first write
 * to it faults. Asks for a TLB flush where that, or a change, took something away.
 */
export function syncChildren(tables: ShadowTables, context: MmuContext, root: ShadowPage): void {
  if (root.unsyncChildCount === 0) return;
  for (let word = 0; word < root.unsyncChildren.length; word += 1) {
    if (root.unsyncChildren[word] === 0) continue;
    for (let entry = word * 32; entry < word * 32 + 32; entry += 1) {
      if ((root.unsyncChildren[word] & (1 << (entry & 31))) !== 0) syncChild(tables, context, root, entry);
    }
  }
}

function syncChild(tables: ShadowTables, context: MmuContext, parent: ShadowPage, entry: number): void {
  const child = tables.childAt(parent, entry);
  if (child !== null) {
    if (child.unsync) protectAndSync(tables, context, child);
    else if (child.unsyncChildCount > 0) syncChildren(tables, context, child);
  }
  clearUnsyncChild(parent, entry);
}

/** Protects the guest table of an unsync page again and brings the page up to date; one of another mode is zapped. */
export function protectAndSync(tables: ShadowTables, context: MmuContext, page: ShadowPage): void {
  const slot = tables.slotOf(page.gfn);
  if (tables.writeProtect(slot, page.gfn)) tables.requestFlush();
  page.unsync = false;
  const result = syncPage(tables, context, page);
  if (result === SYNC.FAILED) tables.zap(page);
  else if (result === SYNC.CHANGED) tables.requestFlush();
}
