import { CR4, has } from './bits.ts';
import { currentPcid } from './cpu.ts';
import { type Epoch, epochs } from './epochs.ts';
import { ALL_RIGHTS, type Page, type Rights, SIZE_4K } from './formats/entry.ts';
import { firstEntry } from './formats/formats.ts';
import type { NestedTables } from './nested-tables.ts';
import {
  type CachedPage,
  cachedChains,
  type Root,
  rightsKey,
  type Tables,
  type Walk,
  walkKind,
  walksNow,
} from './table-search.ts';
import type { Context, Flush, Timeline } from './timeline.ts';

/** A translation that may sit in a TLB: from a linear to a system-physical address. */
export interface CachedTranslation {
  readonly address: bigint;
  /** The page of the tables that linear addresses are translated by. */
  readonly page: Page;
  readonly rights: Rights;
  /** Rights of the nested tables; null if it was cached without nested paging. */
  readonly nested: Rights | null;
  readonly dirty: boolean;
}

/** The page of a linear address without paging: under nested paging such addresses are translated and cached too. */
export const identityPage = (gva: bigint): Page => ({
  address: gva,
  size: SIZE_4K,
  global: false,
  protectionKey: 0,
});

const tablesOf = (timeline: Timeline, second: NestedTables | null): Tables => ({
  timeline,
  second,
  contexts: (from, last) => timeline.contexts(timeline.asid, from, last),
});

/**
 * All walks that end in an entry read now: from the current root, which comes first, or on from a cached upper-level
 * entry. The address is canonical; without paging the walk reads nothing.
 */
export function walksOf(timeline: Timeline, nested: NestedTables, gva: bigint): Walk[] {
  const { walking, host, asid } = timeline;
  const start = firstEntry(walking, gva);
  const unread = { read: [], leaf: null, rights: ALL_RIGHTS, upperCached: false, nestedCached: false };
  if (start.kind === 'identity') return [{ ...unread, end: { kind: 'page', page: identityPage(gva) } }];

  const pcid = currentPcid(walking);
  const epoch = epochs(timeline, gva, pcid, timeline.now).at(-1)!;
  const kind = walkKind({ cpu: walking, host });
  const roots = timeline
    .contexts(asid, epoch.from, epoch.last)
    .filter((context) => currentPcid(context.cpu) === pcid && walkKind(context) === kind)
    .flatMap((context) => rootOf(context, gva));
  const tables = tablesOf(timeline, host === null ? null : nested);
  const { uppers } = cachedChains(tables, gva, epoch, roots);
  const first = start.kind === 'entry' ? start.place : null;
  const walks = walksNow(tables, walking, gva, first, uppers);
  return first === null ? [{ ...unread, end: { kind: 'absent' } }, ...walks] : walks;
}

/** Translations of `gva` that may still be cached for the current address space. */
export function cachedTranslations(
  timeline: Timeline,
  nested: NestedTables,
  gva: bigint,
): CachedTranslation[] {
  const { cpu, asid } = timeline;
  const tables = tablesOf(timeline, nested);
  const found = new Map<string, CachedTranslation>();
  for (const pcid of timeline.pcids(asid)) {
    const flushes = timeline.flushes(asid, pcid);
    const sinceAny = lastFlushOf(gva, true, flushes);
    const sinceNonGlobal = lastFlushOf(gva, false, flushes);
    for (const epoch of epochs(timeline, gva, pcid, sinceAny)) {
      const contexts = timeline
        .contexts(asid, epoch.from, epoch.last)
        .filter((context) => currentPcid(context.cpu) === pcid)
        .filter((context) => epoch.last >= sinceNonGlobal || has(context.cpu.cr4, CR4.PGE));
      const roots = contexts.flatMap((context) => rootOf(context, gva));
      const pages = [
        ...cachedChains(tables, gva, epoch, roots).pages,
        ...contexts.flatMap((context) => unpaged(context, gva)),
      ];
      for (const page of pages) {
        if (pcid !== currentPcid(cpu) && !page.global) continue;
        if (!survives(page.page.size, page.global, page.last, gva, flushes)) continue;
        for (const hit of combined(page, nested, epoch)) found.set(hitKey(hit), hit);
      }
    }
  }
  return [...found.values()];
}

function rootOf(context: Context, gva: bigint): Root[] {
  const start = firstEntry(context.cpu, gva);
  return start.kind === 'entry' ? [{ place: start.place, context }] : [];
}

/** What a guest without paging caches under nested paging. */
function unpaged({ cpu, host, from, last }: Context, gva: bigint): CachedPage[] {
  if (host === null || firstEntry(cpu, gva).kind !== 'identity') return [];
  const page = identityPage(gva);
  const always = { rights: ALL_RIGHTS, dirty: true, overwritten: false, global: false };
  return [{ ...always, page, from, last, twoStage: true }];
}

/** A cached page with each nested translation that it may have been combined with. */
function combined(
  { page, rights, dirty, last, twoStage }: CachedPage,
  nested: NestedTables,
  epoch: Epoch,
): CachedTranslation[] {
  if (!twoStage) return [{ address: page.address, page, rights, nested: null, dirty }];
  return nested
    .translations(page.address, epoch)
    .filter((translation) => translation.from <= last)
    .map((translation) => ({
      address: translation.address,
      page,
      rights,
      nested: translation.rights,
      dirty: dirty && translation.dirty,
    }));
}

const hitKey = ({ address, page, rights, nested, dirty }: CachedTranslation): string =>
  [address, page.size, page.protectionKey, dirty, rightsKey(rights), nested && rightsKey(nested)].join(' ');

/** Step of the last flush that drops every translation of `gva`, of any page size; 0 if there was none. */
function lastFlushOf(gva: bigint, global: boolean, flushes: readonly Flush[]): number {
  const drops = ({ what }: Flush): boolean =>
    what.kind === 'page' ? what.linear >> 12n === gva >> 12n : what.kind === 'all' || !global;
  return flushes.findLast(drops)?.step ?? 0;
}

/** Whether no invalidation since step `installed` covers the translation (SDM vol. 3A 4.10.4.1, APM vol. 2 5.5.3). */
function survives(
  size: number,
  global: boolean,
  installed: number,
  gva: bigint,
  flushes: readonly Flush[],
): boolean {
  return flushes.every(({ step, what }) => {
    if (step <= installed) return true;
    if (what.kind === 'all') return false;
    if (what.kind === 'non-global') return global;
    // INVLPG: the whole of a large page, however many entries hold it. A page fault drops what is cached for the page
    // number of its address, and nobody says that this reaches other pieces of a large page (SDM vol. 3A 4.10.2.3,
    // 4.10.4.1).
    const span = what.piece === true ? 0x1000n : BigInt(size);
    return what.linear / span !== gva / span;
  });
}
