import { isCell, type PartVerdict, partTitle, type ScenarioSummary } from '../run-grid.ts';

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
  /** Its place in the heat map, if it has one. */
  readonly row?: string;
  readonly column?: string;
  readonly probes: number;
  readonly mismatches: number;
  readonly scenarios: readonly ScenarioSummary[];
}

/** The report of a run of the grid. */
export function matrixReport(parts: readonly PartVerdict[], about: string): GridReport {
  const cells = parts.filter(isCell);
  return {
    about,
    rows: [...new Set(cells.map(({ l1 }) => l1))],
    columns: [...new Set(cells.map(({ l2 }) => l2))],
    cells: parts.map((part) => ({
      title: partTitle(part),
      ...(isCell(part) && { row: part.l1, column: part.l2 }),
      probes: part.probes,
      mismatches: part.mismatches,
      scenarios: part.summaries,
    })),
  };
}
