import type { Scenario } from '../../scenario.ts';
import { behindScenarios } from './behind.ts';
import type { NptCell } from './cell.ts';
import { nestedCrossingScenarios } from './crossings.ts';
import { nestedEditScenarios } from './edits.ts';
import { flagScenarios } from './flags.ts';
import { hostRegisterScenarios } from './host-registers.ts';
import { underIdentity } from './identity.ts';
import { nestedMemoryScenarios } from './memory.ts';
import { nestedPdpteScenarios } from './pdptes.ts';
import { quadrantScenarios } from './quadrants.ts';
import { nestedRefusalScenarios } from './refusals.ts';
import { rightsScenarios } from './rights.ts';
import { sizeScenarios } from './sizes.ts';
import { wayScenarios } from './ways.ts';

/** The families of scenarios that every cell with nested paging has, by name. */
export const NPT_FAMILIES = {
  rights: rightsScenarios,
  behind: behindScenarios,
  flags: flagScenarios,
  sizes: sizeScenarios,
  edits: nestedEditScenarios,
  'host-registers': hostRegisterScenarios,
  pdptes: nestedPdpteScenarios,
  ways: wayScenarios,
  refusals: nestedRefusalScenarios,
  memory: nestedMemoryScenarios,
  crossings: nestedCrossingScenarios,
  quadrants: quadrantScenarios,
} as const satisfies Readonly<Record<string, (cell: NptCell) => Scenario[]>>;

/** Of the scenarios with shadow paging, those that would tell nothing new, or take longer than they are worth. */
const NOT_AGAIN = /\/(refusals-without-\w+|crossings-\d+|registers-[123])$/;

/** What every cell has: its families, and those of the cell with shadow paging under nested tables that change nothing. */
export function nptCellScenarios(cell: NptCell, shadow: readonly Scenario[]): Scenario[] {
  const own = Object.values(NPT_FAMILIES).flatMap((family) => family(cell));
  const again = shadow.filter(({ name }) => !NOT_AGAIN.test(name));
  return [...own, ...again.map(underIdentity)];
}
