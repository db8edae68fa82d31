import { CR4, ENTRY, has } from './bits.ts';
import { type OracleCpu, type PagingMode, pagingMode } from './cpu.ts';
import type { Epoch } from './epochs.ts';
import { ALL_RIGHTS, bothRights, type EntryPlace, type Page, type Rights } from './formats/entry.ts';
import { readEntry } from './formats/formats.ts';
import type { Context, EntryVersion, Timeline } from './timeline.ts';
import { requireDecided, requireFew } from './undecided.ts';

/**
 * The search through one set of tables, the guest's (or the only one) or the nested one: what a walk finds now, and what
 * processors may have cached of it. How it works: a cached chain is a list of entries, upper ones first, each read at a
 * moment not before that of the one above; what matters of the upper ones is only which entry is next, with which rights,
 * from which step on. So the search goes down level by level and keeps one state for each next entry and rights, with
 * the earliest step, which permits all that a later one does. Its cost grows with the number of distinct entries that
 * history has pointed to, not with the number of combinations.
 */

/** What lies below tables whose addresses are guest-physical. */
export interface SecondStage {
  /** Where a table entry may be read now, and what that does to the nested tables. */
  reachTable(guestAddress: bigint): readonly Reach[];
  /** Where a table entry may have been read, from which step on, during an epoch of the guest's tables. */
  tableSince(
    guestAddress: bigint,
    epoch: Epoch,
  ): readonly { readonly address: bigint; readonly from: number }[];
}

/** One way from a guest-physical address to memory, or the nested page fault on the way. */
export type Reach =
  | {
      readonly kind: 'ok';
      readonly address: bigint;
      readonly read: readonly EntryRead[];
      /** Something came from a cache. */
      readonly cached: boolean;
    }
  | { readonly kind: 'fault'; readonly fault: NestedStop; readonly read: readonly EntryRead[] };

/** A nested page fault: EXITINFO1, each value that is permitted, and EXITINFO2. */
export interface NestedStop {
  readonly exitInfo1: readonly bigint[];
  readonly exitInfo2: bigint;
}

/** An entry that a walk reads now. */
export interface EntryRead {
  /** With the address in system-physical memory. */
  readonly place: EntryPlace;
  readonly value: bigint;
  /** Bits of `value` that may be either way; 0 in `value`. */
  readonly unknown: bigint;
  /** Flags that are set when the access is done. */
  readonly flags: bigint;
}

/** Tables as a search sees them. */
export interface Tables {
  readonly timeline: Timeline;
  /** Null: the tables' addresses are system-physical. */
  readonly second: SecondStage | null;
  /** The distinct ways in which these tables were walked between two steps. */
  contexts(from: number, last: number): readonly Context[];
}

/** A walk that ends in an entry read now; its upper part may come from a cache. */
export interface Walk {
  /** Entries read now, not from a cache; those of nested tables before the entry that they led to. */
  readonly read: readonly EntryRead[];
  /** The entry that maps the page, one of `read`; null if none does. */
  readonly leaf: EntryRead | null;
  /** Rights of all entries of the walk, cached ones included; not those of nested tables. */
  readonly rights: Rights;
  readonly end:
    | { readonly kind: 'absent' }
    | { readonly kind: 'reserved' }
    | { readonly kind: 'page'; readonly page: Page }
    | { readonly kind: 'nested fault'; readonly fault: NestedStop };
  /** The walk goes on from a cached upper-level entry. */
  readonly upperCached: boolean;
  /** A nested translation on the way to an entry came from a cache. */
  readonly nestedCached: boolean;
}

/** Where a chain of cached entries leads on to. */
export interface Upper {
  readonly place: EntryPlace;
  readonly rights: Rights;
  /** The first step at which it may have been cached so. */
  readonly from: number;
}

/** A page at the end of a chain of cached entries. */
export interface CachedPage {
  readonly page: Page;
  readonly rights: Rights;
  readonly dirty: boolean;
  /** The entry that maps it has been overwritten since. */
  readonly overwritten: boolean;
  readonly global: boolean;
  /** Its address is guest-physical. */
  readonly twoStage: boolean;
  /** The first and the last step at which it may have been installed. */
  readonly from: number;
  readonly last: number;
}

/** All walks by `cpu` from `first` on, and on from each of `uppers`; the one without caches comes first. */
export function walksNow(
  { timeline, second }: Tables,
  cpu: OracleCpu,
  linear: bigint,
  first: EntryPlace | null,
  uppers: readonly Upper[],
): Walk[] {
  const walks: Walk[] = [];
  const push = (walk: Walk): void => {
    walks.push(walk);
    requireFew(walks.length, linear);
  };
  const readOn = (place: EntryPlace, so: Omit<Walk, 'leaf' | 'end'>): void => {
    for (const reach of second === null ? [directly(place.address)] : second.reachTable(place.address)) {
      const before = reach.read.length === 0 ? so.read : [...so.read, ...reach.read];
      if (reach.kind === 'fault') {
        push({ ...so, read: before, leaf: null, end: { kind: 'nested fault', fault: reach.fault } });
        continue;
      }
      const nestedCached = so.nestedCached || reach.cached;
      const entry = readNow(timeline, { ...place, address: reach.address });
      const meaning = readEntry(cpu, place, entry.value, linear);
      if (meaning.kind === 'absent' || meaning.kind === 'reserved') {
        push({ ...so, read: before, nestedCached, leaf: null, end: meaning });
        continue;
      }
      const rights = bothRights(so.rights, meaning.rights);
      const further = { ...so, read: [...before, entry], rights, nestedCached };
      if (meaning.kind === 'table') readOn(meaning.next, further);
      else push({ ...further, leaf: entry, end: { kind: 'page', page: meaning.page } });
    }
  };
  const nothing = { read: [], rights: ALL_RIGHTS, upperCached: false, nestedCached: false };
  if (first !== null) readOn(first, nothing);
  for (const { place, rights } of uppers) readOn(place, { ...nothing, rights, upperCached: true });
  return walks;
}

const directly = (address: bigint): Reach => ({ kind: 'ok', address, read: [], cached: false });

function readNow(timeline: Timeline, place: EntryPlace): EntryRead {
  const { value, unknown } = timeline.versions(place.address, place.width, timeline.now)[0]!;
  requireDecided(place, unknown);
  return { place, value, unknown, flags: hasAccessedFlag(place) ? ENTRY.A : 0n };
}

/** A chain of cached entries begins here. */
export interface Root {
  readonly place: EntryPlace;
  readonly context: Context;
}

/** Every chain of entries that a processor could have cached one after another within an epoch, from `roots` on. */
export function cachedChains(
  tables: Tables,
  linear: bigint,
  epoch: Epoch,
  roots: readonly Root[],
): { readonly uppers: readonly Upper[]; readonly pages: readonly CachedPage[] } {
  const uppers: Upper[] = [];
  const pages: CachedPage[] = [];
  for (const kind of new Set(roots.map(({ context }) => walkKind(context)))) {
    let level = roots
      .filter(({ context }) => walkKind(context) === kind)
      .map(({ place, context }) => ({ place, rights: ALL_RIGHTS, from: context.from }));
    while (level.length > 0) {
      const next = new Map<string, Upper>();
      for (const upper of level) {
        readCached(tables, linear, epoch, kind, upper, {
          table: (found) => keepEarliest(next, found),
          page: (page) => pages.push(page),
        });
      }
      level = [...next.values()];
      uppers.push(...level);
      requireFew(uppers.length + pages.length, linear);
    }
  }
  return { uppers, pages };
}

interface Visitor {
  table(upper: Upper): void;
  page(page: CachedPage): void;
}

/** What may have been cached of the entry that a chain leads to. */
function readCached(
  { timeline, second, contexts }: Tables,
  linear: bigint,
  epoch: Epoch,
  kind: string,
  { place, rights, from }: Upper,
  visitor: Visitor,
): void {
  const places =
    second === null || !kind.startsWith(NESTED)
      ? [{ address: place.address, from }]
      : second.tableSince(place.address, epoch);
  for (const { address, from: since } of places) {
    for (const version of timeline.versions(address, place.width, Math.max(from, since))) {
      if (version.from > epoch.last) break;
      if (!cacheable(place, version, timeline.now)) continue;
      requireDecided({ ...place, address }, version.unknown);
      for (const context of contexts(version.from, Math.min(version.last, epoch.last))) {
        if (walkKind(context) !== kind) continue;
        const meaning = readEntry(context.cpu, place, version.value, linear);
        if (meaning.kind === 'absent' || meaning.kind === 'reserved') continue;
        const all = bothRights(rights, meaning.rights);
        if (meaning.kind === 'table') {
          visitor.table({ place: meaning.next, rights: all, from: context.from });
        } else {
          visitor.page({
            page: meaning.page,
            rights: all,
            dirty: has(version.value | version.unknown, ENTRY.D),
            overwritten: version.last < timeline.now,
            global: meaning.page.global && has(context.cpu.cr4, CR4.PGE),
            twoStage: context.host !== null,
            from: context.from,
            last: context.last,
          });
        }
      }
    }
  }
}

const NESTED = 'nested ';

/** Ways of walking that may use each other's cached upper-level entries: the same format, over the same stages. */
export const walkKind = ({ cpu, host }: { cpu: OracleCpu; host: OracleCpu | null }): string => {
  const mode: PagingMode = pagingMode(cpu);
  return host === null ? mode : NESTED + mode;
};

function keepEarliest(found: Map<string, Upper>, upper: Upper): void {
  const { place, rights } = upper;
  const key = `${place.name} ${place.address} ${rightsKey(rights)}`;
  const known = found.get(key);
  if (known === undefined || upper.from < known.from) found.set(key, upper);
}

export const rightsKey = ({ writable, user, executable }: Rights): string =>
  `${writable} ${user} ${executable}`;

/**
 * An entry is cached only with its accessed flag set (SDM vol. 3A 4.10.2.2, APM vol. 2 5.4.2). One that has been
 * overwritten since may have had it set at the last moment, unseen; one that is still there without it was not cached.
 */
const cacheable = (place: EntryPlace, version: EntryVersion, now: number): boolean =>
  !hasAccessedFlag(place) || has(version.value | version.unknown, ENTRY.A) || version.last < now;

/** PDPTEs of PAE paging have no accessed flag. */
const hasAccessedFlag = ({ format, name }: EntryPlace): boolean => format !== 'pae' || name !== 'PDPTE';
