import { ENTRY, VECTOR } from './bits.ts';
import { type CachedTranslation, cachedTranslations, type Walk, walksNow } from './cache-search.ts';
import { executeDisableEnabled, type OracleCpu } from './cpu.ts';
import type { EntryWrite } from './entry-writes.ts';
import {
  type EntryExpectation,
  type EntryUse,
  type Expected,
  entryExpectations,
  type Source,
  sameExpected,
} from './expected.ts';
import type { Rights } from './formats/entry.ts';
import { firstEntry } from './formats/formats.ts';
import type { PhysicalMemory } from './memory.ts';
import { translateNested } from './nested.ts';
import { type Access, pageFaultErrorCode, protectionKeyForbids, rightsPermit } from './rights.ts';
import type { Timeline } from './timeline.ts';
import { linearAddress, nonCanonical } from './translate.ts';

/**
 * Everything that an access may see when entries were edited and not every cache was told.
 *
 * A processor may cache a translation, and the upper-level entries on the way to one, at any moment at which the tables
 * gave it, used or not, and keep it until an invalidation that covers it (SDM vol. 3A 4.10.2, 4.10.3; APM vol. 2 5.5.3
 * "Speculative Caching"). So an old table may be followed long after the entry that pointed to it has changed, and
 * every entry of one walk may come from another moment, upper ones first.
 */
export function allowedOutcomes(timeline: Timeline, linear: bigint, access: Access): Expected[] {
  const { cpu, host } = timeline;
  if (host !== null) return [nestedOutcome(cpu, host, timeline.memory, linear, access)];
  const gva = linearAddress(cpu, linear);
  const start = firstEntry(cpu, gva);
  if (start.kind === 'identity') {
    return [{ outcome: 'ok', address: gva, pageSize: null, entries: [], source: 'tables' }];
  }
  if (start.kind === 'noncanonical') {
    const { vector, errorCode, cr2 } = nonCanonical();
    return [{ outcome: 'fault', vector, errorCode, cr2, entries: [], source: 'tables' }];
  }
  const outcomes: Expected[] = [];
  const add = (expected: Expected): void => {
    if (!outcomes.some((other) => sameExpected(other, expected))) outcomes.push(expected);
  };
  for (const walk of walksNow(timeline, gva))
    for (const expected of walkOutcomes(cpu, gva, access, walk)) add(expected);
  for (const hit of cachedTranslations(timeline, gva)) {
    for (const expected of hitOutcomes(cpu, gva, access, hit)) add(expected);
  }
  return outcomes;
}

/** Under nested paging: what the tables say now. */
function nestedOutcome(
  cpu: OracleCpu,
  host: OracleCpu,
  memory: PhysicalMemory,
  linear: bigint,
  access: Access,
): Expected {
  const outcome = translateNested(cpu, { host }, memory, linear, access);
  const optional = (writes: readonly EntryWrite[]): EntryExpectation[] =>
    writes.map(({ address, width, before, after }) => ({ address, width, values: [before, after] }));
  const source = 'tables';
  switch (outcome.outcome) {
    case 'ok': {
      const entries = outcome.writes.map(({ address, width, after }) => ({
        address,
        width,
        values: [after],
      }));
      return { outcome: 'ok', address: outcome.address, pageSize: null, entries, source };
    }
    case 'fault': {
      const { vector, errorCode, cr2, mayWrite } = outcome;
      return { outcome: 'fault', vector, errorCode, cr2, entries: optional(mayWrite), source };
    }
    case 'nested fault': {
      const { exitInfo1, exitInfo2, mayWrite } = outcome;
      return { outcome: 'nested fault', exitInfo1, exitInfo2, entries: optional(mayWrite), source };
    }
  }
}

/**
 * Whether a fault may come from cached information. SDM vol. 3A 4.10.4.3 warns of such spurious faults; AMD processors
 * walk the tables in memory again before they report one (APM vol. 2 5.5.3 "Use of Cached Entries When Reporting a
 * Page Fault Exception").
 */
const faultsFromCache = (cpu: OracleCpu): boolean => cpu.features.vendor === 'intel';

function hitOutcomes(cpu: OracleCpu, gva: bigint, access: Access, hit: CachedTranslation): Expected[] {
  const outcomes: Expected[] = [];
  for (const rights of cachedRights(cpu, hit.rights)) {
    const keyForbids = protectionKeyForbids(cpu, hit.page, rights, access);
    if (!keyForbids && rightsPermit(cpu, rights, access)) {
      // A store through a translation without the dirty flag goes to the entry in memory (APM vol. 2 5.5.3 "Handling
      // of D-Bit Updates"); that is one of the walks.
      if (access.kind === 'write' && !hit.dirty) continue;
      const { address, size } = hit.page;
      outcomes.push({ outcome: 'ok', address, pageSize: size, entries: [], source: 'cached translation' });
    } else if (faultsFromCache(cpu)) {
      const errorCode = pageFaultErrorCode(cpu, access, {
        present: true,
        reserved: false,
        protectionKey: keyForbids,
      });
      outcomes.push({
        outcome: 'fault',
        vector: VECTOR.PF,
        errorCode,
        cr2: gva,
        entries: [],
        source: 'cached translation',
      });
    }
  }
  return outcomes;
}

/** The manuals do not say whether a cached execute-disable still counts once EFER.NXE is clear: either. */
function cachedRights(cpu: OracleCpu, rights: Rights): Rights[] {
  if (rights.executable || executeDisableEnabled(cpu)) return [rights];
  return [rights, { ...rights, executable: true }];
}

function walkOutcomes(cpu: OracleCpu, gva: bigint, access: Access, walk: Walk): Expected[] {
  const source: Source = walk.fresh ? 'tables' : 'cached upper level';
  const uses = (sets: bigint, maySet: bigint, leaf: bigint): EntryUse[] =>
    walk.read.map(({ place, value, unknown }, i) => {
      const isLeaf = walk.end.kind === 'page' && i === walk.read.length - 1;
      const flags = place.name === 'PDPTE' && place.format === 'pae' ? 0n : ENTRY.A;
      return { place, value, unknown, sets: (sets & flags) | (isLeaf ? leaf : 0n), maySet: maySet & flags };
    });
  const fault = (present: boolean, reserved: boolean, protectionKey: boolean): Expected[] => {
    if (!walk.fresh && !faultsFromCache(cpu)) return [];
    const errorCode = pageFaultErrorCode(cpu, access, { present, reserved, protectionKey });
    // SDM vol. 3A 4.8 lets the processor set the accessed flags of the entries it has used; dirty needs a write.
    const entries = entryExpectations(uses(0n, ENTRY.A, 0n));
    return [{ outcome: 'fault', vector: VECTOR.PF, errorCode, cr2: gva, entries, source }];
  };
  if (walk.end.kind === 'absent') return fault(false, false, false);
  if (walk.end.kind === 'reserved') return fault(true, true, false);
  const { page } = walk.end;
  const keyForbids = protectionKeyForbids(cpu, page, walk.rights, access);
  if (keyForbids || !rightsPermit(cpu, walk.rights, access)) return fault(true, false, keyForbids);
  const entries = entryExpectations(uses(ENTRY.A, 0n, access.kind === 'write' ? ENTRY.D : 0n));
  return [{ outcome: 'ok', address: page.address, pageSize: page.size, entries, source }];
}
