import { CR4, ENTRY, has } from './bits.ts';
import { currentPcid, pagingMode } from './cpu.ts';
import { ALL_RIGHTS, bothRights, type EntryPlace, type Page, type Rights } from './formats/entry.ts';
import { firstEntry, readEntry } from './formats/formats.ts';
import type { Context, EntryVersion, Flush, Timeline } from './timeline.ts';
import { requireDecided } from './undecided.ts';

/** A translation that may sit in a TLB. */
export interface CachedTranslation {
  readonly page: Page;
  readonly rights: Rights;
  readonly dirty: boolean;
}

/** A walk that ends in an entry read now; its upper part may come from a cache. */
export interface Walk {
  /** Entries read now, not from a cache. */
  readonly read: readonly { readonly place: EntryPlace; readonly value: bigint; readonly unknown: bigint }[];
  /** Rights of all entries of the walk, cached ones included. */
  readonly rights: Rights;
  readonly end:
    | { readonly kind: 'absent' }
    | { readonly kind: 'reserved' }
    | { readonly kind: 'page'; readonly page: Page };
  /** Nothing came from a cache. */
  readonly fresh: boolean;
}

/** All walks that end in an entry read now: from the current root, or on from a cached upper-level entry. */
export function walksNow(timeline: Timeline, gva: bigint): Walk[] {
  const { cpu, asid, now } = timeline;
  const walks: Walk[] = [];

  const readOn = (place: EntryPlace, rights: Rights, read: Walk['read'], fresh: boolean): void => {
    const { value, unknown } = timeline.versions(place.address, place.width, now)[0]!;
    requireDecided(place, unknown);
    const meaning = readEntry(cpu, place, value, gva);
    if (meaning.kind === 'absent' || meaning.kind === 'reserved') {
      walks.push({ read, rights, end: meaning, fresh });
      return;
    }
    const all = bothRights(rights, meaning.rights);
    const soFar = [...read, { place, value, unknown }];
    if (meaning.kind === 'table') readOn(meaning.next, all, soFar, fresh);
    else walks.push({ read: soFar, rights: all, end: { kind: 'page', page: meaning.page }, fresh });
  };

  const start = firstEntry(cpu, gva);
  if (start.kind === 'absent')
    walks.push({ read: [], rights: ALL_RIGHTS, end: { kind: 'absent' }, fresh: true });
  if (start.kind === 'entry') readOn(start.place, ALL_RIGHTS, [], true);

  const epoch = epochs(timeline, gva, currentPcid(cpu)).at(-1)!;
  for (const context of timeline.contexts(asid, epoch.from, epoch.last)) {
    if (currentPcid(context.cpu) !== currentPcid(cpu)) continue;
    const cachedStart = firstEntry(context.cpu, gva);
    if (cachedStart.kind !== 'entry' || pagingMode(context.cpu) !== pagingMode(cpu)) continue;
    followCached(timeline, gva, epoch, context, cachedStart.place, {
      table: (next, rights) => readOn(next, rights, [], false),
    });
  }
  return walks;
}

/** Translations of `gva` that may still be cached for the current address space. */
export function cachedTranslations(timeline: Timeline, gva: bigint): CachedTranslation[] {
  const { cpu, asid } = timeline;
  const found: CachedTranslation[] = [];
  for (const pcid of timeline.pcids(asid)) {
    const flushes = timeline.flushes(asid, pcid);
    const sinceAny = lastFlushOf(gva, true, flushes);
    const sinceNonGlobal = lastFlushOf(gva, false, flushes);
    for (const epoch of epochs(timeline, gva, pcid)) {
      if (epoch.last < sinceAny) continue;
      for (const context of timeline.contexts(asid, epoch.from, epoch.last)) {
        if (currentPcid(context.cpu) !== pcid) continue;
        if (epoch.last < sinceNonGlobal && !has(context.cpu.cr4, CR4.PGE)) continue;
        const start = firstEntry(context.cpu, gva);
        if (start.kind !== 'entry') continue;
        followCached(timeline, gva, epoch, context, start.place, {
          page: (page, rights, dirty, global, installed) => {
            if (pcid !== currentPcid(cpu) && !global) return;
            if (survives(page.size, global, installed, gva, flushes)) found.push({ page, rights, dirty });
          },
        });
      }
    }
  }
  return found;
}

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

/** Steps between which cached upper-level entries on the way to an address live: no flush of them in between. */
interface Epoch {
  readonly from: number;
  readonly last: number;
}

function epochs(timeline: Timeline, gva: bigint, pcid: number): Epoch[] {
  const ends = timeline.flushes(timeline.asid, pcid).filter((flush) => dropsUpperLevels(flush, gva));
  const starts = [0, ...ends.map((flush) => flush.step)];
  return starts.map((from, i) => ({ from, last: i + 1 < starts.length ? starts[i + 1]! - 1 : timeline.now }));
}

/**
 * Whether a flush drops the upper-level entries on the way to an address. INVLPG drops them all; a page fault, INVLPGA
 * and INVLPG with EFER.TCE only those on the way to the page, which 2 MBytes share in every format.
 */
const dropsUpperLevels = ({ what }: Flush, gva: bigint): boolean =>
  what.kind !== 'page' || what.upperLevels || what.linear >> 21n === gva >> 21n;

/** What to do with a cached entry that leads on, and with one that maps a page. */
interface Visitor {
  table?(next: EntryPlace, rights: Rights): void;
  page?(page: Page, rights: Rights, dirty: boolean, global: boolean, installed: number): void;
}

/** Follows every chain of entries that a processor could have cached one after another within an epoch. */
function followCached(
  timeline: Timeline,
  gva: bigint,
  epoch: Epoch,
  root: Context,
  first: EntryPlace,
  visitor: Visitor,
): void {
  const mode = pagingMode(root.cpu);
  const follow = (place: EntryPlace, from: number, rights: Rights): void => {
    for (const version of timeline.versions(place.address, place.width, from)) {
      if (version.from > epoch.last) break;
      if (!cacheable(place, version, timeline.now)) continue;
      requireDecided(place, version.unknown);
      const last = Math.min(version.last, epoch.last);
      for (const context of timeline.contexts(timeline.asid, version.from, last)) {
        if (pagingMode(context.cpu) !== mode) continue;
        const meaning = readEntry(context.cpu, place, version.value, gva);
        if (meaning.kind === 'absent' || meaning.kind === 'reserved') continue;
        const all = bothRights(rights, meaning.rights);
        if (meaning.kind === 'table') {
          visitor.table?.(meaning.next, all);
          follow(meaning.next, context.from, all);
        } else {
          const dirty = has(version.value | version.unknown, ENTRY.D);
          const global = meaning.page.global && has(context.cpu.cr4, CR4.PGE);
          visitor.page?.(meaning.page, all, dirty, global, context.last);
        }
      }
    }
  };
  follow(first, root.from, ALL_RIGHTS);
}

/**
 * An entry is cached only with its accessed flag set (SDM vol. 3A 4.10.2.2, APM vol. 2 5.4.2). One that has been
 * overwritten since may have had it set at the last moment, unseen; one that is still there without it was not cached.
 * PDPTEs of PAE paging have no such flag.
 */
function cacheable(place: EntryPlace, version: EntryVersion, now: number): boolean {
  if (place.format === 'pae' && place.name === 'PDPTE') return true;
  return has(version.value | version.unknown, ENTRY.A) || version.last < now;
}
