import { directedScenarios } from './directed/directed.ts';
import type { Execute } from './execute.ts';
import type { ScenarioVerdict } from './judge.ts';
import { type MatrixCell, matrix } from './matrix/matrix.ts';
import type { PagingMode, Scenario, StepKind } from './scenario.ts';

/** How far a run of the grid is, in scenarios. */
export interface GridProgress {
  readonly done: number;
  readonly total: number;
  /** The scenario that was done last. */
  readonly name?: string;
}

/** What one scenario found. */
export interface ScenarioSummary {
  readonly name: string;
  readonly about: string;
  readonly probes: number;
  /** The story of each mismatch. */
  readonly mismatches: readonly string[];
  /** Why the host cannot run it, if it cannot. */
  readonly skipped?: string;
}

/** Scenarios of the grid that are in no cell. */
export interface ScenarioGroup {
  readonly group: string;
  readonly scenarios: readonly Scenario[];
}

export type GridPart = MatrixCell | ScenarioGroup;

/** The whole grid: the matrix cell by cell, then the directed scenarios. */
export const gridParts = (): GridPart[] => [
  ...matrix(),
  { group: 'directed', scenarios: directedScenarios() },
];

/** What the scenarios of one part found. */
interface Findings {
  /** How many ran. */
  readonly scenarios: number;
  /** Those that the host cannot run, each with the reason: `2-level/pae/removed-memory: QEMU cannot remove memory`. */
  readonly skipped: readonly string[];
  /** Steps of those that ran in which control or a level's paging mode switches: VMRUN, exit to L1, mode switch. */
  readonly switches: number;
  readonly probes: number;
  readonly mismatches: number;
  /** The story of each of the first mismatches, scenario by scenario. */
  readonly details: readonly string[];
  /** Every scenario, also those skipped. */
  readonly summaries: readonly ScenarioSummary[];
}

export interface CellVerdict extends Findings {
  readonly l1: PagingMode;
  readonly l2: PagingMode;
}

export interface GroupVerdict extends Findings {
  readonly group: string;
}

export type PartVerdict = CellVerdict | GroupVerdict;

export const isCell = (verdict: PartVerdict): verdict is CellVerdict => 'l1' in verdict;

/** What reports call a part. */
export const partTitle = (verdict: PartVerdict): string =>
  isCell(verdict) ? `L1 ${verdict.l1}, L2 ${verdict.l2}` : verdict.group;

/** Stories kept of each scenario: later ones are often consequences of the first. */
const DETAILS_PER_SCENARIO = 3;

/**
 * Runs the grid, yielding after each scenario. The answer is the same every time, whatever way `execute` takes. Throws
 * an InputError if the host has no SVM.
 * @param parts what to run; the whole grid by default
 * @returns the verdicts on the parts, in their order
 */
export async function* runMatrix(
  execute: Execute,
  parts: readonly GridPart[] = gridParts(),
): AsyncGenerator<GridProgress, PartVerdict[]> {
  const scenarios = parts.flatMap((part) => part.scenarios);
  const verdicts = new Array<ScenarioVerdict>(scenarios.length);
  let done = 0;
  for await (const { index, verdict } of execute(scenarios)) {
    verdicts[index] = verdict;
    yield { done: ++done, total: scenarios.length, name: scenarios[index].name };
  }
  let first = 0;
  return parts.map(({ scenarios: own, ...part }) => {
    const found = findings(own, verdicts.slice(first, first + own.length));
    first += own.length;
    return { ...part, ...found };
  });
}

const SWITCHES: ReadonlySet<string> = new Set<StepKind>(['enter', 'leave', 'switch']);

const switchesOf = ({ steps }: Scenario): number => steps.filter((step) => SWITCHES.has(step.do)).length;

const findings = (scenarios: readonly Scenario[], verdicts: readonly ScenarioVerdict[]): Findings => ({
  scenarios: verdicts.filter(({ skipped }) => skipped === undefined).length,
  skipped: verdicts.flatMap(({ skipped }, index) =>
    skipped === undefined ? [] : [`${scenarios[index].name}: ${skipped}`],
  ),
  switches: verdicts.reduce(
    (sum, { skipped }, index) => sum + (skipped === undefined ? switchesOf(scenarios[index]) : 0),
    0,
  ),
  probes: verdicts.reduce((sum, { probes }) => sum + probes, 0),
  mismatches: verdicts.reduce((sum, { mismatches }) => sum + mismatches.length, 0),
  details: verdicts.flatMap(({ mismatches }) =>
    mismatches.slice(0, DETAILS_PER_SCENARIO).map(({ text }) => text),
  ),
  summaries: verdicts.map(({ probes, mismatches, skipped }, index) => ({
    name: scenarios[index].name,
    about: scenarios[index].about,
    probes,
    mismatches: mismatches.map(({ text }) => text),
    ...(skipped !== undefined && { skipped }),
  })),
});
