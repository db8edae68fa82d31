/**
 * Writes to guest tables that are shadowed. A direct write faults (write protection) and is emulated; this is what the
 * emulated one, and any other that L0 makes on the guest's behalf, must then undo in the shadow tables.
 */
import type { Gfn } from '../../arch/address.ts';
import { has4ByteGpte, roleLevel } from './role.ts';
import type { ShadowPage } from './shadow-page.ts';
import type { ShadowTables } from './shadow-tables.ts';

/** Writes without use after which a page is taken to be a table no longer. */
const FLOODING_LIMIT = 3;
const PAGE = 4096;

/**
 * To be called after `bytes` bytes at guest-physical `address`, in one page, were written. SPTEs made from the entries
 * written are emptied; the next access walks again.
 */
export function trackWrite(tables: ShadowTables, address: number, bytes: number): void {
  const frame = Math.floor(address / PAGE) as Gfn;
  const slot = tables.slots.find(frame);
  if (slot === undefined || slot.shadowed[slot.index(frame)] === 0) return;
  if (tables.guards.has(frame)) tables.guards.lift();
  const offset = address % PAGE;
  let next: ShadowPage | null;
  let flush = false;
  for (let page = tables.bucket(frame); page !== null; page = next) {
    next = page.hashNext;
    if (page.gfn !== frame || !page.shadowsTable) continue;
    if (isNoTableWrite(page, offset, bytes) || isFlooded(page)) {
      tables.zap(page);
      tables.statistics.floodings += 1;
      // Zapping may have taken along others of this bucket: start over.
      next = tables.bucket(frame);
    } else if (dropWritten(tables, page, offset)) flush = true;
  }
  if (flush) tables.requestFlush();
}

/**
 * A write that is no store of one whole entry: the page has most likely become data. Single aligned bytes are let pass,
 * because systems do set the low byte of an entry that way.
 */
function isNoTableWrite(page: ShadowPage, offset: number, bytes: number): boolean {
  const entrySize = has4ByteGpte(page.role) ? 4 : 8;
  if (bytes === 1 && offset % entrySize === 0) return false;
  const crosses = Math.floor(offset / entrySize) !== Math.floor((offset + bytes - 1) / entrySize);
  return crosses || bytes < 4;
}

function isFlooded(page: ShadowPage): boolean {
  if (roleLevel(page.role) === 1) return false;
  page.writeFlooding += 1;
  return page.writeFlooding >= FLOODING_LIMIT;
}

/** Empties the SPTEs of the guest entry at `offset`. True if the processor may have cached one. */
function dropWritten(tables: ShadowTables, page: ShadowPage, offset: number): boolean {
  const { rules, format } = tables;
  const entry = rules.spteBehind(page.role, offset, format);
  if (entry < 0) return false;
  const first = tables.drop(page, entry);
  return (rules.sptesPerEntry(page.role, format) === 2 && tables.drop(page, entry + 1)) || first;
}
