import { OutputFile } from './files.ts';
import type { Host } from './host.ts';
import { type Progress, withProgress } from './progress.ts';
import type { GridSetup } from './scenarios.ts';

/** One pair of paging modes, with what its probes found. */
export interface GridCell {
  readonly l1: string;
  readonly l2: string;
  readonly probes: number;
  readonly mismatches: number;
  /** A sentence for each of the first mismatches: which probe, what the oracle says, what was seen. */
  readonly details: readonly string[];
  /** Scenarios that the host cannot run, each with the reason. */
  readonly skipped: readonly string[];
}

/** Runs the grid: yields after each scenario, and returns the cells, row by row. */
export type RunGrid = (setup: GridSetup, host: Host) => AsyncGenerator<Progress, readonly GridCell[]>;

export interface GridOptions extends GridSetup {
  readonly json?: string;
}

/** Mismatches that the terminal shows; the JSON file has all that the grid reports. */
const SHOWN_DETAILS = 20;

/**
 * Runs the grid, with a progress bar on a terminal, and prints the table.
 * @returns the exit status: 1 where any probe differs from the oracle
 */
export async function grid({ json, ...setup }: GridOptions, host: Host, runGrid: RunGrid): Promise<number> {
  const file = json === undefined ? undefined : new OutputFile(json, 'JSON file');
  try {
    const started = host.now();
    const cells = await withProgress(host, runGrid(setup, host));
    const seconds = (host.now() - started) / 1000;
    host.stdout.write(renderGrid(cells, seconds));
    file?.write(`${JSON.stringify({ cells, seconds }, undefined, 2)}\n`);
    return cells.some(({ mismatches }) => mismatches > 0) ? 1 : 0;
  } finally {
    file?.close();
  }
}

/** The table: a row for each mode of L1, a column for each mode of L2, and the sum below. */
export function renderGrid(cells: readonly GridCell[], seconds: number): string {
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
