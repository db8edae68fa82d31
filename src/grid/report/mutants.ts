import type { HuntVerdict } from '../mutants/hunt.ts';
import { homeOf } from '../mutants/mutant.ts';
import { mutantNamed } from '../mutants/mutants.ts';
import type { RunHostName } from '../run-host.ts';
import { plural } from './page.ts';

/** What became of a mutant. `survived` is wrong always; the others are as long as its entry says so. */
export type MutantOutcome =
  | 'caught by a probe'
  | 'caught only by --check'
  | 'proved to be no bug'
  | 'survived'
  /** On a host where it does not live, of which its entry says nothing. */
  | 'not caught there'
  | 'not run';

/** A mutant and what the grid found of it: what every report of a hunt is made from. */
export interface MutantFinding {
  readonly name: string;
  readonly history: string;
  /** The host where it was hunted: `npt/pae`. */
  readonly on: RunHostName;
  /** The host where it lives. */
  readonly home: RunHostName;
  /** Year and commit of KVM's mending, where known. */
  readonly mended?: string;
  readonly outcome: MutantOutcome;
  /** The outcome is the one of its entry. */
  readonly asExpected: boolean;
  /** Scenario that caught it, and the step there, from 1. */
  readonly scenario?: string;
  readonly step?: number;
  /** What was wrong there. */
  readonly story?: string;
  /** Why it was not run, if it was not. */
  readonly why?: string;
  /** Why it is no bug, where that is proved. */
  readonly proof?: string;
  /** Why no guest sees it, where only `--check` does. */
  readonly unseen?: string;
  /** Scenarios that were run on it. */
  readonly scenarios: number;
}

/** What a hunt found, mutant by mutant. */
export const mutantFindings = (verdicts: readonly HuntVerdict[]): MutantFinding[] => verdicts.map(findingOf);

function findingOf({ mutant, on, finding, scenarios, asExpected }: HuntVerdict): MutantFinding {
  const known = mutantNamed(mutant);
  const { name, history, mended, fate } = known;
  const home = homeOf(known);
  const outcome = outcomeOf(finding.caught, asExpected, on === home);
  return {
    name,
    history,
    on,
    home,
    ...(mended !== undefined && { mended }),
    outcome,
    asExpected,
    ...(finding.caught === 'not run' && { why: finding.why }),
    ...('scenario' in finding && {
      scenario: finding.scenario,
      ...(finding.step !== undefined && { step: finding.step }),
      story: finding.story,
    }),
    ...(fate.caught === 'never' && { proof: fate.proof }),
    ...(fate.caught === 'by --check' && { unseen: fate.why }),
    scenarios,
  };
}

function outcomeOf(
  caught: HuntVerdict['finding']['caught'],
  asExpected: boolean,
  atHome: boolean,
): MutantOutcome {
  if (caught === 'by a probe') return 'caught by a probe';
  if (caught === 'by --check') return 'caught only by --check';
  if (caught === 'not run') return 'not run';
  if (!atHome) return 'not caught there';
  return asExpected ? 'proved to be no bug' : 'survived';
}

/** Where a mutant was caught: `directed/wp-toggled, step 10`; empty if it was not. */
export const placeOf = ({ scenario, step }: MutantFinding): string =>
  scenario === undefined ? '' : `${scenario}${step === undefined ? '' : `, step ${step}`}`;

/** How often each outcome was, in one sentence without its stop. */
export function mutantSum(findings: readonly MutantFinding[]): string {
  const count = (outcome: MutantOutcome): number => findings.filter((one) => one.outcome === outcome).length;
  const rest = (['not caught there', 'not run'] as const).flatMap((outcome) =>
    count(outcome) === 0 ? [] : [`${count(outcome)} ${outcome}`],
  );
  return [
    `${plural(findings.length, 'mutant')}: ${count('caught by a probe')} caught by a probe`,
    `${count('caught only by --check')} only by --check`,
    `${count('proved to be no bug')} proved to be no bug`,
    `${count('survived')} survived`,
    ...rest,
  ].join(', ');
}
