import type { HuntVerdict } from '../mutants/hunt.ts';
import { homeOf } from '../mutants/mutant.ts';
import { mutantNamed } from '../mutants/mutants.ts';
import type { RunHostName } from '../run-host.ts';

/** What became of a mutant. `survived` is wrong always; the others are as long as its entry says so. */
export type MutantOutcome =
  | 'caught by a probe'
  | 'caught only by --check'
  | 'proved to be no bug'
  | 'survived';

/** A mutant and what the grid found of it: what every report of a hunt is made from. */
export interface MutantFinding {
  readonly name: string;
  readonly history: string;
  /** The host where it lives: `npt/pae`. */
  readonly on: RunHostName;
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
  /** Why it is no bug, where that is proved. */
  readonly proof?: string;
  /** Why no guest sees it, where only `--check` does. */
  readonly unseen?: string;
  /** Scenarios that were run on it. */
  readonly scenarios: number;
}

/** What a hunt found, mutant by mutant. */
export const mutantFindings = (verdicts: readonly HuntVerdict[]): MutantFinding[] => verdicts.map(findingOf);

function findingOf({ mutant, finding, scenarios, asExpected }: HuntVerdict): MutantFinding {
  const known = mutantNamed(mutant);
  const { name, history, mended, fate } = known;
  const outcome = outcomeOf(finding.caught, asExpected);
  return {
    name,
    history,
    on: homeOf(known),
    ...(mended !== undefined && { mended }),
    outcome,
    asExpected,
    ...(finding.caught !== 'never' && {
      scenario: finding.scenario,
      ...(finding.step !== undefined && { step: finding.step }),
      story: finding.story,
    }),
    ...(fate.caught === 'never' && { proof: fate.proof }),
    ...(fate.caught === 'by --check' && { unseen: fate.why }),
    scenarios,
  };
}

function outcomeOf(caught: HuntVerdict['finding']['caught'], asExpected: boolean): MutantOutcome {
  if (caught === 'by a probe') return 'caught by a probe';
  if (caught === 'by --check') return 'caught only by --check';
  return asExpected ? 'proved to be no bug' : 'survived';
}

/** Where a mutant was caught: `directed/wp-toggled, step 10`; empty if it was not. */
export const placeOf = ({ scenario, step }: MutantFinding): string =>
  scenario === undefined ? '' : `${scenario}${step === undefined ? '' : `, step ${step}`}`;

/** How often each outcome was, in one sentence without its stop. */
export function mutantSum(findings: readonly MutantFinding[]): string {
  const count = (outcome: MutantOutcome): number => findings.filter((one) => one.outcome === outcome).length;
  return (
    `${findings.length} mutants: ${count('caught by a probe')} caught by a probe, ` +
    `${count('caught only by --check')} only by --check, ${count('proved to be no bug')} proved to be no bug, ` +
    `${count('survived')} survived`
  );
}
