import { directedScenarios } from './directed/directed.ts';
import { type Execute, type Task, type Work, workAbout, workName } from './execute.ts';
import type { ScenarioVerdict } from './judge.ts';
import type { Way } from './matrix/cell.ts';
import { type MatrixCell, matrix } from './matrix/matrix.ts';
import { type RandomWork, randomWork } from './random/generate.ts';
import { dealtTo, GRID_HOST_NAMES, nestsPaging, type RunHostName } from './run-host.ts';
import type { PagingMode, Scenario } from './scenario.ts';

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
export interface ScenarioGroup<One extends Work = Work> {
  readonly group: string;
  readonly scenarios: readonly One[];
}

/** Scenarios that belong together: those of a cell, or others. */
export type Collection<One extends Work = Work> = MatrixCell | ScenarioGroup<One>;

/** Scenarios that belong together, and what they run on. */
export type GridPart = Collection & { readonly on: RunHostName };

/** What of the grid was written by hand: the matrix cell by cell, then the directed scenarios. */
export const writtenParts = (): Collection<Scenario>[] => [
  ...matrix(),
  { group: 'directed', scenarios: directedScenarios() },
];

/** Random scenarios of the grid: with them it has more than 2,000. */
export const RANDOM_IN_GRID = 1_800;
/** Further ones with nested paging. */
export const RANDOM_NESTED_IN_GRID = 600;

/**
 * The whole grid: what was written, on each of the hosts, and the first random scenarios of a seed, dealt out among them.
 */
export function gridParts(seed: number, hosts: readonly RunHostName[] = GRID_HOST_NAMES): GridPart[] {
  const written = writtenParts();
  const nesting = hosts.filter(nestsPaging);
  return hosts.flatMap((on): GridPart[] => [
    ...written.map((part): GridPart => ({ on, ...part })),
    { on, group: 'random', scenarios: dealt(on, hosts, seed, false) },
    ...(nesting.includes(on)
      ? [{ on, group: 'random with nested paging', scenarios: dealt(on, nesting, seed, true) }]
      : []),
  ]);
}

/** The random scenarios of one kind that fall to a host. */
function dealt(
  on: RunHostName,
  hosts: readonly RunHostName[],
  seed: number,
  nested: boolean,
): readonly RandomWork[] {
  const count = nested ? RANDOM_NESTED_IN_GRID : RANDOM_IN_GRID;
  return Array.from({ length: count }, (_, index) => randomWork(seed, index, nested)).filter(
    ({ index }) => dealtTo(hosts, index) === on,
  );
}

/** What the scenarios of one part found. */
interface Findings {
  /** How many ran. */
  readonly scenarios: number;
  /** Those that the host cannot run, each with the reason: `2-level/pae/removed-memory: QEMU cannot remove memory`. */
  readonly skipped: readonly string[];
  /** Steps in which control or a level's paging mode switched: VMRUN, exit to L1, mode switch. */
  readonly switches: number;
  readonly probes: number;
  readonly mismatches: number;
  /** The story of each of the first mismatches, scenario by scenario. */
  readonly details: readonly string[];
  /** Every scenario, also those skipped. */
  readonly summaries: readonly ScenarioSummary[];
}

export interface CellVerdict extends Findings {
  readonly on: RunHostName;
  readonly l1: PagingMode;
  readonly way: Way;
  readonly l2: PagingMode;
}

export interface GroupVerdict extends Findings {
  readonly on: RunHostName;
  readonly group: string;
}

export type PartVerdict = CellVerdict | GroupVerdict;

export const isCell = (verdict: PartVerdict): verdict is CellVerdict => 'l1' in verdict;

/** L1 in a cell: `PAE`, `PAE with NPT`. */
export const rowTitle = ({ l1, way }: Pick<CellVerdict, 'l1' | 'way'>): string =>
  way === 'npt' ? `${l1} with NPT` : l1;

/** What reports call a part: `npt/pae, L1 PAE with NPT, L2 off`. */
export const partTitle = (verdict: PartVerdict): string =>
  `${verdict.on}, ${isCell(verdict) ? `L1 ${rowTitle(verdict)}, L2 ${verdict.l2}` : verdict.group}`;

/** Stories kept of each scenario: later ones are often consequences of the first. */
const DETAILS_PER_SCENARIO = 3;

/**
 * Runs the grid, yielding after each scenario. The answer is the same every time, whatever way `execute` takes. Throws
 * an InputError if the host has no SVM.
 * @returns the verdicts on the parts, in their order
 */
export async function* runGrid(
  execute: Execute,
  parts: readonly GridPart[],
): AsyncGenerator<GridProgress, PartVerdict[]> {
  const tasks = parts.flatMap(({ on, scenarios }) => scenarios.map((work): Task => ({ work, on })));
  const verdicts = new Array<ScenarioVerdict>(tasks.length);
  let done = 0;
  for await (const { index, verdict } of execute(tasks)) {
    verdicts[index] = verdict;
    yield { done: ++done, total: tasks.length, name: workName(tasks[index].work) };
  }
  let first = 0;
  return parts.map(({ scenarios: own, ...part }) => {
    const found = findings(own, verdicts.slice(first, first + own.length));
    first += own.length;
    return { ...part, ...found };
  });
}

const findings = (scenarios: readonly Work[], verdicts: readonly ScenarioVerdict[]): Findings => ({
  scenarios: verdicts.filter(({ skipped }) => skipped === undefined).length,
  skipped: verdicts.flatMap(({ skipped }, index) =>
    skipped === undefined ? [] : [`${workName(scenarios[index])}: ${skipped}`],
  ),
  switches: verdicts.reduce((sum, { switches }) => sum + switches, 0),
  probes: verdicts.reduce((sum, { probes }) => sum + probes, 0),
  mismatches: verdicts.reduce((sum, { mismatches }) => sum + mismatches.length, 0),
  details: verdicts.flatMap(({ mismatches }) =>
    mismatches.slice(0, DETAILS_PER_SCENARIO).map(({ text }) => text),
  ),
  summaries: verdicts.map(({ probes, mismatches, skipped }, index) => ({
    name: workName(scenarios[index]),
    about: workAbout(scenarios[index]),
    probes,
    mismatches: mismatches.map(({ text }) => text),
    ...(skipped !== undefined && { skipped }),
  })),
});
