import type { Page, Scenario } from '../../scenario.ts';
import { pagesOf, withFeatures } from '../cell.ts';
import { ProbeWriter } from '../probes.ts';
import { type MatrixSpace, matrixSpace, stateOf, type Target } from '../space.ts';
import { type NptCell, nptScenarioName, SETTLED, visitA } from './cell.ts';
import { type GuestLeaf, guestOver } from './guest.ts';

const QUADRANTS = [0, 1, 2, 3] as const;
const SPACE_OPTIONS = {
  leaves: ['present', 'read-only', 'supervisor'],
  directories: ['dir', 'dir-read-only', 'large'],
} as const;
const GIB = 0x4000_0000;

/**
 * Nested tables map pages in every gigabyte of L2's physical addresses. A PAE L2 names addresses beyond 4 GiB as well, in a
 * scenario of its own: what comes of that depends on MAXPHYADDR.
 */
export function quadrantScenarios(cell: NptCell): Scenario[] {
  const spaces = QUADRANTS.map((quadrant) =>
    matrixSpace(`npt-${quadrant}`, cell.l1, { ...SPACE_OPTIONS, quadrant, frame: (quadrant % 2) as 0 | 1 }),
  );
  const low = spaces.flatMap(({ targets }) => targets.map((target) => leafAt(target, target.at)));
  const about = "Pages in every gigabyte of L2's physical addresses.";
  const scenarios = [scenario(cell, 'quadrants', about, spaces, low)];
  if (cell.l2 !== 'PAE') return scenarios;
  const high = spaces.flatMap(({ targets: [target] }) => [
    leafAt(target, target.at),
    { ...leafAt(target, target.at + 4 * GIB), about: 'beyond 4 GiB' },
  ]);
  return [...scenarios, scenario(cell, 'beyond-4-gib', 'L2 maps addresses beyond 4 GiB.', spaces, high)];
}

function scenario(
  cell: NptCell,
  family: string,
  about: string,
  spaces: readonly MatrixSpace[],
  leaves: readonly GuestLeaf[],
): Scenario {
  const nested = joined(spaces);
  const guest = guestOver(cell.l2, leaves);
  const outer = matrixSpace('l1', cell.l1, { quadrant: 3, leaves: ['present'], directories: ['dir'] });
  const writer = new ProbeWriter();
  return withFeatures({
    name: nptScenarioName(cell, family),
    about,
    pages: { ...outer.pages, ...nested.pages, ...guest.pages },
    l1: stateOf(outer, ['CR0.WP']),
    l2: { A: { ...guest.state, flags: ['CR0.WP'], asid: 1, nested: nested.root } },
    steps: [
      ...visitA(writer.all(guest.targets)),
      ...visitA(writer.some(guest.targets)),
      ...visitA(writer.some(guest.targets), { tlbControl: 'asid' }),
    ],
  });
}

const leafAt = (target: Target, to: number): GuestLeaf => ({
  to,
  flags: SETTLED,
  target,
  about: target.about,
});

/** One root with the entries of all. */
function joined(spaces: readonly MatrixSpace[]): { root: string; pages: Scenario['pages'] } {
  const roots = spaces.map(({ root }) => root!);
  const pages: Record<string, Page> = { ...pagesOf(...spaces) };
  const parts = roots.map((root) => pages[root]);
  for (const root of roots) delete pages[root];
  pages.npt = {
    entries4: Object.assign({}, ...parts.map(({ entries4 }) => entries4)),
    entries8: Object.assign({}, ...parts.map(({ entries8 }) => entries8)),
  };
  return { root: 'npt', pages };
}
