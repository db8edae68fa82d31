import type { PagingMode, Scenario } from '../scenario.ts';
import { asidScenarios } from './asids.ts';
import { CELLS, type Cell, type Way } from './cell.ts';
import { crossingScenarios } from './crossings.ts';
import { editScenarios } from './edits.ts';
import { faultScenarios } from './faults.ts';
import { flipScenarios } from './flips.ts';
import { globalScenarios } from './globals.ts';
import { memoryScenarios } from './memory.ts';
import { modeScenarios } from './modes.ts';
import { NPT_CELLS } from './npt/cell.ts';
import { nptCellScenarios } from './npt/matrix.ts';
import { pdpteScenarios } from './pdptes.ts';
import { refusalScenarios } from './refusals.ts';
import { registerScenarios } from './registers.ts';
import { sharingScenarios } from './sharing.ts';

/** The families of scenarios that every cell has, by name. */
export const FAMILIES = {
  registers: registerScenarios,
  flips: flipScenarios,
  edits: editScenarios,
  asids: asidScenarios,
  modes: modeScenarios,
  pdptes: pdpteScenarios,
  globals: globalScenarios,
  sharing: sharingScenarios,
  crossings: crossingScenarios,
  faults: faultScenarios,
  refusals: refusalScenarios,
  memory: memoryScenarios,
} as const satisfies Readonly<Record<string, (cell: Cell) => Scenario[]>>;

/** A cell of the grid with its scenarios. */
export interface MatrixCell {
  readonly l1: PagingMode;
  readonly way: Way;
  readonly l2: PagingMode;
  readonly scenarios: readonly Scenario[];
}

/** The grid: every L1 mode, with shadow paging and with nested paging, and every L2 mode; all families. */
export function matrix(): MatrixCell[] {
  const shadow = CELLS.map(
    (cell): MatrixCell => ({
      ...cell,
      way: 'shadow',
      scenarios: Object.values(FAMILIES).flatMap((family) => family(cell)),
    }),
  );
  const npt = NPT_CELLS.map((cell): MatrixCell => {
    const like = shadow.find(({ l1, l2 }) => l1 === cell.l1 && l2 === cell.l2);
    return { ...cell, way: 'npt', scenarios: nptCellScenarios(cell, like?.scenarios ?? []) };
  });
  return [...shadow, ...npt];
}
