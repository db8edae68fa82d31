import type { CellVerdict } from '../grid/run-matrix.ts';
import { OutputFile } from './files.ts';
import type { Host } from './host.ts';
import { type Progress, withProgress } from './progress.ts';
import type { GridSetup } from './scenarios.ts';

/** Makes reports of what a run of the grid found. */
export interface GridReports {
  /** A page; tells the stories of some scenarios, which takes a second for each. */
  readonly html: (cells: readonly CellVerdict[], setup: GridSetup) => AsyncGenerator<Progress, string>;
  readonly junit: (cells: readonly CellVerdict[], seconds: number) => string;
}

/** Runs the grid: yields after each scenario, and returns the cells, row by row. */
export type RunGrid = (setup: GridSetup, host: Host) => AsyncGenerator<Progress, readonly CellVerdict[]>;

export interface GridOptions extends GridSetup {
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
  { json, junit, html, ...setup }: GridOptions,
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
    const cells = await withProgress(host, runGrid(setup, host));
    const seconds = (host.now() - started) / 1000;
    host.stdout.write(renderGrid(cells, seconds));
    for (const file of jsonFile) file.write(gridJson(cells, seconds));
    for (const file of junitFile) file.write(reports.junit(cells, seconds));
    for (const file of htmlFile) file.write(await withProgress(host, reports.html(cells, setup)));
    return cells.some(({ mismatches }) => mismatches > 0) ? 1 : 0;
  } finally {
    for (const file of files.flat()) file.close();
  }
}

/** The cells and the seconds; what is in every scenario is for the other reports. */
const gridJson = (cells: readonly CellVerdict[], seconds: number): string =>
  `${JSON.stringify({ cells: cells.map(({ summaries, ...cell }) => cell), seconds }, undefined, 2)}\n`;

/** The table: a row for each mode of L1, a column for each mode of L2, and the sum below. */
export function renderGrid(cells: readonly CellVerdict[], seconds: number): string {
  const rows = [...new Set(cells.map(({ l1 }) => l1))];
  const columns = [...new Set(cells.map(({ l2 }) => l2))];
  const text = (l1: string, l2: string): string => {
    const cell = cells.find((candidate) => candidate.l1 === l1 && candidate.l2 === l2);
    if (!cell) return '-';
    return cell.mismatches === 0 ? `${cell.probes} ok` : `${cell.mismatches} of ${cell.probes} WRONG`;
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
  const probes = cells.reduce((sum, cell) => sum + cell.probes, 0);
  const mismatches = cells.reduce((sum, cell) => sum + cell.mismatches, 0);
  const details = cells.flatMap(({ l1, l2, details: sentences }) =>
    sentences.map((line) => `  L1 ${l1}, L2 ${l2}: ${line}`),
  );
  return [
    ...lines,
    '',
    `${probes} probes judged by the oracle, ${mismatches} mismatch${mismatches === 1 ? '' : 'es'}, ${seconds.toFixed(1)} s`,
    ...details.slice(0, SHOWN_DETAILS),
    ...cells.flatMap(({ skipped }) => skipped.map((scenario) => `  skipped ${scenario}`)),
    '',
  ].join('\n');
}
