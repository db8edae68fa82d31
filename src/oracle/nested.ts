import { bit, ENTRY, NPF, PFERR, VECTOR } from './bits.ts';
import { type OracleCpu, pagingMode } from './cpu.ts';
import { type EntryWrite, WalkMemory } from './entry-writes.ts';
import { ALL_RIGHTS, bothRights, type EntryPlace, type Page, type Rights } from './formats/entry.ts';
import { firstEntry, readEntry } from './formats/formats.ts';
import type { PhysicalMemory } from './memory.ts';
import { type Access, pageFaultErrorCode, protectionKeyForbids, rightsPermit } from './rights.ts';
import { type Faulted, linearAddress, nonCanonical } from './translate.ts';

/** The second stage of a translation: nCR3 and the host's paging registers as VMRUN found them (APM vol. 2 15.25.4). */
export interface NestedPaging {
  /** The host at VMRUN, with nCR3 in place of its CR3. */
  readonly host: OracleCpu;
}

export interface NestedTranslated {
  readonly outcome: 'ok';
  /** System physical address. */
  readonly address: bigint;
  /** Guest physical address. */
  readonly guestAddress: bigint;
  /** Flags set in guest and nested tables; addresses are system physical. */
  readonly writes: readonly EntryWrite[];
}

/** #VMEXIT(NPF), APM vol. 2 15.25.6. */
export interface NestedFault {
  readonly outcome: 'nested fault';
  /** EXITINFO1: each value that the manual permits; see `nestedErrorCodes`. */
  readonly exitInfo1: readonly bigint[];
  /** EXITINFO2: the guest physical address that has no translation. */
  readonly exitInfo2: bigint;
  /** Flags that may be set already, in guest and nested tables. */
  readonly mayWrite: readonly EntryWrite[];
}

export type NestedOutcome = NestedTranslated | Faulted | NestedFault;

type Stage =
  | { readonly kind: 'ok'; readonly address: bigint }
  | { readonly kind: 'stop'; readonly outcome: NestedFault };

/**
 * Two-stage translation (APM vol. 2 15.25.5 to 15.25.7, 15.25.10), with no cache in between.
 *
 * @param guest  the guest; PAE paging reads its PDPTEs from memory whatever `pdptesInMemory` says
 * @param memory system physical memory; it is only read
 */
export function translateNested(
  guest: OracleCpu,
  { host }: NestedPaging,
  memory: PhysicalMemory,
  linear: bigint,
  access: Access,
): NestedOutcome {
  const cpu = { ...guest, pdptesInMemory: true };
  const gva = linearAddress(cpu, linear);
  const walk = new WalkMemory(memory);
  const pageFault = (present: boolean, reserved: boolean, protectionKey: boolean): Faulted => ({
    outcome: 'fault',
    vector: VECTOR.PF,
    errorCode: pageFaultErrorCode(cpu, access, { present, reserved, protectionKey }),
    cr2: gva,
    mayWrite: walk.writes,
  });
  const last = (guestAddress: bigint): NestedOutcome => {
    const stage = nestedStage(host, walk, guestAddress, access.kind, NPF.FINAL);
    if (stage.kind === 'stop') return stage.outcome;
    return { outcome: 'ok', address: stage.address, guestAddress, writes: walk.writes };
  };

  const start = firstEntry(cpu, gva);
  if (start.kind === 'identity') return last(gva);
  if (start.kind === 'noncanonical') return nonCanonical();
  if (start.kind === 'absent') return pageFault(false, false, false);
  let place = start.place;
  let rights: Rights = ALL_RIGHTS;
  for (;;) {
    // Table accesses are user writes at the nested level, whatever they do (APM vol. 2 15.25.5).
    const stage = nestedStage(host, walk, place.address, 'write', NPF.TABLE);
    if (stage.kind === 'stop') return stage.outcome;
    const entry: EntryPlace = { ...place, address: stage.address };
    const meaning = readEntry(cpu, place, walk.read(entry.address, entry.width), gva);
    if (meaning.kind === 'absent') return pageFault(false, false, false);
    if (meaning.kind === 'reserved') return pageFault(true, true, false);
    rights = bothRights(rights, meaning.rights);
    if (meaning.kind === 'table') {
      if (meaning.hasAccessed) walk.setFlags(entry, ENTRY.A);
      place = meaning.next;
      continue;
    }
    walk.setFlags(entry, ENTRY.A);
    const keyForbids = protectionKeyForbids(cpu, meaning.page, rights, access);
    if (keyForbids || !rightsPermit(cpu, rights, access)) return pageFault(true, false, keyForbids);
    if (access.kind === 'write') walk.setFlags(entry, ENTRY.D);
    return last(meaning.page.address);
  }
}

/** One nested walk, for a guest table entry or for the final address: always a user access (APM vol. 2 15.25.5). */
function nestedStage(
  host: OracleCpu,
  walk: WalkMemory,
  guestAddress: bigint,
  kind: Access['kind'],
  which: bigint,
): Stage {
  const cpu = nestedWalker(host);
  const stop = (present: boolean, reserved: boolean): Stage => {
    const exitInfo1 = nestedErrorCodes(cpu, kind, present, reserved).map((code) => code | which);
    return {
      kind: 'stop',
      outcome: { outcome: 'nested fault', exitInfo1, exitInfo2: guestAddress, mayWrite: walk.writes },
    };
  };

  const start = firstNestedEntry(cpu, guestAddress);
  if (start === undefined) return stop(false, false);
  let place = start;
  let rights: Rights = ALL_RIGHTS;
  let page: Page | undefined;
  while (page === undefined) {
    const meaning = readEntry(cpu, place, walk.read(place.address, place.width), guestAddress);
    if (meaning.kind === 'absent') return stop(false, false);
    if (meaning.kind === 'reserved') return stop(true, true);
    rights = bothRights(rights, meaning.rights);
    if (meaning.kind === 'page') {
      walk.setFlags(place, ENTRY.A);
      page = meaning.page;
    } else {
      if (meaning.hasAccessed) walk.setFlags(place, ENTRY.A);
      place = meaning.next;
    }
  }
  if (!rightsPermit(cpu, rights, { kind })) return stop(true, false);
  if (kind === 'write') walk.setFlags(place, ENTRY.D);
  return { kind: 'ok', address: page.address };
}

/**
 * A host as its nested walks see it. They are user accesses that read PDPTEs from memory; hCR0.WP, SMEP and SMAP do not
 * matter to those (APM vol. 2 15.25.5, 15.25.7), and protection keys are not for nested tables.
 *
 * Throws a RangeError for a host without paging: VMRUN refuses it (APM vol. 2 15.25.3).
 */
export function nestedWalker(host: OracleCpu): OracleCpu {
  if (pagingMode(host) === 'off') {
    throw new RangeError('Nested paging needs a host with CR0.PG = 1 (APM vol. 2 15.25.3).');
  }
  return { ...host, cpl: 3, pdptes: [0n, 0n, 0n, 0n], pdptesInMemory: true, pkru: 0 };
}

/** Width of the addresses that each format translates (SDM vol. 3A 4.3 to 4.5). */
const ADDRESS_BITS = { off: 0, '2-level': 32, pae: 32, '4-level': 48, '5-level': 57 } as const;

/**
 * Where the nested walk for a guest-physical address begins. Undefined for one that is wider than what the nested
 * format translates: the tables have no entry for it. The manual does not say what a processor does then; here, and in
 * KVM, it is a fault for a page that is not present.
 */
export function firstNestedEntry(walker: OracleCpu, guestAddress: bigint): EntryPlace | undefined {
  const width = ADDRESS_BITS[pagingMode(walker)];
  if (guestAddress >= bit(width)) return undefined;
  // Guest-physical addresses have no sign: every one that fits is walked.
  const start = firstEntry(
    walker,
    width > 32 ? BigInt.asUintN(64, BigInt.asIntN(width, guestAddress)) : guestAddress,
  );
  return start.kind === 'entry' ? start.place : undefined;
}

/**
 * Low half of EXITINFO1, each value that the manual permits. More than one where a code read faults and the host has
 * neither EFER.NXE nor CR4.SMEP: APM vol. 2 15.25.6 sets bit 4 for every code read, the error code it is likened to does
 * not (8.4.2).
 */
export function nestedErrorCodes(
  walker: OracleCpu,
  kind: Access['kind'],
  present: boolean,
  reserved: boolean,
): bigint[] {
  const code = BigInt(pageFaultErrorCode(walker, { kind }, { present, reserved, protectionKey: false }));
  return kind === 'fetch' ? [...new Set([code, code | BigInt(PFERR.ID)])] : [code];
}
