import type { HuntVerdict } from '../../grid/mutants/hunt.ts';
import { plural } from '../../grid/report/page.ts';
import { isCell, type PartVerdict, partTitle, rowTitle } from '../../grid/run-grid.ts';
import { type RunHostName, runHostText } from '../../grid/run-host.ts';
import type { Scenario } from '../../grid/scenario.ts';
import type { Host } from '../host.ts';
import { type Progress, withProgress } from '../progress.ts';
import { type ReportPaths, withReports } from './report-files.ts';
import { type GridSetup, skipLines } from './scenarios.ts';

/** Makes reports of what a run of the grid, or a hunt of mutants, found. */
export interface GridReports {
  /** A page; tells the stories of some scenarios, which takes a second for each. */
  readonly html: (parts: readonly PartVerdict[], setup: GridSetup) => AsyncGenerator<Progress, string>;
  readonly junit: (parts: readonly PartVerdict[], seconds: number) => string;
  /** A page; tells the story of the scenario that caught each mutant, one of those given or of the grid. */
  readonly mutantsHtml: (
    verdicts: readonly HuntVerdict[],
    scenarios?: readonly Scenario[],
  ) => AsyncGenerator<Progress, string>;
  readonly mutantsJunit: (verdicts: readonly HuntVerdict[], seconds: number) => string;
}

/** Which scenarios of the grid. */
export interface GridChoice {
  /** Names of scenarios, or parts or globs of them; all of the grid where there is none. */
  readonly patterns: readonly string[];
  /** Which random scenarios the grid has. */
  readonly seed: number;
}

/**
 * Runs the scenarios that were chosen: yields after each, and returns the cells, row by row, and the groups of other
 * scenarios. Throws an InputError for a pattern that matches none.
 */
export type RunGrid = (
  setup: GridSetup,
  host: Host,
  choice: GridChoice,
) => AsyncGenerator<Progress, readonly PartVerdict[]>;

export interface GridOptions extends GridSetup, GridChoice, ReportPaths {}

/** Mismatches that the terminal shows; the JSON file has all that the grid reports. */
const SHOWN_DETAILS = 20;

/**
 * Runs the grid, with a progress bar on a terminal, and prints the table.
 * @returns the exit status: 1 where any probe differs from the oracle
 */
export async function grid(
  { json, junit, html, patterns, seed, ...setup }: GridOptions,
  host: Host,
  runGrid: RunGrid,
  reports: GridReports,
): Promise<number> {
  return withReports({ json, junit, html }, async (files) => {
    const started = host.now();
    const parts = await withProgress(host, runGrid(setup, host, { patterns, seed }));
    const seconds = (host.now() - started) / 1000;
    host.stdout.write(`${INTRODUCTION}\n${renderGrid(parts, seconds)}`);
    files.json?.write(gridJson(parts, seconds));
    files.junit?.write(reports.junit(parts, seconds));
    files.html?.write(await withProgress(host, reports.html(parts, setup)));
    return parts.some(({ mismatches }) => mismatches > 0) ? 1 : 0;
  });
}

/** The cells, the groups and the seconds; what is in every scenario is for the other reports. */
function gridJson(parts: readonly PartVerdict[], seconds: number): string {
  const written = (chosen: readonly PartVerdict[]) => chosen.map(({ summaries, ...part }) => part);
  const cells = written(parts.filter(isCell));
  const groups = written(parts.filter((part) => !isCell(part)));
  return `${JSON.stringify({ cells, groups, seconds }, undefined, 2)}\n`;
}

const SINGULAR = {
  scenarios: 'scenario',
  switches: 'switch',
  probes: 'probe',
  mismatches: 'mismatch',
} as const;

/** What the tables are about, for whoever sees them for the first time. */
const INTRODUCTION = `An L1 hypervisor runs L2s, shadowing their tables or with nested ones (NPT); each switches paging modes while tables,
registers and memory change. A probe is one read, write or fetch whose value or fault, error code, CR2 and A/D bits
the oracle judges.
`;

/** A table for each host, what was found in all, and what was not right or not run. */
export function renderGrid(parts: readonly PartVerdict[], seconds: number): string {
  const hosts = [...new Set(parts.map(({ on }) => on))];
  const total = (what: keyof typeof SINGULAR): string => {
    const sum = parts.reduce((before, part) => before + part[what], 0);
    return `${sum} ${sum === 1 ? SINGULAR[what] : what}`;
  };
  const skips = parts.flatMap(({ summaries }) =>
    summaries.flatMap(({ name, skipped }) => (skipped === undefined ? [] : [{ name, why: skipped }])),
  );
  const skipped = skips.length === 0 ? '' : `${plural(skips.length, 'scenario')} skipped, `;
  const details = parts.flatMap((part) => part.details.map((line) => `  ${partTitle(part)}: ${line}`));
  return [
    ...hosts.flatMap((on) => renderHost(on, parts)),
    `${total('scenarios')}, ${total('switches')} between levels and modes, ${total('probes')} judged by the oracle, ` +
      `${total('mismatches')}, ${skipped}${seconds.toFixed(1)} s`,
    ...details.slice(0, SHOWN_DETAILS),
    ...skipLines(skips),
    '',
  ].join('\n');
}

/** The table of one host: a row for each mode of L1 and its way of paging L2, a column for each mode of L2; the groups below. */
function renderHost(on: RunHostName, parts: readonly PartVerdict[]): string[] {
  const own = parts.filter((part) => part.on === on);
  const cells = own.filter(isCell);
  const groups = own.flatMap((part) => (isCell(part) ? [] : [`${part.group}: ${outcome(part)}`]));
  const rows = [...new Set(cells.map(rowTitle))];
  const columns = [...new Set(cells.map(({ l2 }) => l2))];
  const text = (row: string, l2: string): string => {
    const cell = cells.find((candidate) => rowTitle(candidate) === row && candidate.l2 === l2);
    return cell === undefined ? '-' : outcome(cell);
  };
  const table = [
    ['L1 \\ L2', ...columns],
    ...rows.map((row) => [row, ...columns.map((l2) => text(row, l2))]),
  ];
  const widths =
    table[0]?.map((_, column) => Math.max(...table.map((row) => (row[column] as string).length))) ?? [];
  const lines = table.map((row) =>
    row
      .map((field, column) => field.padEnd(widths[column] as number))
      .join('  ')
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  return [
    `On ${runHostText(on)} (${on}):`,
    '',
    ...(cells.length === 0 ? [] : [...lines, '']),
    ...groups,
    ...(groups.length === 0 ? [] : ['']),
  ];
}

const outcome = ({ scenarios, skipped, probes, mismatches, summaries }: PartVerdict): string => {
  if (mismatches > 0) return `${mismatches} of ${probes} WRONG`;
  if (skipped.length === 0) return `${probes} ok`;
  if (scenarios === 0) return 'skipped';
  // One alone may be about what the others cannot do here.
  const [only, another] = summaries.filter((summary) => summary.skipped === undefined);
  const where = only === undefined || another !== undefined ? '' : ` in ${only.name.split('/').at(-1)}`;
  return `${probes} ok${where}, ${skipped.length} skipped`;
};
