import type { EntryPlace } from './formats/entry.ts';

/** The values that one paging-structure entry may hold after an access. */
export interface EntryExpectation {
  readonly address: bigint;
  readonly width: 4 | 8;
  readonly values: readonly bigint[];
}

/** Where a permitted outcome comes from, for explanations. */
export type Source = 'tables' | 'cached translation' | 'cached upper level' | 'cached nested translation';

/** One outcome that the manuals permit. Entries it does not list keep their values. */
export type Expected = ExpectedAccess | ExpectedFault | ExpectedNestedFault;

export interface ExpectedAccess {
  readonly outcome: 'ok';
  readonly address: bigint;
  /** Bytes; null with paging off. */
  readonly pageSize: number | null;
  readonly entries: readonly EntryExpectation[];
  readonly source: Source;
}

export interface ExpectedFault {
  readonly outcome: 'fault';
  readonly vector: number;
  readonly errorCode: number;
  /** Null: CR2 keeps its value. */
  readonly cr2: bigint | null;
  readonly entries: readonly EntryExpectation[];
  readonly source: Source;
}

/** #VMEXIT(NPF): the nested tables do not permit an access of the guest (APM vol. 2 15.25.6). */
export interface ExpectedNestedFault {
  readonly outcome: 'nested fault';
  /** EXITINFO1, 64 bits: each value that the manual permits. */
  readonly exitInfo1: readonly bigint[];
  /** EXITINFO2: the guest-physical address, with the offset in its page. */
  readonly exitInfo2: bigint;
  /** Entries of guest and nested tables, by system-physical address. */
  readonly entries: readonly EntryExpectation[];
  readonly source: Source;
}

/** An entry that a walk has just read, and what the access does to its flags. */
export interface EntryUse {
  readonly place: EntryPlace;
  readonly value: bigint;
  /** Bits of `value` that may be either way; 0 in `value`. */
  readonly unknown: bigint;
  /** Flags that are set afterwards. */
  readonly sets: bigint;
  /** Flags that may be set afterwards. */
  readonly maySet: bigint;
}

/** What the entries of a walk may hold afterwards. Entries whose value cannot change are left out. */
export function entryExpectations(uses: readonly EntryUse[]): EntryExpectation[] {
  const merged = new Map<string, EntryUse>();
  for (const use of uses) {
    const key = `${use.place.address}/${use.place.width}`;
    const other = merged.get(key);
    merged.set(key, other ? { ...use, sets: use.sets | other.sets, maySet: use.maySet | other.maySet } : use);
  }
  const expectations: EntryExpectation[] = [];
  const all = [...merged.values()];
  for (const { place, value, unknown } of all) {
    // A page may be a table of 4-byte and of 8-byte entries at once, with nested paging in one walk.
    const sets = all.reduce((flags, use) => flags | seenFrom(place, use.place, use.sets), 0n);
    const maySet = all.reduce((flags, use) => flags | seenFrom(place, use.place, use.maySet), 0n);
    const open = (unknown | maySet) & ~sets;
    const values = [...new Set(subsets(open).map((flags) => value | sets | flags))];
    if (values.length > 1 || values[0] !== value) {
      expectations.push({ address: place.address, width: place.width, values });
    }
  }
  return expectations;
}

type Span = Pick<EntryExpectation, 'address' | 'width'>;

/** Bits of the entry at `from`, as far as they are bits of the entry at `at` too; zero for the others. */
function seenFrom(at: Span, from: Span, bits: bigint): bigint {
  const bytes = from.address - at.address;
  if (bytes >= BigInt(at.width) || bytes <= -BigInt(from.width)) return 0n;
  const shift = 8n * bytes;
  const there = shift >= 0n ? bits << shift : bits >> -shift;
  return BigInt.asUintN(8 * at.width, there);
}

/** What an entry may hold after two accesses of one instruction: flags are only ever set. */
export function joinExpectations(
  a: readonly EntryExpectation[],
  b: readonly EntryExpectation[],
): readonly EntryExpectation[] {
  const joined = [...a];
  for (const entry of b) {
    const at = joined.findIndex((other) => other.address === entry.address && other.width === entry.width);
    const other = joined[at];
    if (other === undefined) joined.push(entry);
    else {
      const values = other.values.flatMap((value) => entry.values.map((more) => value | more));
      joined[at] = { ...entry, values: [...new Set(values)] };
    }
  }
  return joined;
}

/** A text that two outcomes share exactly if they are the same to an observer. */
export function observable(expected: Expected): string {
  const entries = expected.entries
    .map((entry) => `${entry.address}=${[...entry.values].sort().join('|')}`)
    .sort()
    .join(',');
  switch (expected.outcome) {
    case 'ok':
      return `ok ${expected.address} ${expected.pageSize} ${entries}`;
    case 'fault':
      return `fault ${expected.vector} ${expected.errorCode} ${expected.cr2} ${entries}`;
    case 'nested fault':
      return `nested fault ${expected.exitInfo1.join('|')} ${expected.exitInfo2} ${entries}`;
  }
}

/** Every value that has only bits of `mask`. Masks here have at most the two flag bits and rarely more. */
function subsets(mask: bigint): bigint[] {
  if (mask === 0n) return [0n];
  const lowest = mask & -mask;
  return subsets(mask & ~lowest).flatMap((value) => [value, value | lowest]);
}
