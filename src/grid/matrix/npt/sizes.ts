import type { Entry, Scenario } from '../../scenario.ts';
import { ProbeWriter } from '../probes.ts';
import type { Target } from '../space.ts';
import { type NptCell, nptScenario, nptSpaces, nxOfNested, visitA } from './cell.ts';
import { GUEST_BASE, type GuestSpace, guestRoots } from './guest.ts';

const SLOT = 0x40_0000;
const HALF = 0x20_0000;

/** Large pages of L2 over nested pages of every size and kind: each 4 KiB of them may have other rights. */
export function sizeScenarios(cell: NptCell): Scenario[] {
  if (cell.l2 !== '2-level+PSE' && cell.l2 !== 'PAE') return [];
  const mode = cell.l2;
  return (['P W U PS', 'P U PS A', 'P W PS A D'] as const).map((flags, number) => {
    const spaces = nptSpaces(cell);
    const guest = largeGuest(mode, spaces.nested.targets, flags);
    const writer = new ProbeWriter(number);
    return nptScenario(cell, {
      family: `sizes-${number}`,
      about: 'Large pages of L2 lie over nested pages of every size and kind.',
      spaces,
      guest,
      // Without it bit 63 of nested entries is reserved.
      l1Flags: ['CR0.WP', ...(number < 2 ? nxOfNested(cell) : [])],
      steps: [
        ...visitA(writer.all(guest.targets)),
        ...visitA(writer.some(guest.targets), { tlbControl: 'asid', flags: [] }),
      ],
    });
  });
}

/** A large page, two under PAE, for each 4 MiB of L2-physical addresses in which the nested tables map something. */
function largeGuest(mode: '2-level+PSE' | 'PAE', nested: readonly Target[], flags: string): GuestSpace {
  const slotOf = (at: number): number => at - (at % SLOT);
  const slots = [...new Set(nested.map(({ at }) => slotOf(at)))];
  const directory = slots.flatMap((to): Entry[] =>
    mode === 'PAE'
      ? [
          { to, flags },
          { to: to + HALF, flags },
        ]
      : [{ to, flags }],
  );
  const { state, pages } = guestRoots(mode, directory);
  const targets = nested.map((target): Target => {
    const { leaf: _, ...rest } = target;
    return { ...rest, at: GUEST_BASE + slots.indexOf(slotOf(target.at)) * SLOT + (target.at % SLOT) };
  });
  return { state, pages, targets };
}
