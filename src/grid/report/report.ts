import { isCell, type PartVerdict, partTitle, rowTitle, type ScenarioSummary } from '../run-grid.ts';
import { runHostText } from '../run-host.ts';

/** What a run of the grid found, scenario by scenario: what every report is made from. */
export interface GridReport {
  /** What ran where, as sentences. */
  readonly about: string;
  readonly sections: readonly ReportSection[];
}

/** What was found on one host. */
export interface ReportSection {
  /** `npt/pae`. */
  readonly on: string;
  /** The host in words. */
  readonly about: string;
  /** Labels of the heat map's rows and columns, in their order. */
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly cells: readonly ReportCell[];
}

export interface ReportCell {
  /** `npt/pae, L1 2-level, L2 PAE`. */
  readonly title: string;
  /** Its place in the heat map, if it has one; what a line of it is called otherwise. */
  readonly row: string;
  readonly column?: string;
  readonly probes: number;
  readonly mismatches: number;
  readonly scenarios: readonly ScenarioSummary[];
}

/** The report of a run of the grid. */
export function matrixReport(parts: readonly PartVerdict[], about: string): GridReport {
  const hosts = [...new Set(parts.map(({ on }) => on))];
  return {
    about,
    sections: hosts.map((on): ReportSection => {
      const own = parts.filter((part) => part.on === on);
      const cells = own.filter(isCell);
      return {
        on,
        about: runHostText(on),
        rows: [...new Set(cells.map(rowTitle))],
        columns: [...new Set(cells.map(({ l2 }) => l2))],
        cells: own.map((part) => ({
          title: partTitle(part),
          ...(isCell(part) ? { row: rowTitle(part), column: part.l2 } : { row: part.group }),
          probes: part.probes,
          mismatches: part.mismatches,
          scenarios: part.summaries,
        })),
      };
    }),
  };
}
