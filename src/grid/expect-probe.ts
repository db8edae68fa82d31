import { VECTOR } from '../arch/exceptions.ts';
import { InputError } from '../arch/input-error.ts';
import { VMEXIT } from '../arch/svm-exits.ts';
import { NPF } from '../arch/vmcb.ts';
import { AGENT_SELECTOR, LDT_SELECTOR } from '../guest/agent-layout.ts';
import { agents } from '../guest/agents.ts';
import { PROBE_FORMS, type ProbeForm, probeFormNumber, probeLabel } from '../guest/probe-forms.ts';
import type { AddressSpaceModel } from '../oracle/address-space.ts';
import type { ExpectedFault, ExpectedNestedFault } from '../oracle/expected.ts';
import {
  type Probe,
  type ProbeAccess,
  type ProbeOutcome,
  probeOutcomes,
  settleProbe,
} from '../oracle/probe.ts';
import type { VmrunVerdict } from '../oracle/svm/vmrun-checks.ts';
import { Undecided } from '../oracle/undecided.ts';
import { FETCH_CODE, MARKER_DESCRIPTOR } from './marker.ts';
import type { ExpectedRecord } from './records.ts';
import type { ProbeStep } from './scenario.ts';
import type { Alternative } from './step-expectation.ts';

/** Who probes, and who hears of a page fault. */
export interface ProbeCircumstances {
  readonly level: 1 | 2;
  /** L1 intercepts L2's page faults. */
  readonly intercepted: boolean;
  /** L1 injects what it has intercepted. */
  readonly reflect: boolean;
  /** Whether L2 can be entered again after it has exited. */
  readonly reentry: VmrunVerdict['verdict'];
}

/** What became of L2: it never exited, it exited and was entered again, or it exited and cannot be entered. */
export type AfterProbe = 'stayed' | 'came back' | 'left';

export interface ProbeExpectation {
  readonly alternatives: readonly Alternative[];
  /** Whether L2 exits for a nested page fault. */
  readonly nestedFault: 'never' | 'sometimes' | 'always';
  /** Goes on with what was seen. Answers each thing that may have become of L2; no answer is that it stayed. */
  readonly settle: (taken: readonly Alternative[]) => ReadonlySet<AfterProbe>;
}

/** One access that a form of probe makes, with the outcomes that the oracle permits. */
interface Part {
  readonly probe: Probe;
  readonly outcomes: readonly ProbeOutcome[];
}

/** Accessed bit of a data segment's type, in the 8 bytes of a descriptor (SDM vol. 3A 3.4.5.1). */
const DESCRIPTOR_ACCESSED = 1n << 40n;

/** Opcode and jump of the 8 bytes that a fetch probe runs: all but the word in between and the last byte. */
const MARKER_CODE_MASK = 0x00ff_ff00_0000_00ffn;

/** What may come of a probe, by the oracle. */
export function expectProbe(
  model: AddressSpaceModel,
  step: ProbeStep,
  circumstances: ProbeCircumstances,
): ProbeExpectation {
  const form = PROBE_FORMS[probeFormNumber(step.form)];
  const parts = atPrivilege(model, step, () =>
    form.result === 'selector' ? descriptorParts(model, step) : [plainPart(model, step, form)],
  );

  const byAlternative = new Map<Alternative, ProbeOutcome>();
  const last = parts.at(-1)!;
  parts.forEach((part) => {
    for (const outcome of part.outcomes) {
      // The parts before the last matter only where they fault.
      if (part !== last && outcome.outcome === 'ok') continue;
      const courses =
        outcome.outcome === 'ok'
          ? [[valueRecord(step, form, outcome, circumstances.level)]]
          : outcome.outcome === 'fault'
            ? faultCourses(step, form, outcome, circumstances)
            : nestedFaultCourses(step, form, outcome, circumstances);
      for (const records of courses) byAlternative.set({ records, source: outcome.source }, outcome);
    }
  });
  const kinds = new Set([...byAlternative.values()].map(({ outcome }) => outcome));
  return {
    alternatives: [...byAlternative.keys()],
    nestedFault: !kinds.has('nested fault') ? 'never' : kinds.size === 1 ? 'always' : 'sometimes',
    settle: (taken) => {
      const outcomes = taken.map((alternative) => byAlternative.get(alternative)!);
      atPrivilege(model, step, () => settleParts(model, parts, outcomes));
      return new Set(taken.map(({ records }) => afterProbe(records)));
    },
  };
}

/** Does something as the probe's stub runs, and goes back to the agent's privilege. */
function atPrivilege<Result>(model: AddressSpaceModel, { cpl, ac }: ProbeStep, act: () => Result): Result {
  model.adjust({ cpl, eflagsAc: ac ?? false });
  try {
    return decided(act);
  } finally {
    model.adjust({ cpl: 0, eflagsAc: false });
  }
}

/** What an answer of the oracle is. Throws an InputError where it cannot decide: no scenario may ask that. */
export function decided<Result>(ask: () => Result): Result {
  try {
    return ask();
  } catch (error) {
    throw error instanceof Undecided ? new InputError(error.message) : error;
  }
}

/** Settles each access with what came of it: those before the one that was seen to end the probe have succeeded. */
function settleParts(
  model: AddressSpaceModel,
  parts: readonly Part[],
  outcomes: readonly ProbeOutcome[],
): void {
  parts.forEach(({ probe, outcomes: possible }, index) => {
    const mine = possible.filter((outcome) => outcomes.includes(outcome));
    const wentOn = parts
      .slice(index + 1)
      .some((later) => later.outcomes.some((outcome) => outcomes.includes(outcome)));
    const succeeded = wentOn ? possible.filter(({ outcome }) => outcome === 'ok') : [];
    const settled = [...new Set([...mine, ...succeeded])];
    if (settled.length > 0) settleProbe(model, probe, settled);
  });
}

function plainPart(model: AddressSpaceModel, step: ProbeStep, form: ProbeForm): Part {
  const probe: Probe = {
    linear: BigInt(step.at),
    // The code that a fetch runs is 8 bytes long.
    size: form.access === 'fetch' ? 8 : form.size,
    kind: form.modifies === true ? 'modify' : form.access,
    ...(form.access === 'write' ? { value: BigInt((step.value ?? 0) >>> 0) } : {}),
  };
  return { probe, outcomes: probeOutcomes(model, probe) };
}

/**
 * A segment load reads the descriptor, and sets its accessed bit if it is clear. The manuals do not say which bytes
 * that store is made of, so CR2 or EXITINFO2 may be the address of any of those that the processors are known to write.
 */
function descriptorParts(model: AddressSpaceModel, step: ProbeStep): Part[] {
  const read: Probe = { linear: BigInt(step.at), size: 8, kind: 'read', implicit: true };
  const reads = probeOutcomes(model, read);
  const found = reads.filter((outcome): outcome is ProbeAccess => outcome.outcome === 'ok');
  if (found.some(({ value, unknown }) => !isDataSegment(value, unknown))) {
    throw new InputError(
      `The ${step.form} probe at 0x${step.at.toString(16)} may load what is not a marker's descriptor.`,
    );
  }
  const accessed = found.every(({ value, unknown }) => (value & ~unknown & DESCRIPTOR_ACCESSED) !== 0n);
  if (accessed) return [{ probe: read, outcomes: reads }];
  const value = (found[0].value | DESCRIPTOR_ACCESSED) >> 32n;
  const write: Probe = { linear: BigInt(step.at + 4), size: 4, kind: 'modify', implicit: true, value };
  const firstBytes = [step.at, step.at + 4, step.at + 5].map((at) => BigInt(at) - write.linear);
  const writes = probeOutcomes(model, write).flatMap((outcome): ProbeOutcome[] =>
    outcome.outcome === 'ok' ? [outcome] : firstBytes.map((byte) => faultAt(outcome, write.linear, byte)),
  );
  return [
    { probe: read, outcomes: reads },
    { probe: write, outcomes: writes },
  ];
}

/** A fault of an access as if another byte of the same page were its first. */
function faultAt(
  outcome: ExpectedFault | ExpectedNestedFault,
  linear: bigint,
  byte: bigint,
): ExpectedFault | ExpectedNestedFault {
  if (outcome.outcome === 'fault') return { ...outcome, cr2: linear + byte };
  // A fault at an entry of L2's tables is about the entry's own address.
  const final = outcome.exitInfo1[0] >> 32n === BigInt(NPF.FINAL_HI);
  return final ? { ...outcome, exitInfo2: outcome.exitInfo2 + byte } : outcome;
}

/** Whether a descriptor is one of a marker for certain, but for its accessed bit. */
const isDataSegment = (value: bigint, unknown: bigint): boolean =>
  ((value ^ MARKER_DESCRIPTOR) & ~DESCRIPTOR_ACCESSED) === 0n && (unknown & ~DESCRIPTOR_ACCESSED) === 0n;

function valueRecord(step: ProbeStep, form: ProbeForm, outcome: ProbeAccess, level: 1 | 2): ExpectedRecord {
  const value = (lo: number, unknownLo = 0): ExpectedRecord => ({
    kind: 'value',
    level,
    lo: lo >>> 0,
    hi: 0,
    unknownLo: unknownLo >>> 0,
    unknownHi: 0,
  });
  if (form.result === 'selector') return value(LDT_SELECTOR);
  if (form.access === 'fetch') return value(...fetchedWord(step, outcome));
  if (form.result === 'given') return value(step.value ?? 0);
  return value(Number(outcome.value & 0xffff_ffffn), Number(outcome.unknown & 0xffff_ffffn));
}

/** The word that the code at the outcome's address answers. Throws if what is there is not a marker's code. */
function fetchedWord(step: ProbeStep, { value, unknown }: ProbeAccess): [word: number, unknown: number] {
  const byte = (index: number): bigint => (value >> BigInt(8 * index)) & 0xffn;
  const isMarker =
    byte(0) === BigInt(FETCH_CODE.opcode) &&
    FETCH_CODE.tail.every((code, index) => byte(5 + index) === BigInt(code));
  if (!isMarker || (unknown & MARKER_CODE_MASK) !== 0n) {
    throw new InputError(`The fetch probe at 0x${step.at.toString(16)} may run what is not a marker's code.`);
  }
  const shift = BigInt(8 * FETCH_CODE.wordOffset);
  return [Number((value >> shift) & 0xffff_ffffn), Number((unknown >> shift) & 0xffff_ffffn)];
}

function afterProbe([first, second]: readonly ExpectedRecord[]): AfterProbe {
  if (first.kind !== 'exit') return 'stayed';
  return second?.kind === 'exit' ? 'left' : 'came back';
}

/** What may be recorded for a fault: the ways that it may take, each a list of records. */
function faultCourses(
  step: ProbeStep,
  form: ProbeForm,
  { vector, errorCode, cr2 }: ExpectedFault,
  { level, intercepted, reflect, reentry }: ProbeCircumstances,
): ExpectedRecord[][] {
  const addresses = cr2 === null ? [] : [Number(cr2)];
  const eip = faultingEip(step, form);
  const cs = step.cpl === 3 ? AGENT_SELECTOR.USER_CODE : AGENT_SELECTOR.KERNEL_CODE;
  const fault: ExpectedRecord = { kind: 'fault', level, vector, errorCode, cr2: addresses, eip, cs };
  if (!intercepted || vector !== VECTOR.PF) return [[fault]];
  const code = VMEXIT.EXCP + vector;
  const exit: ExpectedRecord = { kind: 'exit', level: 1, code, info1: [errorCode], info2: addresses, eip };
  return afterExit(exit, reflect ? [exit, fault] : [exit], reentry);
}

/** What may be recorded for a nested page fault, which always exits to L1. */
function nestedFaultCourses(
  step: ProbeStep,
  form: ProbeForm,
  { exitInfo1, exitInfo2 }: ExpectedNestedFault,
  { reentry }: ProbeCircumstances,
): ExpectedRecord[][] {
  const low = (value: bigint): number => Number(value & 0xffff_ffffn);
  const high = (value: bigint): number => Number(value >> 32n);
  const exit: ExpectedRecord = {
    kind: 'exit',
    level: 1,
    code: VMEXIT.NPF,
    info1: exitInfo1.map(low),
    info2: [low(exitInfo2)],
    eip: faultingEip(step, form),
    // Values of EXITINFO1 that one outcome permits differ in the bits of an error code only.
    high: { info1: high(exitInfo1[0]), info2: high(exitInfo2) },
  };
  return afterExit(exit, [exit], reentry);
}

/** Courses from an exit on: L2 goes on as `back` says, or cannot be entered again. */
function afterExit(
  exit: ExpectedRecord,
  back: ExpectedRecord[],
  reentry: ProbeCircumstances['reentry'],
): ExpectedRecord[][] {
  const refused: ExpectedRecord[] = [exit, { kind: 'exit', level: 1, code: VMEXIT.INVALID }];
  return reentry === 'valid' ? [back] : reentry === 'invalid' ? [refused] : [back, refused];
}

/** EIP of the instruction that faults: the stub's, or the probed code's own first or second instruction. */
function faultingEip(step: ProbeStep, form: ProbeForm): number[] {
  if (form.access !== 'fetch') {
    const ring = step.cpl === 3 ? 'user' : 'kernel';
    return [agents().at(probeLabel(ring, probeFormNumber(step.form)))];
  }
  const secondInstruction = step.at + 5;
  return (step.at & 0xfff) > 0xff8 ? [step.at, secondInstruction] : [step.at];
}
