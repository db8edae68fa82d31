import type { AddressSpaceModel, EntrySeen } from './address-space.ts';
import {
  type EntryExpectation,
  type Expected,
  type ExpectedFault,
  type ExpectedNestedFault,
  joinExpectations,
  type Source,
} from './expected.ts';
import type { Width } from './memory.ts';
import { linearAddress } from './translate.ts';

/** One access by an instruction, of up to 8 bytes anywhere, page boundaries included. */
export interface Probe {
  readonly linear: bigint;
  readonly size: Width;
  /** `modify`: an instruction that reads and then writes the same operand. */
  readonly kind: 'read' | 'write' | 'modify' | 'fetch';
  /** See `Access`. */
  readonly implicit?: boolean;
  /** What a write or modify stores. */
  readonly value?: bigint;
}

/** Consecutive bytes of a probe in physical memory. */
export interface Segment {
  readonly address: bigint;
  readonly bytes: number;
}

export interface ProbeAccess {
  readonly outcome: 'ok';
  readonly segments: readonly Segment[];
  /** What the probe finds at its address, before it stores anything. */
  readonly value: bigint;
  /** Bits of `value` that may be either way. */
  readonly unknown: bigint;
  readonly entries: readonly EntryExpectation[];
  readonly source: Source;
}

export type ProbeOutcome = ProbeAccess | ExpectedFault | ExpectedNestedFault;

interface Piece {
  readonly linear: bigint;
  readonly bytes: number;
}

/** Every outcome of a probe that the manuals permit. */
export function probeOutcomes(model: AddressSpaceModel, probe: Probe): ProbeOutcome[] {
  const [first, second] = pieces(model, probe).map((piece) => pieceOutcomes(model, probe, piece));
  const outcomes = second === undefined ? first! : crossing(model, first!, second);
  return outcomes.map((outcome) => withOwnFlags(model, outcome));
}

/**
 * A probe may find an entry that its own walk sets flags in. The manuals do not order these stores of the processor
 * before or after the access, so the flags may be seen either way.
 */
function withOwnFlags(model: AddressSpaceModel, outcome: ProbeOutcome): ProbeOutcome {
  if (outcome.outcome !== 'ok' || outcome.entries.length === 0) return outcome;
  let open = 0n;
  byteAddresses(outcome.segments).forEach((place, i) => {
    for (const { address, width, values } of outcome.entries) {
      if (place < address || place >= address + BigInt(width)) continue;
      const now = model.memory.read(address, width);
      const changed = values.reduce((bits, value) => bits | (value ^ now), 0n);
      open |= ((changed >> (8n * (place - address))) & 0xffn) << BigInt(8 * i);
    }
  });
  return open === 0n
    ? outcome
    : { ...outcome, value: outcome.value & ~open, unknown: outcome.unknown | open };
}

/**
 * Records that a probe was made and had one of `outcomes`: the entries it touched, what it stored, and what a fault
 * invalidates. `seen`: entries as they were found afterwards.
 */
export function settleProbe(
  model: AddressSpaceModel,
  probe: Probe,
  outcomes: readonly ProbeOutcome[],
  seen: readonly EntrySeen[] = [],
): void {
  model.settle(outcomes, seen);
  if (probe.kind !== 'write' && probe.kind !== 'modify') return;
  if (probe.value === undefined)
    throw new RangeError(`A ${probe.kind} probe needs the value that it stores.`);
  const places = outcomes.map((outcome) => (outcome.outcome === 'ok' ? byteAddresses(outcome.segments) : []));
  for (const address of new Set(places.flat())) {
    const before = model.memory.read(address, 1);
    const doubt = model.unknown(address, 1);
    const after = places.map((place) => {
      const i = place.indexOf(address);
      return i < 0 ? [before, before | doubt] : [(probe.value! >> BigInt(8 * i)) & 0xffn];
    });
    const certain = after.flat().reduce((all, value) => all & value);
    model.store(address, 1, certain, after.flat().reduce((any, value) => any | value) ^ certain);
  }
}

/** Address of each byte of a probe, in order. */
export const byteAddresses = (segments: readonly Segment[]): bigint[] =>
  segments.flatMap(({ address, bytes }) => Array.from({ length: bytes }, (_, i) => address + BigInt(i)));

/** The parts of a probe before and after a 4-KByte boundary; a page is never smaller. */
function pieces(model: AddressSpaceModel, { linear, size }: Probe): Piece[] {
  const first = linearAddress(model.cpu, linear);
  const room = 0x1000 - Number(first & 0xfffn);
  if (room >= size) return [{ linear: first, bytes: size }];
  const second = linearAddress(model.cpu, first + BigInt(room));
  return [
    { linear: first, bytes: room },
    { linear: second, bytes: size - room },
  ];
}

function pieceOutcomes(model: AddressSpaceModel, probe: Probe, { linear, bytes }: Piece): ProbeOutcome[] {
  const access = (kind: 'read' | 'write' | 'fetch'): Expected[] =>
    model.allowed(linear, { kind, implicit: probe.implicit === true });
  if (probe.kind !== 'modify') return access(probe.kind).map((expected) => located(model, expected, bytes));
  // The manuals do not say whether the load of a read-modify-write faults as a read or as the write to come.
  const writes = access('write').map((expected) => located(model, expected, bytes));
  const reads = access('read').map((expected) => located(model, expected, bytes));
  return [...writes, ...reads.filter((outcome) => outcome.outcome !== 'ok')];
}

function located(model: AddressSpaceModel, expected: Expected, bytes: number): ProbeOutcome {
  if (expected.outcome !== 'ok') return expected;
  const { address, entries, source } = expected;
  return {
    outcome: 'ok',
    segments: [{ address, bytes }],
    ...contents(model, address, bytes),
    entries,
    source,
  };
}

function contents(
  model: AddressSpaceModel,
  address: bigint,
  bytes: number,
): { value: bigint; unknown: bigint } {
  let value = 0n;
  let unknown = 0n;
  for (let i = bytes - 1; i >= 0; i--) {
    value = (value << 8n) | model.memory.read(address + BigInt(i), 1);
    unknown = (unknown << 8n) | model.unknown(address + BigInt(i), 1);
  }
  return { value, unknown };
}

/** A probe across a page boundary: either part may fault, and the manuals do not say which is looked at first. */
function crossing(
  model: AddressSpaceModel,
  first: readonly ProbeOutcome[],
  second: readonly ProbeOutcome[],
): ProbeOutcome[] {
  const outcomes: ProbeOutcome[] = [];
  for (const a of first) {
    for (const b of second) {
      if (a.outcome === 'ok' && b.outcome === 'ok') outcomes.push(joined(a, b));
      if (a.outcome !== 'ok') outcomes.push(b.outcome === 'ok' ? faultAfter(model, a, b) : a);
      if (b.outcome !== 'ok') outcomes.push(a.outcome === 'ok' ? faultAfter(model, b, a) : b);
    }
  }
  return outcomes;
}

function joined(a: ProbeAccess, b: ProbeAccess): ProbeAccess {
  const shift = BigInt(8 * a.segments.reduce((bytes, segment) => bytes + segment.bytes, 0));
  return {
    outcome: 'ok',
    segments: [...a.segments, ...b.segments],
    value: a.value | (b.value << shift),
    unknown: a.unknown | (b.unknown << shift),
    entries: joinExpectations(a.entries, b.entries),
    source: a.source === 'tables' ? b.source : a.source,
  };
}

/** One part faults; the flags of the other may be set already, dirty included (APM vol. 2 5.4.2). */
function faultAfter(
  model: AddressSpaceModel,
  fault: ExpectedFault | ExpectedNestedFault,
  other: ProbeAccess,
): ProbeOutcome {
  const optional = other.entries.map((entry) => ({
    ...entry,
    values: [...new Set([...entry.values, model.memory.read(entry.address, entry.width)])],
  }));
  return { ...fault, entries: joinExpectations(fault.entries, optional) };
}
