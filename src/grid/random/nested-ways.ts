import type { Entry, EntryFlags, Step } from '../scenario.ts';
import { readOf } from './edits.ts';
import { type LinearPage, linearAddress, PDPT_OFFSET } from './shape.ts';
import { type Slot, widthOf } from './slots.ts';

/** The entries of one format that lead from a root to a page, and the tables that they are in. */
export interface Way {
  readonly page: LinearPage;
  readonly wide: boolean;
  /** Of PAE, and of a page beyond the first GiB, whose PDPTE is the agents'. */
  readonly pdpte: Slot | undefined;
  readonly directory: Slot;
  readonly leaf: Slot;
}

/** @param directory with 8-byte entries the page directory; with 4-byte entries the root is that */
export function wayTo(page: LinearPage, wide: boolean, root: string, directory: string, table: string): Way {
  const { gib, span, page: number } = page;
  if (!wide) {
    return {
      page,
      wide,
      pdpte: undefined,
      directory: { kind: 'PDE4', page: root, index: gib * 256 + span },
      leaf: { kind: 'PTE4', page: table, index: number },
    };
  }
  return {
    page,
    wide,
    pdpte: gib === 0 ? undefined : { kind: 'PDPTE', page: root, index: PDPT_OFFSET / 8 + gib },
    directory: { kind: 'PDE8', page: directory, index: span * 2 + (number >>> 9) },
    leaf: { kind: 'PTE8', page: table, index: number % 512 },
  };
}

export const write = (slot: Slot, entry: Entry): Step => ({
  do: 'edit',
  page: slot.page,
  index: slot.index,
  width: widthOf(slot),
  entry,
});

/** Accessed and dirty, so that no walk writes to it. */
export const SETTLED = 'P W U A D';

/** Edits that make the entries of a way lead to a page, or to an L2-physical one. */
export function lead(
  { pdpte, directory, leaf }: Way,
  to: string | LinearPage,
  flags: EntryFlags = SETTLED,
  above: EntryFlags = 'P W U A',
): Step[] {
  const target = typeof to === 'string' ? to : linearAddress(to);
  return [
    ...(pdpte === undefined ? [] : [write(pdpte, { to: directory.page, flags: 'P' })]),
    write(directory, { to: leaf.page, flags: above }),
    write(leaf, { to: target, flags }),
  ];
}

export const reads = ({ directory, leaf }: Way): Step[] => [readOf(directory), readOf(leaf)];
