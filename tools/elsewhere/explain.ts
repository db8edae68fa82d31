import { compileScenario } from '../../src/grid/compile.ts';
import { pagingRegistersText, stepText } from '../../src/grid/describe.ts';
import { Expectations } from '../../src/grid/expect.ts';
import type { MismatchDetails } from '../../src/grid/judge.ts';
import { expectedText, seenText } from '../../src/grid/records.ts';
import type { PagingRegisters } from '../../src/grid/registers.ts';
import { withoutFeatures } from '../../src/grid/run.ts';
import type { Scenario, Step } from '../../src/grid/scenario.ts';
import type { ProcessorFacts } from '../../src/grid/step-expectation.ts';
import { type Nesting, NestingTracker } from './nesting.ts';
import type { ReportedMismatch, Result } from './transcript.ts';

const L1 = 'L1';

/** A step of a scenario, who takes it, and the registers before it by the oracle. */
export interface Moment {
  readonly step: Step;
  /** `L1` or the name of an L2. */
  readonly level: string;
  readonly registers: PagingRegisters;
  /** Nested paging that the step is taken with, or that it enters an L2 with. */
  readonly nesting: Nesting | undefined;
}

/** A step that was otherwise than expected. */
export type ExplainedStep = MismatchDetails & Moment;

/** What a host does otherwise than the manuals say. Each was checked against them; the oracle is right. */
export interface Finding {
  readonly name: string;
  /** What it does, what the manual says and where, as sentences. */
  readonly about: string;
  /** `past`: what came before the step, from the first step of the scenario on. */
  readonly explains: (details: ExplainedStep, past: readonly Moment[]) => boolean;
  /** Later mismatches of the same scenario follow from it. */
  readonly hasConsequences?: true;
  /** It could explain much: it is asked only where neither another one nor what follows from one explains. */
  readonly afterOthers?: true;
  /** The host, or the agents on it, do not survive these scenarios, whose steps these are. */
  readonly kills?: (scenario: Scenario, course: readonly Moment[]) => boolean;
}

/** A mismatch, or an end of the machine, with the finding that explains it, if one does. */
export interface Explained {
  readonly scenario: string;
  readonly text: string;
  readonly finding: Finding | undefined;
}

/** Explains a result by what is known of the host. */
export function explainResult(
  scenario: Scenario,
  result: Result,
  processor: ProcessorFacts,
  findings: readonly Finding[],
): Explained[] {
  if (result.verdict !== 'not ok' && result.verdict !== 'died') return [];
  const { details, course } = followScenario(scenario, result.mismatches, processor);
  let cause: Finding | undefined;
  const explained = details.map((one): Explained => {
    const past = course.slice(0, one.number - 1);
    const explaining = findings.filter(({ explains }) => explains(one, past));
    const finding = explaining.find(({ afterOthers }) => afterOthers !== true) ?? cause ?? explaining[0];
    if (finding?.hasConsequences === true) cause = finding;
    return { scenario: scenario.name, text: mismatchText(scenario, one), finding };
  });
  if (explained.length > 0) return explained;
  const finding = findings.find(({ kills }) => kills?.(scenario, course));
  const reason = result.verdict === 'died' ? result.reason : 'its agents gave up';
  return [{ scenario: scenario.name, text: `${scenario.name}: ${reason}.`, finding }];
}

interface NumberedDetails extends ExplainedStep {
  readonly number: number;
}

/**
 * Goes through a scenario as the image did, with whatever may have come before. Answers all its steps, and what the
 * oracle expected at those of mismatches.
 */
function followScenario(
  scenario: Scenario,
  mismatches: readonly ReportedMismatch[],
  processor: ProcessorFacts,
): { details: NumberedDetails[]; course: Moment[] } {
  const facts = withoutFeatures(processor, scenario.absent ?? []);
  const expectations = new Expectations(compileScenario(scenario), facts);
  const nestings = new NestingTracker(scenario);
  const wanted = new Map(mismatches.map(({ step, seen }) => [step, seen]));
  const details: NumberedDetails[] = [];
  const course: Moment[] = [];
  for (let next = expectations.next(); next !== undefined; next = expectations.next()) {
    const { index, step, level, registers, alternatives: expected } = next;
    const moment = { step, level, registers, nesting: nestings.at(step, level === L1, registers) };
    course.push(moment);
    const seen = wanted.get(index + 1);
    if (seen !== undefined) details.push({ number: index + 1, ...moment, expected, seen });
    next.settle(expected);
  }
  return { details, course };
}

function mismatchText(scenario: Scenario, details: NumberedDetails): string {
  const { number, step, level, registers, expected, seen } = details;
  const must = expected.map(({ records }) => records.map(expectedText).join(', then ') || 'nothing recorded');
  return [
    `${scenario.name}, step ${number} in ${level}: ${stepText(step)}`,
    `must give ${[...new Set(must)].join(', or ')}; saw ${seen.map(seenText).join(', then ') || 'nothing'}.`,
    pagingRegistersText(registers),
  ].join('\n    ');
}
