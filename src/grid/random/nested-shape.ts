import fc from 'fast-check';
import type { L2State, PageReference, PagingMode, SpaceState } from '../scenario.ts';
import {
  asid,
  flags,
  L2_NAMES,
  type LinearPage,
  linearAddress,
  linearPages,
  mode,
  type NestedGround,
  names,
  rootOf,
  type Shape,
} from './shape.ts';

/** Nested tables have the format of L1's paging mode; without paging VMRUN refuses them (APM vol. 2 15.25.3). */
const hostMode: fc.Arbitrary<PagingMode> = fc.constantFrom<PagingMode>(
  '2-level',
  '2-level+PSE',
  'PAE',
  'PAE',
);

/** Where L2 has its root: at its own address, which nested tables always map, or now and then behind an entry of them. */
export const l2Root = (roots: readonly string[], { pages }: NestedGround): fc.Arbitrary<PageReference> =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...roots).map(rootOf) },
    { weight: 1, arbitrary: fc.constantFrom(...roots).map((root) => rootOf(seenAt(root, pages[0]))) },
  );

/** A page as L2 knows it: `r0@0x40410000`. */
export const seenAt = (page: string, at: LinearPage): PageReference =>
  `${page}@0x${linearAddress(at).toString(16)}`;

const l2State = (roots: readonly string[], ground: NestedGround): fc.Arbitrary<L2State> =>
  fc
    .record({
      mode,
      root: l2Root(roots, ground),
      flags,
      asid,
      intercepts: fc.boolean(),
      nested: fc.option(fc.constantFrom(...ground.roots).map(rootOf), { freq: 4, nil: undefined }),
    })
    .map(({ intercepts, nested, ...state }) => ({
      ...state,
      ...(intercepts ? { interceptPageFaults: true } : {}),
      ...(nested === undefined ? {} : { nested }),
    }));

/** L2-physical pages are often those that are linear pages too: without paging L2 probes them. */
const groundOn = (linear: readonly LinearPage[]): fc.Arbitrary<NestedGround> =>
  fc.record({ roots: names('n', 2), pages: fc.oneof(linearPages, fc.constant([...linear])) });

/** A shape on which L1 runs L2s with nested paging, or some with and some without. */
export const nestedShape: fc.Arbitrary<Shape> = fc
  .record({
    roots: names('r', 2),
    tables: names('t', 3).map((tables) => (tables.length === 1 ? ['t0', 't1'] : tables)),
    data: names('d', 3),
    frames: names('f', 2),
    linear: linearPages,
    l2s: fc.integer({ min: 1, max: 3 }),
  })
  .chain((pages) => groundOn(pages.linear).map((nested) => ({ ...pages, nested })))
  .chain(({ l2s, ...ground }) => {
    const l1: fc.Arbitrary<SpaceState> = fc.record({
      mode: hostMode,
      root: fc.constantFrom(...ground.roots).map(rootOf),
      flags,
    });
    const state = l2State(ground.roots, ground.nested);
    return fc
      .record({ l1, l2: fc.tuple(...L2_NAMES.slice(0, l2s).map(() => state)) })
      .map(({ l1: own, l2 }) => ({
        ...ground,
        l1: own,
        l2: Object.fromEntries(l2.map((each, index) => [L2_NAMES[index], each])),
      }));
  });
