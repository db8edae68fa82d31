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

/** The grid: every L1 mode with every L2 mode, all families. */
export const matrix = (): MatrixCell[] =>
  CELLS.map((cell) => ({
    ...cell,
    way: 'shadow',
    scenarios: Object.values(FAMILIES).flatMap((family) => family(cell)),
  }));
