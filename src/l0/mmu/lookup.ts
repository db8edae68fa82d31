/** Finding the shadow page for a guest table in a role, or making it. */
import type { Gfn } from '../../arch/address.ts';
import type { MmuContext } from './context.ts';
import { type PageRole, roleLevel } from './role.ts';
import type { ShadowPage } from './shadow-page.ts';
import type { ShadowTables } from './shadow-tables.ts';
import { SYNC, syncPage } from './sync.ts';

/**
 * The shadow page under the key (frame, role). For a guest table, `frame` must lie in a slot; a direct page starts at any.
 * The caller has made room for one new page. An unsync page is brought up to date, but stays unsync and its table writable:
 * that costs no exits until the guest invalidates.
 */
export function getShadowPage(
  tables: ShadowTables,
  context: MmuContext,
  frame: Gfn,
  role: PageRole,
): ShadowPage {
  const upper = roleLevel(role) > 1;
  let next: ShadowPage | null;
  for (let page = tables.bucket(frame); page !== null; page = next) {
    next = page.hashNext;
    if (page.gfn !== frame) continue;
    if (page.role !== role) {
      // A frame becomes an upper-level table: it will be protected, which an unsync page of it contradicts. The
      // guest has most likely put the page to another use.
      if (upper && page.unsync) tables.zap(page);
      continue;
    }
    if (tables.rules.syncsBeforeLink(page) && !syncTransiently(tables, context, page)) break;
    page.writeFlooding = 0;
    if (tables.trace !== null) tables.trace.getPage(page, false);
    return page;
  }
  return tables.create(frame, role);
}

function syncTransiently(tables: ShadowTables, context: MmuContext, page: ShadowPage): boolean {
  const result = syncPage(tables, context, page);
  if (result === SYNC.FAILED) {
    tables.zap(page);
    return false;
  }
  if (result === SYNC.CHANGED) tables.requestFlush();
  return true;
}
