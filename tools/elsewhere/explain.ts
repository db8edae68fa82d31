import { compileScenario } from '../../src/grid/compile.ts';
import { pagingRegistersText, stepText } from '../../src/grid/describe.ts';
import { Expectations } from '../../src/grid/expect.ts';
import type { MismatchDetails } from '../../src/grid/judge.ts';
import { expectedText, seenText } from '../../src/grid/records.ts';
import { withoutFeatures } from '../../src/grid/run.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import type { ProcessorFacts } from '../../src/grid/step-expectation.ts';
import type { ReportedMismatch, Result } from './transcript.ts';

/** What a host does otherwise than the manuals say. Each was checked against them; the oracle is right. */
export interface Finding {
  readonly name: string;
  /** What it does, what the manual says and where, as sentences. */
  readonly about: string;
  readonly explains: (details: MismatchDetails) => boolean;
  /** Later mismatches of the same scenario follow from it. */
  readonly hasConsequences?: true;
  /** The host, or the agents on it, do not survive these scenarios. */
  readonly kills?: (scenario: Scenario) => boolean;
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
  const killer = findings.find(({ kills }) => kills?.(scenario));
  if (result.verdict === 'died') {
    return [{ scenario: scenario.name, text: `${scenario.name}: ${result.reason}.`, finding: killer }];
  }
  if (result.verdict !== 'not ok') return [];
  let cause: Finding | undefined;
  const explained = detailsOf(scenario, result.mismatches, processor).map((details): Explained => {
    const finding = findings.find(({ explains }) => explains(details)) ?? cause;
    if (finding?.hasConsequences === true) cause = finding;
    return { scenario: scenario.name, text: mismatchText(scenario, details), finding };
  });
  if (explained.length > 0) return explained;
  return [{ scenario: scenario.name, text: `${scenario.name}: its agents gave up.`, finding: killer }];
}

interface NumberedDetails extends MismatchDetails {
  readonly number: number;
}

/** What the oracle expected at the steps of mismatches, as in the image: whatever came before may have come. */
function detailsOf(
  scenario: Scenario,
  mismatches: readonly ReportedMismatch[],
  processor: ProcessorFacts,
): NumberedDetails[] {
  const facts = withoutFeatures(processor, scenario.absent ?? []);
  const expectations = new Expectations(compileScenario(scenario), facts);
  const wanted = new Map(mismatches.map(({ step, seen }) => [step, seen]));
  const details: NumberedDetails[] = [];
  for (let next = expectations.next(); next !== undefined; next = expectations.next()) {
    const { index, step, level, registers, alternatives: expected } = next;
    const seen = wanted.get(index + 1);
    if (seen !== undefined) details.push({ number: index + 1, step, level, registers, expected, seen });
    next.settle(expected);
  }
  return details;
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
