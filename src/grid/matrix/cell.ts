import { FEATURE_OF_FLAG } from '../registers.ts';
import type { CpuFeature, Flag, PagingMode, Scenario, Step } from '../scenario.ts';
import type { MatrixSpace } from './space.ts';

/** Paging modes of an L1 that uses shadow paging in the grid, and of its L2s. */
export const L1_MODES = ['2-level', 'PAE'] as const satisfies readonly PagingMode[];
export const L2_MODES = ['off', '2-level', '2-level+PSE', 'PAE'] as const satisfies readonly PagingMode[];

/** How L1 translates the addresses of an L2. */
export const WAYS = ['shadow', 'npt'] as const;
export type Way = (typeof WAYS)[number];

/** One cell of the grid: L1 in a mode, L2 in a mode. */
export interface Cell {
  readonly l1: (typeof L1_MODES)[number];
  readonly l2: (typeof L2_MODES)[number];
}

/** The eight cells. */
export const CELLS: readonly Cell[] = L1_MODES.flatMap((l1) => L2_MODES.map((l2) => ({ l1, l2 })));

const slug = (mode: PagingMode): string => mode.toLowerCase().replace('+', '-');

/** Name of a cell's scenario: `2-level/pae/edits-by-l2`. */
export const cellScenarioName = ({ l1, l2 }: Cell, family: string): string =>
  `${slug(l1)}/${slug(l2)}/${family}`;

/** The pages of several spaces together. */
export const pagesOf = (...spaces: readonly MatrixSpace[]): Scenario['pages'] =>
  Object.assign({}, ...spaces.map((space) => space.pages)) as Scenario['pages'];

/** Flags whose bits are set in `number`: 0 to 15 gives every set of WP, SMEP, SMAP and NX. */
export function flagSet(number: number): Flag[] {
  const flags: readonly Flag[] = ['CR0.WP', 'CR4.SMEP', 'CR4.SMAP', 'EFER.NX'];
  return flags.filter((_, bit) => ((number >> bit) & 1) !== 0);
}

/** Steps by which a level goes from one set of flags to another itself, one bit at a time. */
export function flagSteps(from: readonly Flag[], to: readonly Flag[]): Step[] {
  const cleared = from
    .filter((flag) => !to.includes(flag))
    .map((flag) => ({ do: 'set', flag, value: false }) as const);
  const set = to
    .filter((flag) => !from.includes(flag))
    .map((flag) => ({ do: 'set', flag, value: true }) as const);
  return [...cleared, ...set];
}

/** The CPU features that a scenario needs, found in what it does. */
export function featuresOf(scenario: Omit<Scenario, 'features'>): CpuFeature[] {
  const found = new Set<CpuFeature>();
  const state = (mode: PagingMode | undefined, flags: readonly Flag[] | undefined): void => {
    if (mode === 'PAE') found.add('pae');
    if (mode === '2-level+PSE') found.add('pse');
    for (const flag of flags ?? []) {
      const feature = FEATURE_OF_FLAG[flag];
      if (feature !== undefined) found.add(feature);
    }
  };
  state(scenario.l1.mode, scenario.l1.flags);
  for (const l2 of Object.values(scenario.l2)) {
    state(l2.mode, l2.flags);
    if (l2.nested !== undefined) found.add('npt');
  }
  for (const step of scenario.steps) {
    if (step.do === 'switch') state(step.mode, step.flags);
    if (step.do === 'enter') {
      state(step.vmcb?.mode, step.vmcb?.flags);
      if (typeof step.vmcb?.nested === 'string') found.add('npt');
    }
    if (step.do !== 'set' || !step.value) continue;
    if (step.flag === 'CR4.PSE') found.add('pse');
    else if (step.flag === 'CR4.PAE') found.add('pae');
    else if (step.flag !== 'CR0.PG') state(undefined, [step.flag]);
  }
  return [...found].sort();
}

/** A scenario with the features that it needs. */
export const withFeatures = (scenario: Omit<Scenario, 'features'>): Scenario => ({
  ...scenario,
  features: featuresOf(scenario),
});
