import { has, NPF, PFERR, VECTOR } from './bits.ts';
import type { EntryExpectation } from './expected.ts';
import type { Probe, ProbeOutcome } from './probe.ts';

/** A paging-structure entry before and after a probe. */
export interface EntryChange {
  readonly address: bigint;
  readonly width: 4 | 8;
  readonly before: bigint;
  readonly after: bigint;
}

/** What a machine did on a probe. */
export type Seen = SeenAccess | SeenException | SeenNestedFault;

export interface SeenAccess {
  readonly outcome: 'ok';
  /** What a read, modify or fetch found; left out where the probe cannot tell. */
  readonly value?: bigint;
  readonly entries?: readonly EntryChange[];
}

export interface SeenException {
  readonly outcome: 'fault';
  readonly vector: number;
  readonly errorCode: number;
  /** CR2 afterwards; compared for page faults only. */
  readonly cr2: bigint;
  readonly entries?: readonly EntryChange[];
}

/** #VMEXIT(NPF). */
export interface SeenNestedFault {
  readonly outcome: 'nested fault';
  readonly exitInfo1: bigint;
  readonly exitInfo2: bigint;
  readonly entries?: readonly EntryChange[];
}

export type Verdict =
  | { readonly match: true; readonly outcome: ProbeOutcome }
  /** `explanation`: one sentence with what was permitted and what was seen. */
  | { readonly match: false; readonly explanation: string };

/** Whether what a machine did is among the permitted outcomes of a probe. */
export function judge(probe: Probe, allowed: readonly ProbeOutcome[], seen: Seen): Verdict {
  const alike = allowed.filter((outcome) => sameResult(probe, outcome, seen));
  const wrongEntries = alike.map((outcome) => wrongEntry(outcome.entries, seen.entries ?? []));
  const right = wrongEntries.indexOf(undefined);
  if (right >= 0) return { match: true, outcome: alike[right]! };
  const expected = [...new Set(allowed.map((outcome) => describeOutcome(probe, outcome)))].join(', or ');
  const what = alike.length > 0 ? `but ${wrongEntries[0]}` : `but saw ${describeSeen(seen)}`;
  return { match: false, explanation: `${describeProbe(probe)} must give ${expected}; ${what}.` };
}

function sameResult(probe: Probe, outcome: ProbeOutcome, seen: Seen): boolean {
  if (outcome.outcome === 'ok') {
    if (seen.outcome !== 'ok') return false;
    if (seen.value === undefined || probe.kind === 'write') return true;
    return ((seen.value ^ outcome.value) & ~outcome.unknown) === 0n;
  }
  if (outcome.outcome === 'nested fault') {
    return (
      seen.outcome === 'nested fault' &&
      outcome.exitInfo1.includes(seen.exitInfo1) &&
      seen.exitInfo2 === outcome.exitInfo2
    );
  }
  return (
    seen.outcome === 'fault' &&
    seen.vector === outcome.vector &&
    seen.errorCode === outcome.errorCode &&
    (outcome.cr2 === null || seen.cr2 === outcome.cr2)
  );
}

/** The first entry that holds what it must not, as a clause; undefined if all are right. */
function wrongEntry(expected: readonly EntryExpectation[], seen: readonly EntryChange[]): string | undefined {
  for (const { address, width, before, after } of seen) {
    const listed = expected.find((entry) => entry.address === address && entry.width === width);
    const values = listed?.values ?? [before];
    if (!values.includes(after)) {
      return `the entry at ${hex(address)} must hold ${values.map(hex).join(' or ')} and holds ${hex(after)}`;
    }
  }
  return undefined;
}

/** A probe in words: `write of 4 bytes at 0x401000`. */
export function describeProbe({ kind, size, linear, implicit }: Probe): string {
  const how = implicit === true ? 'implicit supervisor ' : '';
  return `${how}${kind} of ${size} byte${size === 1 ? '' : 's'} at ${hex(linear)}`;
}

/** A permitted outcome in words. */
export function describeOutcome(probe: Probe, outcome: ProbeOutcome): string {
  const stale = outcome.source === 'tables' ? '' : ` (from a ${outcome.source})`;
  if (outcome.outcome === 'fault')
    return describeFault(outcome.vector, outcome.errorCode, outcome.cr2) + stale;
  if (outcome.outcome === 'nested fault')
    return describeNestedFault(outcome.exitInfo1, outcome.exitInfo2) + stale;
  const where = outcome.segments.map((segment) => hex(segment.address)).join(' and ');
  const value = probe.kind === 'write' ? '' : `value ${hex(outcome.value)} `;
  const doubt =
    probe.kind === 'write' || outcome.unknown === 0n ? '' : `(bits ${hex(outcome.unknown)} either way) `;
  return `${value}${doubt}at physical ${where}${stale}`;
}

function describeSeen(seen: Seen): string {
  if (seen.outcome === 'fault') return describeFault(seen.vector, seen.errorCode, seen.cr2);
  if (seen.outcome === 'nested fault') return describeNestedFault([seen.exitInfo1], seen.exitInfo2);
  return seen.value === undefined ? 'a completed access' : `value ${hex(seen.value)}`;
}

function describeFault(vector: number, errorCode: number, cr2: bigint | null): string {
  const at = vector === VECTOR.PF && cr2 !== null ? `, CR2 ${hex(cr2)}` : '';
  const meaning = vector === VECTOR.PF ? ` (${describePageFault(errorCode)})` : '';
  return `exception ${vector} with error code ${hex(BigInt(errorCode))}${meaning}${at}`;
}

/** A nested page fault in words; the low half of EXITINFO1 reads as a page fault's error code (APM vol. 2 15.25.6). */
export function describeNestedFault(exitInfo1: readonly bigint[], exitInfo2: bigint): string {
  const which = (info: bigint): string => (has(info, NPF.TABLE) ? 'of a table' : 'of the final address');
  const texts = exitInfo1.map(
    (info) => `${hex(info)} (${describePageFault(Number(info & 0xffff_ffffn))} ${which(info)})`,
  );
  return `a nested page fault with EXITINFO1 ${texts.join(' or ')}, EXITINFO2 ${hex(exitInfo2)}`;
}

/** Page-fault error code in words (SDM vol. 3A 4.7). */
export function describePageFault(errorCode: number): string {
  const is = (mask: number): boolean => (errorCode & mask) !== 0;
  const words = [
    is(PFERR.U) ? 'user' : 'supervisor',
    is(PFERR.ID) ? 'fetch' : is(PFERR.W) ? 'write' : 'access',
  ];
  if (is(PFERR.RSVD)) words.push('reserved bit');
  else if (is(PFERR.PK)) words.push('protection key');
  else words.push(is(PFERR.P) ? 'protection' : 'not present');
  return words.join(' ');
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;
