import { bits, ENTRY, NPF } from './bits.ts';
import { executeDisableCounts, type OracleCpu } from './cpu.ts';
import { type Epoch, nestedEpochs } from './epochs.ts';
import type { Rights } from './formats/entry.ts';
import { firstNestedEntry, nestedErrorCodes } from './nested.ts';
import { type Access, rightsPermit } from './rights.ts';
import {
  cachedChains,
  type NestedStop,
  type Reach,
  type Root,
  rightsKey,
  type SecondStage,
  type Tables,
  type Upper,
  type Walk,
  walksNow,
} from './table-search.ts';
import type { Timeline } from './timeline.ts';

/** A translation of a guest-physical address that may be cached since some step, until its ASID is flushed. */
export interface NestedTranslation {
  /** System-physical. */
  readonly address: bigint;
  readonly rights: Rights;
  /** A write may use it. */
  readonly dirty: boolean;
  /** A walk of guest tables, which counts as a write (APM vol. 2 15.25.5), may use it. */
  readonly dirtyForTables: boolean;
  readonly from: number;
}

/** What may be cached on the way from the start of a guest-physical page, within an epoch of the nested tables. */
interface CachedOfPage {
  readonly uppers: readonly Upper[];
  readonly translations: readonly NestedTranslation[];
}

/** Where a byte is in its page. */
const OFFSET = bits(11, 0);

/**
 * The nested tables under the ASID in use: what they say now, and what may be cached of them, upper-level entries and
 * whole translations from guest-physical to system-physical addresses. Nothing that a guest does is said to reach
 * these, so they stay until TLB_CONTROL flushes the ASID (APM vol. 2 15.16); another nCR3 does not remove them either.
 *
 * It remembers what it has found, and is good until the timeline goes on.
 */
export class NestedTables implements SecondStage {
  readonly #timeline: Timeline;
  readonly #tables: Tables;
  #epochs: readonly Epoch[] | undefined;
  readonly #cached = new Map<string, CachedOfPage>();
  readonly #reached = new Map<string, readonly Reach[]>();

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
    this.#tables = {
      timeline,
      second: null,
      contexts: (from, last) => timeline.hosts(timeline.asid, from, last),
    };
  }

  reachTable(guestAddress: bigint): readonly Reach[] {
    return this.#reach(guestAddress, 'write', true);
  }

  /** Where an access to a guest-physical address may go now. */
  reachFinal(guestAddress: bigint, kind: Access['kind']): readonly Reach[] {
    return this.#reach(guestAddress, kind, false);
  }

  tableSince(guestAddress: bigint, epoch: Epoch): readonly NestedTranslation[] {
    return this.translations(guestAddress, epoch).filter(
      ({ rights, dirtyForTables }) => dirtyForTables && this.permits(rights, 'write'),
    );
  }

  /** Every translation of a guest-physical address that may be cached at the end of an epoch of the guest's tables. */
  translations(guestAddress: bigint, within: Epoch): NestedTranslation[] {
    return this.#cachedOf(guestAddress, within)
      .translations.filter(({ from }) => from <= within.last)
      .map((found) => ({ ...found, address: found.address | (guestAddress & OFFSET) }));
  }

  /**
   * Whether cached rights permit an access; all are user accesses. The manual does not say whether a cached
   * execute-disable still counts once the host's EFER.NXE or CR4.PAE is clear: it may not.
   */
  permits(rights: Rights, kind: Access['kind']): boolean {
    const { host } = this.#timeline;
    const executable = rights.executable || (host !== null && !executeDisableCounts(host));
    return rights.user && (kind !== 'write' || rights.writable) && (kind !== 'fetch' || executable);
  }

  #reach(guestAddress: bigint, kind: Access['kind'], table: boolean): readonly Reach[] {
    const key = `${guestAddress} ${kind} ${table}`;
    let found = this.#reached.get(key);
    if (found === undefined) {
      found = distinct([
        ...this.#walks(guestAddress, kind, table),
        ...this.translations(guestAddress, { from: this.#timeline.now, last: this.#timeline.now })
          .filter((hit) => this.permits(hit.rights, kind))
          .filter((hit) => kind !== 'write' || (table ? hit.dirtyForTables : hit.dirty))
          .map(({ address }): Reach => ({ kind: 'ok', address, read: [], cached: true })),
      ]);
      this.#reached.set(key, found);
    }
    return found;
  }

  /** Nested walks that end in an entry read now. */
  #walks(guestAddress: bigint, kind: Access['kind'], table: boolean): Reach[] {
    const host = this.#timeline.host!;
    const stop = (present: boolean, reserved: boolean): NestedStop => {
      const which = table ? NPF.TABLE : NPF.FINAL;
      const exitInfo1 = nestedErrorCodes(host, kind, present, reserved).map((code) => code | which);
      return { exitInfo1, exitInfo2: guestAddress };
    };
    const first = firstNestedEntry(host, guestAddress);
    if (first === undefined) return [{ kind: 'fault', fault: stop(false, false), read: [] }];
    const { now } = this.#timeline;
    const { uppers } = this.#cachedOf(guestAddress, { from: now, last: now });
    return walksNow(this.#tables, host, guestAddress, first, uppers).flatMap((walk): Reach[] => {
      const fault = faultOf(walk, host, kind);
      if (fault === undefined) return [reachOf(walk, kind)];
      // It is reported only after another walk, without what was cached (APM vol. 2 5.5.3).
      if (walk.upperCached) return [];
      return [{ kind: 'fault', fault: stop(fault.present, fault.reserved), read: walk.read }];
    });
  }

  #cachedOf(guestAddress: bigint, within: Epoch): CachedOfPage {
    this.#epochs ??= nestedEpochs(this.#timeline);
    const epoch = this.#epochs.findLast(({ from }) => from <= within.from)!;
    const page = guestAddress & ~OFFSET;
    const key = `${page} ${epoch.from}`;
    let found = this.#cached.get(key);
    if (found === undefined) {
      found = this.#search(page, epoch);
      this.#cached.set(key, found);
    }
    return found;
  }

  #search(page: bigint, epoch: Epoch): CachedOfPage {
    const roots = this.#tables.contexts(epoch.from, epoch.last).flatMap((context): Root[] => {
      const place = firstNestedEntry(context.cpu, page);
      return place === undefined ? [] : [{ place, context }];
    });
    const { uppers, pages } = cachedChains(this.#tables, page, epoch, roots);
    const earliest = new Map<string, NestedTranslation>();
    for (const { page: mapped, rights, dirty, overwritten, from } of pages) {
      // Walks of guest tables may have set the dirty flag at the last moment, as any walk the accessed flag.
      const found = { address: mapped.address, rights, dirty, dirtyForTables: dirty || overwritten, from };
      const key = `${mapped.address} ${dirty} ${overwritten} ${rightsKey(rights)}`;
      if (from < (earliest.get(key)?.from ?? Number.POSITIVE_INFINITY)) earliest.set(key, found);
    }
    return { uppers, translations: [...earliest.values()] };
  }
}

/** How a nested walk ends in a fault; undefined if it does not. */
function faultOf(
  { end, rights }: Walk,
  host: OracleCpu,
  kind: Access['kind'],
): { readonly present: boolean; readonly reserved: boolean } | undefined {
  if (end.kind !== 'page') return { present: end.kind === 'reserved', reserved: end.kind === 'reserved' };
  return rightsPermit(host, rights, { kind }) ? undefined : { present: true, reserved: false };
}

/** Where a nested walk that ends in a page leads to, with the dirty flag if it is for a write. */
function reachOf({ read, leaf, end, upperCached }: Walk, kind: Access['kind']): Reach {
  if (end.kind !== 'page') throw new RangeError('The nested walk ends in no page.');
  const dirty = kind === 'write' ? ENTRY.D : 0n;
  return {
    kind: 'ok',
    address: end.page.address,
    read: read.map((entry) => (entry === leaf ? { ...entry, flags: entry.flags | dirty } : entry)),
    cached: upperCached,
  };
}

/** Drops what looks like one before it: the same place, and the same flags that are not set yet. */
function distinct(reaches: readonly Reach[]): Reach[] {
  const found = new Map<string, Reach>();
  for (const reach of reaches) {
    const changes = reach.read
      .filter(({ value, flags }) => (value & flags) !== flags)
      .map(({ place, flags }) => `${place.address}=${flags}`);
    const where = reach.kind === 'ok' ? `${reach.address}` : `fault ${reach.fault.exitInfo1}`;
    const key = `${where} ${changes}`;
    if (!found.has(key)) found.set(key, reach);
  }
  return [...found.values()];
}
