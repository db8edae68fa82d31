import { ENTRY, VECTOR } from './bits.ts';
import { type OracleCpu, pagingMode } from './cpu.ts';
import { type EntryWrite, WalkMemory } from './entry-writes.ts';
import { ALL_RIGHTS, bothRights, type Page, type Rights } from './formats/entry.ts';
import { firstEntry, readEntry } from './formats/formats.ts';
import type { PhysicalMemory } from './memory.ts';
import { type Access, pageFaultErrorCode, protectionKeyForbids, rightsPermit } from './rights.ts';

/** The access reaches memory. */
export interface Translated {
  readonly outcome: 'ok';
  readonly address: bigint;
  /** Bytes; null with paging off, where there are no pages. */
  readonly pageSize: number | null;
  /** Accessed and dirty flags that the processor has set when the access is done (SDM vol. 3A 4.8). */
  readonly writes: readonly EntryWrite[];
}

/** The access raises an exception. */
export interface Faulted {
  readonly outcome: 'fault';
  /** #PF, or #GP for an address that is not canonical (#SS if the access goes through the stack segment). */
  readonly vector: number;
  readonly errorCode: number;
  /** What CR2 holds afterwards; null where the exception does not write it. */
  readonly cr2: bigint | null;
  /** Accessed flags that the processor may have set on the way, each on its own. Dirty is never among them. */
  readonly mayWrite: readonly EntryWrite[];
}

export type Outcome = Translated | Faulted;

/** Linear addresses have 32 bits outside the 4-level and 5-level modes (SDM vol. 3A 3.3). */
export function linearAddress(cpu: OracleCpu, value: bigint): bigint {
  const mode = pagingMode(cpu);
  return BigInt.asUintN(mode === '4-level' || mode === '5-level' ? 64 : 32, value);
}

/**
 * What an access must see according to the tables in memory, with no cache in between (SDM vol. 3A chapter 4, APM
 * vol. 2 chapter 5).
 *
 * @param memory where the tables live; it is only read
 * @param linear linear address of the access's first byte; the access must not cross a 4-KByte boundary
 */
export function translate(cpu: OracleCpu, memory: PhysicalMemory, linear: bigint, access: Access): Outcome {
  const gva = linearAddress(cpu, linear);
  const walk = new WalkMemory(memory);
  const pageFault = (present: boolean, reserved: boolean, protectionKey: boolean): Faulted => ({
    outcome: 'fault',
    vector: VECTOR.PF,
    errorCode: pageFaultErrorCode(cpu, access, { present, reserved, protectionKey }),
    cr2: gva,
    mayWrite: walk.writes,
  });

  const start = firstEntry(cpu, gva);
  if (start.kind === 'identity') return { outcome: 'ok', address: gva, pageSize: null, writes: [] };
  if (start.kind === 'absent') return pageFault(false, false, false);
  if (start.kind === 'noncanonical') return nonCanonical();

  let place = start.place;
  let rights: Rights = ALL_RIGHTS;
  let page: Page | undefined;
  while (page === undefined) {
    const meaning = readEntry(cpu, place, walk.read(place.address, place.width), gva);
    // The walk ends at the first absent or reserved entry, whatever the rights so far (SDM vol. 3A 4.7).
    if (meaning.kind === 'absent') return pageFault(false, false, false);
    if (meaning.kind === 'reserved') return pageFault(true, true, false);
    rights = bothRights(rights, meaning.rights);
    if (meaning.kind === 'page') {
      walk.setFlags(place, ENTRY.A);
      page = meaning.page;
    } else {
      if (meaning.hasAccessed) walk.setFlags(place, ENTRY.A);
      place = meaning.next;
    }
  }
  const keyForbids = protectionKeyForbids(cpu, page, rights, access);
  if (keyForbids || !rightsPermit(cpu, rights, access)) return pageFault(true, false, keyForbids);
  if (access.kind === 'write') walk.setFlags(place, ENTRY.D);
  return { outcome: 'ok', address: page.address, pageSize: page.size, writes: walk.writes };
}

/** SDM vol. 3A 4.5.2 and vol. 1 3.3.7.1: not a page fault; CR2 keeps its value. */
export const nonCanonical = (): Faulted => ({
  outcome: 'fault',
  vector: VECTOR.GP,
  errorCode: 0,
  cr2: null,
  mayWrite: [],
});
