import type { Entry, EntryFlags, Page, PagingMode, SpaceState } from '../../scenario.ts';
import type { Target } from '../space.ts';

const PAGE = 0x1000;
const GIB = 0x4000_0000;
/** First linear address that L2's own tables map; without paging its addresses are the L2-physical ones. */
export const GUEST_BASE = 0x8000_0000;

/** What L2 maps: an L2-physical page with some flags. */
export interface GuestLeaf {
  /** L2-physical address of the page. */
  readonly to: number;
  readonly flags: EntryFlags;
  /** What is there in the nested tables, and where it answers. */
  readonly target: Target;
  readonly about: string;
}

/** An L2: its tables, and what to probe by linear addresses. */
export interface GuestSpace {
  readonly state: Omit<SpaceState, 'flags'>;
  readonly pages: Readonly<Record<string, Page>>;
  readonly targets: readonly Target[];
}

const spanOf = (mode: PagingMode): number => (mode === 'PAE' ? 0x20_0000 : 0x40_0000);
const widthOf = (mode: PagingMode): 4 | 8 => (mode === 'PAE' ? 8 : 4);

/** Maps leaves one after another from GUEST_BASE on. Its tables lie where L1 has them. */
export function guestOver(mode: PagingMode, leaves: readonly GuestLeaf[]): GuestSpace {
  if (mode === 'off') return flatGuest(leaves);
  const perTable = spanOf(mode) / PAGE;
  const tables: Record<number, Entry>[] = [];
  const targets = leaves.map(({ to, flags, target, about }, index): Target => {
    const table = Math.floor(index / perTable);
    (tables[table] ??= {})[index % perTable] = { to, flags };
    const at = GUEST_BASE + index * PAGE;
    const leaf = { page: `l2.pt-${table}`, index: index % perTable, width: widthOf(mode) };
    return { at, about, leaf, page: target.page };
  });
  const pages = Object.fromEntries(
    tables.map((entries, index) => [`l2.pt-${index}`, tableOf(mode, entries)] as const),
  );
  const directory = tables.map((_, index): Entry => ({ to: `l2.pt-${index}`, flags: 'P W U A' }));
  const roots = guestRoots(mode, directory);
  return { state: roots.state, pages: { ...roots.pages, ...pages }, targets };
}

/** Without paging L2 reaches pages by their L2-physical addresses, each once. */
function flatGuest(leaves: readonly GuestLeaf[]): GuestSpace {
  const seen = new Map(leaves.map(({ to, target }) => [to, target]));
  const targets = [...seen].filter(([to]) => to < 4 * GIB).map(([at, target]) => ({ ...target, at }));
  return { state: { mode: 'off' }, pages: {}, targets: targets.map(({ leaf: _, ...target }) => target) };
}

export const tableOf = (mode: PagingMode, entries: Readonly<Record<number, Entry>>): Page =>
  widthOf(mode) === 8 ? { entries8: entries } : { entries4: entries };

/** The page directory for GUEST_BASE, with entries from its first linear address on, and what leads to it. */
export function guestRoots(
  mode: Exclude<PagingMode, 'off'>,
  directory: readonly Entry[],
): Pick<GuestSpace, 'state' | 'pages'> {
  const first = mode === 'PAE' ? 0 : GUEST_BASE / spanOf(mode);
  const entries = Object.fromEntries(directory.map((entry, index) => [first + index, entry]));
  const pages: Record<string, Page> = { 'l2.pd': tableOf(mode, entries) };
  if (mode !== 'PAE') return { state: { mode, root: 'l2.pd' }, pages };
  pages['l2.pdpt'] = { entries8: { [GUEST_BASE / GIB]: { to: 'l2.pd', flags: 'P' } } };
  return { state: { mode, root: 'l2.pdpt' }, pages };
}

/** Maps each nested target with all rights. */
export const plainGuest = (mode: PagingMode, targets: readonly Target[]): GuestSpace =>
  guestOver(
    mode,
    targets.map((target) => ({ to: target.at, flags: 'P W U A D', target, about: target.about })),
  );
