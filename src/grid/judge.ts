import { InputError } from '../arch/input-error.ts';
import { AGENT_STATE } from '../guest/agent-core.ts';
import { AGENT_EXIT, AGENT_LAYOUT, STEP_SIZE } from '../guest/agent-layout.ts';
import { agents } from '../guest/agents.ts';
import { type CompiledScenario, stepNumber } from './compile.ts';
import { pagingRegistersText, roleText, stepText } from './describe.ts';
import { Expectations } from './expect.ts';
import {
  expectedText,
  type LogEntry,
  parseLog,
  recordMatches,
  type SeenRecord,
  seenText,
} from './records.ts';
import type { PagingRegisters } from './registers.ts';
import type { Scenario, Step, StepKind } from './scenario.ts';
import type { Alternative, ProcessorFacts, StepExpectation } from './step-expectation.ts';

/** How a machine ended, and its memory then. */
export interface MachineEnd {
  /** What the guest wrote to the debug exit port; undefined if it ended otherwise. */
  readonly exitCode: number | undefined;
  /** Why the machine stopped, as a clause: `it wrote 0 to the debug exit port`. */
  readonly reason: string;
  /** Guest physical memory; at least the agents' log and the state beside it. */
  readonly read: (address: number, length: number) => Uint8Array;
  /** Instructions retired; undefined where the machine does not count them. */
  readonly instructions: number | undefined;
}

/** One thing that a machine did wrong. */
export interface Mismatch {
  readonly scenario: string;
  /** Index of the step; -1 for what is not about one step. */
  readonly index: number;
  /** The step, what its records may be, and what they were; absent where it is not about one step. */
  readonly details?: MismatchDetails;
  /** The whole story: scenario, step, what had to be, what was, registers, role. */
  readonly text: string;
}

export interface MismatchDetails {
  readonly step: Step;
  readonly level: string;
  readonly registers: PagingRegisters;
  readonly expected: readonly Alternative[];
  readonly seen: readonly SeenRecord[];
}

/** The verdict on one scenario: plain data, as it travels between threads. */
export interface ScenarioVerdict {
  /** Probe steps that were judged. */
  readonly probes: number;
  /** Steps of them all in which control or a level's paging mode switches: VMRUN, exit to L1, mode switch. */
  readonly switches: number;
  readonly mismatches: readonly Mismatch[];
  /** Why it did not run: `Umbra, bare cannot remove memory`; absent if it ran. */
  readonly skipped?: string;
}

const SWITCHES: ReadonlySet<StepKind> = new Set(['enter', 'leave', 'switch']);

/** The bytes of the agents' log out of a machine's memory; empty if what is there is no log. */
export function logBytes(end: MachineEnd): Uint8Array {
  const at = logEnd(end);
  return end.read(AGENT_LAYOUT.LOG, isLogEnd(at) ? at - AGENT_LAYOUT.LOG : 0);
}

/** The agents' log out of a machine's memory. Throws a RangeError if what is there is no log. */
export function readLog(end: MachineEnd): LogEntry[] {
  const at = logEnd(end);
  if (!isLogEnd(at)) throw new RangeError(`The log ends at 0x${at.toString(16)}.`);
  const bytes = logBytes(end);
  return parseLog(bytes, bytes.length);
}

const isLogEnd = (at: number): boolean => at >= AGENT_LAYOUT.LOG && at <= AGENT_LAYOUT.LOG_LIMIT;

const logEnd = (end: MachineEnd): number => wordOf(end.read(agents().at(AGENT_STATE.LOG), 4), 0);

/**
 * Number of the step that the agents were at when their machine ended; 0 if that was before the first. Undefined where the
 * pointer to it is none, since something wrote over it.
 */
function stepReached({ own }: CompiledScenario, end: MachineEnd): number | undefined {
  const pointer = wordOf(end.read(agents().at(AGENT_STATE.SCRIPT), 4), 0);
  const script = own.find(({ address }) => address === AGENT_LAYOUT.SCRIPT)!.bytes;
  const at = pointer - AGENT_LAYOUT.SCRIPT;
  if (pointer === 0) return 0;
  return at >= 0 && at < script.length && at % STEP_SIZE === 0 ? wordOf(script, at + 4) : undefined;
}

const wordOf = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);

/** A step that was judged. */
export interface JudgedStep {
  readonly expectation: StepExpectation;
  readonly seen: readonly SeenRecord[];
  readonly right: boolean;
}

/**
 * Compares what a machine recorded with what the oracle permits, step by step. Throws an InputError where the oracle says
 * that the scenario cannot go on, and the machine has been right so far.
 * @param observe hears of each step, before the next is looked at; also of the one in which the machine stopped too early
 */
export function judgeScenario(
  compiled: CompiledScenario,
  end: MachineEnd,
  processor: ProcessorFacts,
  observe?: (judged: JudgedStep) => void,
): ScenarioVerdict {
  const { scenario } = compiled;
  const mismatches: Mismatch[] = [];
  const note = (text: string): void => {
    mismatches.push({ scenario: scenario.name, index: -1, text });
  };
  let log: LogEntry[];
  try {
    log = readLog(end);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    note(
      `Scenario ${scenario.name}: the agents left no log (${error.message}); the machine stopped because ${end.reason}.`,
    );
    return { probes: 0, switches: 0, mismatches };
  }
  const seenAt = groupByStep(log);
  const finished = end.exitCode === AGENT_EXIT.DONE;
  const lastRecorded = log.reduce((last, entry) => Math.max(last, entry.step), 0);
  const reached = finished ? undefined : stepReached(compiled, end);
  // Steps that record nothing have been taken too.
  const lastStep = Math.max(lastRecorded, (reached ?? 0) - 1);
  let probes = 0;
  let switches = 0;
  const judge = (expectation: StepExpectation): void => {
    if (expectation.step.do === 'probe') probes++;
    if (SWITCHES.has(expectation.step.do)) switches++;
    const seen = seenAt.get(stepNumber(expectation.index)) ?? [];
    const taken = expectation.alternatives.filter(
      ({ records }) =>
        records.length === seen.length &&
        records.every((record, index) => recordMatches(record, seen[index])),
    );
    const right = taken.length > 0;
    const mismatch = right ? [] : [mismatchOf(scenario, expectation, seen)];
    observe?.({ expectation, seen, right });
    // Where only one thing can be and nobody could go on behind it, the scenario is what is wrong.
    const certain = expectation.alternatives.length === 1;
    if (!certain) mismatches.push(...mismatch);
    expectation.settle(right ? taken : expectation.alternatives);
    if (certain) mismatches.push(...mismatch);
  };
  try {
    const expectations = new Expectations(compiled, processor);
    for (let next = expectations.next(); next !== undefined; next = expectations.next()) {
      if (!finished && stepNumber(next.index) > lastStep) {
        if (stepNumber(next.index) === reached) {
          observe?.({ expectation: next, seen: [], right: false });
          // As above.
          if (next.alternatives.length === 1) next.settle(next.alternatives);
        }
        break;
      }
      judge(next);
    }
  } catch (error) {
    // After a mismatch the oracle is on another way than the machine: what follows may be impossible there.
    if (!(error instanceof InputError) || mismatches.length === 0) throw error;
  }
  if (!finished) {
    const what = whereStopped(scenario, reached, lastRecorded);
    note(`Scenario ${scenario.name} did not finish: the machine stopped ${what} because ${end.reason}.`);
  }
  return { probes, switches, mismatches };
}

/** Where a machine stopped, as far as that is known. */
function whereStopped({ steps }: Scenario, reached: number | undefined, lastRecorded: number): string {
  const step = reached === undefined ? undefined : steps[reached - stepNumber(0)];
  if (step !== undefined) return `in step ${reached}, ${stepText(step)},`;
  return lastRecorded === 0 ? 'before its first step' : `after step ${lastRecorded}`;
}

function groupByStep(log: readonly LogEntry[]): Map<number, SeenRecord[]> {
  const groups = new Map<number, SeenRecord[]>();
  for (const { step, record } of log) {
    const group = groups.get(step);
    if (group === undefined) groups.set(step, [record]);
    else group.push(record);
  }
  return groups;
}

function mismatchOf(scenario: Scenario, expectation: StepExpectation, seen: readonly SeenRecord[]): Mismatch {
  const { index, step, level, registers, alternatives } = expectation;
  const text = mismatchText(scenario, expectation, seen);
  return {
    scenario: scenario.name,
    index,
    text,
    details: { step, level, registers, expected: alternatives, seen },
  };
}

function mismatchText(scenario: Scenario, expectation: StepExpectation, seen: readonly SeenRecord[]): string {
  const { index, step, level, registers, alternatives } = expectation;
  const expected = alternatives.map(({ records, source }) => {
    const text = records.length === 0 ? 'nothing recorded' : records.map(expectedText).join(', then ');
    return source === 'tables' ? text : `${text} (from a ${source})`;
  });
  const saw = seen.length === 0 ? 'nothing was recorded' : `saw ${seen.map(seenText).join(', then ')}`;
  return [
    `Scenario ${scenario.name}, step ${index + 1} in ${level}: ${stepText(step)}`,
    `must give ${[...new Set(expected)].join(', or ')}; ${saw}.`,
    `Registers ${pagingRegistersText(registers)}; cpu role ${roleText(registers, level)}.`,
  ].join('\n  ');
}
