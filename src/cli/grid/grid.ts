import { isCell, type PartVerdict, partTitle } from '../../grid/run-grid.ts';
import { closeAll, OutputFile } from '../files.ts';
import type { Host } from '../host.ts';
import { type Progress, withProgress } from '../progress.ts';
import type { GridSetup } from './scenarios.ts';

/** Makes reports of what a run of the grid found. */
export interface GridReports {
  /** A page; tells the stories of some scenarios, which takes a second for each. */
  readonly html: (parts: readonly PartVerdict[], setup: GridSetup) => AsyncGenerator<Progress, string>;
  readonly junit: (parts: readonly PartVerdict[], seconds: number) => string;
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

export interface GridOptions extends GridSetup, GridChoice {
  readonly json?: string | undefined;
  readonly junit?: string | undefined;
  readonly html?: string | undefined;
}

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
  const open = (path: string | undefined, what: string): OutputFile[] =>
    path === undefined ? [] : [new OutputFile(path, what)];
  const files = [open(json, 'JSON file'), open(junit, 'JUnit file'), open(html, 'HTML file')] as const;
  const [jsonFile, junitFile, htmlFile] = files;
  try {
    const started = host.now();
    const parts = await withProgress(host, runGrid(setup, host, { patterns, seed }));
    const seconds = (host.now() - started) / 1000;
    host.stdout.write(`${introduction(setup)}\n${renderGrid(parts, seconds)}`);
    for (const file of jsonFile) file.write(gridJson(parts, seconds));
    for (const file of junitFile) file.write(reports.junit(parts, seconds));
    for (const file of htmlFile) file.write(await withProgress(host, reports.html(parts, setup)));
    return parts.some(({ mismatches }) => mismatches > 0) ? 1 : 0;
  } finally {
    closeAll(...files.flat());
  }
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

/** What the table is about, for whoever sees it for the first time. */
const introduction = ({ l0 }: GridSetup): string =>
  `${l0 === 'none' ? 'The bare processor' : 'L0, with a shadow MMU,'} runs an L1 hypervisor, which runs an L2; each switches paging modes while tables,
registers and memory change. A probe is one read, write or fetch whose value or fault, error code, CR2 and A/D bits
the oracle judges.
`;

/** The table: a row for each mode of L1, a column for each mode of L2; the groups and the sum below. */
export function renderGrid(parts: readonly PartVerdict[], seconds: number): string {
  const cells = parts.filter(isCell);
  const rows = [...new Set(cells.map(({ l1 }) => l1))];
  const columns = [...new Set(cells.map(({ l2 }) => l2))];
  const text = (l1: string, l2: string): string => {
    const cell = cells.find((candidate) => candidate.l1 === l1 && candidate.l2 === l2);
    return cell === undefined ? '-' : outcome(cell);
  };
  const table = [['L1 \\ L2', ...columns], ...rows.map((l1) => [l1, ...columns.map((l2) => text(l1, l2))])];
  const widths =
    table[0]?.map((_, column) => Math.max(...table.map((row) => (row[column] as string).length))) ?? [];
  const lines = table.map((row) =>
    row
      .map((field, column) => field.padEnd(widths[column] as number))
      .join('  ')
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  const total = (what: keyof typeof SINGULAR): string => {
    const sum = parts.reduce((before, part) => before + part[what], 0);
    return `${sum} ${sum === 1 ? SINGULAR[what] : what}`;
  };
  const details = parts.flatMap((part) => part.details.map((line) => `  ${partTitle(part)}: ${line}`));
  const groups = parts.filter((part) => !isCell(part));
  return [
    ...(cells.length === 0 ? [] : [...lines, '']),
    ...groups.map((group) => `${partTitle(group)}: ${outcome(group)}`),
    ...(groups.length === 0 ? [] : ['']),
    `${total('scenarios')}, ${total('switches')} between levels and modes, ${total('probes')} judged by the oracle, ` +
      `${total('mismatches')}, ${seconds.toFixed(1)} s`,
    ...details.slice(0, SHOWN_DETAILS),
    ...parts.flatMap(({ skipped }) => skipped.map((scenario) => `  skipped ${scenario}`)),
    '',
  ].join('\n');
}

const outcome = ({ probes, mismatches }: PartVerdict): string =>
  mismatches === 0 ? `${probes} ok` : `${mismatches} of ${probes} WRONG`;
