import type { CellVerdict, ScenarioSummary } from '../run-matrix.ts';

/** What a run of the grid found, scenario by scenario: what every report is made from. */
export interface GridReport {
  /** What ran where, as sentences. */
  readonly about: string;
  /** Labels of the heat map's rows and columns, in their order. */
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly cells: readonly ReportCell[];
}

export interface ReportCell {
  /** `L1 2-level, L2 PAE`. */
  readonly title: string;
  readonly row: string;
  readonly column: string;
  readonly probes: number;
  readonly mismatches: number;
  readonly scenarios: readonly ScenarioSummary[];
}

/** The report of a run of the matrix. */
export function matrixReport(cells: readonly CellVerdict[], about: string): GridReport {
  return {
    about,
    rows: [...new Set(cells.map(({ l1 }) => l1))],
    columns: [...new Set(cells.map(({ l2 }) => l2))],
    cells: cells.map(({ l1, l2, probes, mismatches, summaries }) => ({
      title: `L1 ${l1}, L2 ${l2}`,
      row: l1,
      column: l2,
      probes,
      mismatches,
      scenarios: summaries,
    })),
  };
}
