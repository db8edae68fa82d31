import { ENTRY, VECTOR } from './bits.ts';
import { type CachedTranslation, cachedTranslations, walksOf } from './cache-search.ts';
import { executeDisableCounts, type OracleCpu, pagingMode } from './cpu.ts';
import { type EntryUse, type Expected, entryExpectations, observable, type Source } from './expected.ts';
import type { Rights } from './formats/entry.ts';
import { firstEntry } from './formats/formats.ts';
import { NestedTables } from './nested-tables.ts';
import { type Access, pageFaultErrorCode, protectionKeyForbids, rightsPermit } from './rights.ts';
import type { EntryRead, NestedStop, Reach, Walk } from './table-search.ts';
import type { Timeline } from './timeline.ts';
import { linearAddress, nonCanonical } from './translate.ts';
import { requireFew } from './undecided.ts';

/**
 * Everything that an access may see when entries were edited and not every cache was told.
 *
 * A processor may cache a translation, and the upper-level entries on the way to one, at any moment at which the tables
 * gave it, used or not, and keep it until an invalidation that covers it (SDM vol. 3A 4.10.2, 4.10.3; APM vol. 2 5.5.3
 * "Speculative Caching"). So an old table may be followed long after the entry that pointed to it has changed, and
 * every entry of one walk may come from another moment, upper ones first. Under nested paging the same holds of the
 * nested tables, on their own: an entry of the guest's may be read where its table was before the nested tables
 * changed, and a new entry may lead through an old nested translation or the reverse.
 */
export function allowedOutcomes(timeline: Timeline, linear: bigint, access: Access): Expected[] {
  const { walking: cpu, host } = timeline;
  const gva = linearAddress(cpu, linear);
  const start = firstEntry(cpu, gva);
  if (start.kind === 'identity' && host === null) {
    return [{ outcome: 'ok', address: gva, pageSize: null, entries: [], source: 'tables' }];
  }
  if (start.kind === 'noncanonical') {
    const { vector, errorCode, cr2 } = nonCanonical();
    return [{ outcome: 'fault', vector, errorCode, cr2, entries: [], source: 'tables' }];
  }
  const outcomes = new Map<string, Expected>();
  const add = (expected: Expected): void => {
    const key = observable(expected);
    if (!outcomes.has(key)) outcomes.set(key, expected);
    requireFew(outcomes.size, gva);
  };
  const nested = new NestedTables(timeline);
  const asked: Asked = { cpu, gva, access, nested: host === null ? null : nested };
  for (const walk of walksOf(timeline, nested, gva)) walkOutcomes(asked, walk).forEach(add);
  for (const hit of cachedTranslations(timeline, nested, gva)) {
    if (hit.nested !== null && !nested.permits(hit.nested, access.kind)) continue;
    hitOutcomes(asked, hit).forEach(add);
  }
  return [...outcomes.values()];
}

/** The access in question. */
interface Asked {
  readonly cpu: OracleCpu;
  readonly gva: bigint;
  readonly access: Access;
  /** Null without nested paging. */
  readonly nested: NestedTables | null;
}

/**
 * Whether a fault may come from cached information. SDM vol. 3A 4.10.4.3 warns of such spurious faults; AMD processors
 * walk the tables in memory again before they report one (APM vol. 2 5.5.3 "Use of Cached Entries When Reporting a
 * Page Fault Exception").
 *
 * The APM does not say what that walk is for a guest with nested paging. Here a nested page fault comes from nested
 * entries in memory, but the addresses that lead there, and the place of a guest's entry that gives a page fault, may
 * come from cached nested translations.
 */
const faultsFromCache = (cpu: OracleCpu): boolean => cpu.features.vendor === 'intel';

function hitOutcomes({ cpu, gva, access }: Asked, hit: CachedTranslation): Expected[] {
  const outcomes: Expected[] = [];
  const { address, page, dirty } = hit;
  const source: Source = 'cached translation';
  for (const rights of cachedRights(cpu, hit.rights)) {
    const keyForbids = protectionKeyForbids(cpu, page, rights, access);
    if (!keyForbids && tablesPermit(cpu, rights, access)) {
      // A store through a translation without the dirty flag goes to the entry in memory (APM vol. 2 5.5.3 "Handling
      // of D-Bit Updates"); that is one of the walks.
      if (access.kind === 'write' && !dirty) continue;
      outcomes.push({ outcome: 'ok', address, pageSize: sizeOf(cpu, page.size), entries: [], source });
    } else if (faultsFromCache(cpu)) {
      const cause = { present: true, reserved: false, protectionKey: keyForbids };
      const errorCode = pageFaultErrorCode(cpu, access, cause);
      outcomes.push({ outcome: 'fault', vector: VECTOR.PF, errorCode, cr2: gva, entries: [], source });
    }
  }
  return outcomes;
}

/** The manuals do not say whether a cached execute-disable still counts once EFER.NXE or CR4.PAE is clear: either. */
function cachedRights(cpu: OracleCpu, rights: Rights): Rights[] {
  if (rights.executable || executeDisableCounts(cpu)) return [rights];
  return [rights, { ...rights, executable: true }];
}

/** Whether the tables of the linear address permit an access; without paging there are none to forbid it. */
const tablesPermit = (cpu: OracleCpu, rights: Rights, access: Access): boolean =>
  pagingMode(cpu) === 'off' || rightsPermit(cpu, rights, access);

const sizeOf = (cpu: OracleCpu, pageSize: number): number | null =>
  pagingMode(cpu) === 'off' ? null : pageSize;

function walkOutcomes({ cpu, gva, access, nested }: Asked, walk: Walk): Expected[] {
  const { read, leaf, rights, end } = walk;
  const source = sourceOf(walk, false);
  if (end.kind === 'nested fault') return [nestedFault(read, end.fault, source)];
  const fault = (present: boolean, reserved: boolean, protectionKey: boolean): Expected[] => {
    if (walk.upperCached && !faultsFromCache(cpu)) return [];
    const errorCode = pageFaultErrorCode(cpu, access, { present, reserved, protectionKey });
    return [{ outcome: 'fault', vector: VECTOR.PF, errorCode, cr2: gva, entries: mayBeUsed(read), source }];
  };
  if (end.kind === 'absent') return fault(false, false, false);
  if (end.kind === 'reserved') return fault(true, true, false);
  const { page } = end;
  const keyForbids = protectionKeyForbids(cpu, page, rights, access);
  if (keyForbids || !tablesPermit(cpu, rights, access)) return fault(true, false, keyForbids);
  const done = read.map((entry) =>
    entry === leaf && access.kind === 'write' ? { ...entry, flags: entry.flags | ENTRY.D } : entry,
  );
  return finals(nested, page.address, access).map((reach): Expected => {
    const all = [...done, ...reach.read];
    if (reach.kind === 'fault') return nestedFault(all, reach.fault, source);
    const entries = entryExpectations(all.map((entry) => ({ ...entry, sets: entry.flags, maySet: 0n })));
    const pageSize = sizeOf(cpu, page.size);
    return { outcome: 'ok', address: reach.address, pageSize, entries, source: sourceOf(walk, reach.cached) };
  });
}

/** Where the address that a walk has found leads. */
const finals = (nested: NestedTables | null, address: bigint, { kind }: Access): readonly Reach[] =>
  nested === null ? [{ kind: 'ok', address, read: [], cached: false }] : nested.reachFinal(address, kind);

const sourceOf = ({ upperCached, nestedCached }: Walk, finalCached: boolean): Source =>
  upperCached ? 'cached upper level' : nestedCached || finalCached ? 'cached nested translation' : 'tables';

const nestedFault = (read: readonly EntryRead[], fault: NestedStop, source: Source): Expected => ({
  outcome: 'nested fault',
  ...fault,
  entries: mayBeUsed(read),
  source,
});

/**
 * After a fault: SDM vol. 3A 4.8 lets the processor set the accessed flags of the entries it has used. Dirty needs a
 * write that is done: of a guest's table, by the walk itself (APM vol. 2 15.25.5), or one that the guest's tables permit.
 */
const mayBeUsed = (read: readonly EntryRead[]): Expected['entries'] =>
  entryExpectations(read.map((entry): EntryUse => ({ ...entry, sets: 0n, maySet: entry.flags })));
