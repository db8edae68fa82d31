import type { EntryFlags, Flag, L2State, PagingMode, Scenario, Step, VmcbChanges } from '../../scenario.ts';
import { L2_MODES, pagesOf, withFeatures } from '../cell.ts';
import { type MatrixSpace, matrixSpace, type SpaceOptions, stateOf } from '../space.ts';
import type { GuestSpace } from './guest.ts';

/** Paging modes of an L1 that uses nested paging: its nested tables have that format (APM vol. 2 15.25.5). */
export const NPT_L1_MODES = ['2-level', '2-level+PSE', 'PAE'] as const satisfies readonly PagingMode[];

/** One cell of the grid with nested paging. */
export interface NptCell {
  readonly l1: (typeof NPT_L1_MODES)[number];
  readonly l2: (typeof L2_MODES)[number];
}

export const NPT_CELLS: readonly NptCell[] = NPT_L1_MODES.flatMap((l1) => L2_MODES.map((l2) => ({ l1, l2 })));

const slug = (mode: PagingMode): string => mode.toLowerCase().replace('+', '-');

/** Name of a cell's scenario: `npt/2-level-pse/pae/rights-0`. */
export const nptScenarioName = ({ l1, l2 }: NptCell, family: string): string =>
  `npt/${slug(l1)}/${slug(l2)}/${family}`;

/** Gigabyte of L2's physical addresses in which the nested tables of a scenario map pages. */
const NESTED_QUADRANT = 1;

/** L1's own address space, with little in it, and nested tables of its format: linear addresses there are L2-physical. */
export interface NptSpaces {
  readonly outer: MatrixSpace;
  readonly nested: MatrixSpace;
}

export const nptSpaces = (cell: NptCell, options: SpaceOptions = {}): NptSpaces => ({
  outer: matrixSpace('l1', cell.l1, { quadrant: 3, leaves: ['present', 'read-only'], directories: ['dir'] }),
  nested: matrixSpace('npt', cell.l1, { quadrant: NESTED_QUADRANT, frame: 0, ...options }),
});

/**
 * EFER.NX for an L1 whose nested entries have a bit for it. Where they have none it changes nothing there, and a host that
 * cannot offer it would have to skip the scenario; on that host PAE tables are tried with bit 63 reserved, in other scenarios.
 */
export const nxOfNested = ({ l1 }: NptCell): readonly Flag[] => (l1 === 'PAE' ? ['EFER.NX'] : []);

interface NptParts {
  readonly family: string;
  readonly about: string;
  readonly spaces: NptSpaces;
  readonly guest: GuestSpace;
  readonly l1Flags?: readonly Flag[];
  readonly l2Flags?: readonly Flag[];
  /** Further pages. */
  readonly pages?: Scenario['pages'];
  readonly l2?: Readonly<Record<string, L2State>>;
  readonly steps: readonly Step[];
}

/** A scenario with an L2 named A under nested tables, and others if asked for. */
export function nptScenario(cell: NptCell, parts: NptParts): Scenario {
  const {
    family,
    about,
    spaces,
    guest,
    l1Flags = ['CR0.WP'],
    l2Flags = ['CR0.WP'],
    pages,
    l2,
    steps,
  } = parts;
  return withFeatures({
    name: nptScenarioName(cell, family),
    about,
    pages: { ...pagesOf(spaces.outer, spaces.nested), ...guest.pages, ...pages },
    l1: stateOf(spaces.outer, l1Flags),
    l2: {
      A: { ...guest.state, flags: l2Flags, asid: 1, nested: spaces.nested.root! },
      ...l2,
    },
    steps,
  });
}

/** A visit of L2 A. */
export const visitA = (steps: readonly Step[], vmcb: VmcbChanges = {}): Step[] => [
  { do: 'enter', l2: 'A', ...(Object.keys(vmcb).length === 0 ? {} : { vmcb }) },
  ...steps,
  { do: 'leave' },
];

/** Flags of entries that no access changes any more. */
export const SETTLED: EntryFlags = 'P W U A D';
