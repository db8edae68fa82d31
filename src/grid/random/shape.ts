import fc from 'fast-check';
import {
  FLAGS,
  type Flag,
  type L2State,
  PAGING_MODES,
  type PagingMode,
  type SpaceState,
} from '../scenario.ts';

/**
 * The ground that a random scenario stands on. It is small on purpose: a few linear pages, a few tables that may be
 * met at any level and in both formats, and data pages that only differ in their number.
 */
export interface Shape {
  /** Pages that are page directories (2-level, from offset 0) and have a PDPT at `PDPT_OFFSET`: one CR3 for all modes. */
  readonly roots: readonly string[];
  readonly tables: readonly string[];
  readonly data: readonly string[];
  /** Frames of 4 MiB for large pages; the first page of each is a table as well. */
  readonly frames: readonly string[];
  readonly linear: readonly LinearPage[];
  /** Where L1 has nested tables for its L2s. */
  readonly nested?: NestedGround;
  readonly l1: SpaceState;
  readonly l2: Readonly<Record<string, L2State>>;
}

/** What nested tables add to a shape. Below their roots they are made of the same tables as all others. */
export interface NestedGround {
  /** Like the other roots, but with the agents' mapping for L2-physical addresses. */
  readonly roots: readonly string[];
  /** L2-physical pages, of which the first is meant for L2's tables. */
  readonly pages: readonly LinearPage[];
}

/** A linear or L2-physical page of 4 KiB, by the indices that lead to it: of the GiB, of 4 MiB in it, of the page in these. */
export interface LinearPage {
  readonly gib: number;
  readonly span: number;
  readonly page: number;
}

export const PDPT_OFFSET = 0xfc0;
/** Physical addresses of the frames for large pages; the agents can read them. */
export const FRAMES: Readonly<Record<string, number>> = { f0: 0x0080_0000, f1: 0x00c0_0000 };
export const L2_NAMES = ['A', 'B', 'C', 'D'];
/** 4 MiB spans of each GiB that are used: in the first GiB, those below belong to the agents. */
const SPANS = [4, 5];
/** Neighbours, in both halves of 4 MiB: a 2-level table has two shadow tables. */
const PAGES = [0x10, 0x11, 0x210, 0x211];

export const linearAddress = ({ gib, span, page }: LinearPage): number =>
  gib * 0x4000_0000 + span * 0x40_0000 + page * 0x1000;

/** The same page in the other half of 4 MiB. */
export const otherHalf = (page: number): number => page ^ 0x200;

export const names = (letter: string, most: number): fc.Arbitrary<string[]> =>
  fc
    .integer({ min: 1, max: most })
    .map((count) => Array.from({ length: count }, (_, index) => `${letter}${index}`));

export const flags: fc.Arbitrary<Flag[]> = fc.oneof(
  fc.constant<Flag[]>([]),
  fc.constant<Flag[]>(['CR0.WP']),
  fc.subarray([...FLAGS]),
);

/** Without paging there is little to find; PAE has most to offer. */
export const mode: fc.Arbitrary<PagingMode> = fc.constantFrom<PagingMode>(
  'off',
  ...PAGING_MODES.slice(1),
  ...PAGING_MODES.slice(1),
  'PAE',
  'PAE',
);

export const rootOf = (page: string): string => `${page}+0x${PDPT_OFFSET.toString(16)}`;

export const space = (roots: readonly string[]): fc.Arbitrary<SpaceState> =>
  fc.record({ mode, root: fc.constantFrom(...roots).map(rootOf), flags });

/** ASIDs are few, so that L2s share them. */
export const asid: fc.Arbitrary<number> = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 2 }) },
  { weight: 1, arbitrary: fc.integer({ min: 3, max: 6 }) },
);

const l2State = (roots: readonly string[]): fc.Arbitrary<L2State> =>
  fc
    .record({ space: space(roots), asid, intercepts: fc.boolean() })
    .map(({ space: state, intercepts, ...rest }) => ({
      ...state,
      ...rest,
      ...(intercepts ? { interceptPageFaults: true } : {}),
    }));

const linearPage: fc.Arbitrary<LinearPage> = fc.record({
  gib: fc.constantFrom(1, 2, 3, 1, 0),
  span: fc.constantFrom(...SPANS),
  page: fc.constantFrom(...PAGES),
});

/** One page and its neighbour, or pages anywhere. */
export const linearPages: fc.Arbitrary<LinearPage[]> = fc.oneof(
  fc.uniqueArray(linearPage, { minLength: 2, maxLength: 4, selector: linearAddress }),
  linearPage.map((first) => [first, { ...first, page: first.page ^ 1 }]),
  linearPage.map((first) => [first, { ...first, page: otherHalf(first.page) }]),
);

export const shape: fc.Arbitrary<Shape> = fc
  .record({
    roots: names('r', 2),
    tables: names('t', 3),
    data: names('d', 3),
    frames: names('f', 2),
    linear: linearPages,
    l2s: fc.integer({ min: 1, max: 4 }),
  })
  .chain(({ l2s, ...pages }) =>
    fc.record({
      roots: fc.constant(pages.roots),
      tables: fc.constant(pages.tables),
      data: fc.constant(pages.data),
      frames: fc.constant(pages.frames),
      linear: fc.constant(pages.linear),
      l1: space(pages.roots),
      l2: fc
        .tuple(...L2_NAMES.slice(0, l2s).map(() => l2State(pages.roots)))
        .map((states) => Object.fromEntries(states.map((state, index) => [L2_NAMES[index], state]))),
    }),
  );
