/**
 * Unsync shadow pages. A guest may write to its level-1 tables without an exit, because the architecture does not promise
 * that a changed entry takes effect before the translation is invalidated (SDM vol. 3A 4.10.4, APM vol. 2 5.5.2): the shadow
 * page is marked unsync, and brought up to date when the guest invalidates. So that those moments find it, every table
 * above it knows which of its entries lead to unsync pages.
 */
import type { Gfn } from '../../arch/address.ts';
import type { MemorySlot } from '../memslots.ts';
import { NONE, type ShadowPage } from './shadow-page.ts';
import { type ShadowTables, setUnsyncChild } from './shadow-tables.ts';

/** Tells all tables above a page that it is unsync, or has unsync pages below it. */
export function markParentsUnsync(tables: ShadowTables, page: ShadowPage): void {
  const { pool } = tables;
  for (let reference = pool.parents[page.index]; reference !== NONE; reference = pool.next[reference]) {
    const parent = pool.owner(reference);
    const first = parent.unsyncChildCount === 0;
    if (setUnsyncChild(parent, pool.entryOf(reference)) && first) markParentsUnsync(tables, parent);
  }
}

/** Whom a new writable SPTE would serve: a fault that may unsync tables, a guess, or a sync, which must not. */
export const WRITE_FOR = { FAULT: 0, PREFETCH: 1, SYNC: 2 } as const;
export type WriteFor = (typeof WRITE_FOR)[keyof typeof WRITE_FOR];

/**
 * Whether an SPTE may map the frame writable. If the frame holds shadowed level-1 tables only and a fault asks, they become
 * unsync, all of them, before W is set. Upper levels are always protected: an unsync directory could lead the
 * processor into tables that the guest gave up long ago.
 */
export function allowWrite(
  tables: ShadowTables,
  slot: MemorySlot,
  frame: number,
  purpose: WriteFor,
): boolean {
  const at = slot.index(frame);
  if (slot.shadowed[at] === 0) return true;
  if (slot.writeTracked[at] !== 0) return false;
  const guarded = tables.guards.has(frame);
  if (guarded && purpose !== WRITE_FOR.FAULT) return false;
  for (let page = tables.bucket(frame as Gfn); page !== null; page = page.hashNext) {
    if (page.gfn !== frame || !page.shadowsTable || page.unsync) continue;
    if (purpose !== WRITE_FOR.FAULT) return false;
    page.unsync = true;
    tables.statistics.unsyncs += 1;
    if (tables.trace !== null) tables.trace.unsyncPage(page);
    markParentsUnsync(tables, page);
  }
  if (guarded) tables.guards.lift();
  return true;
}
