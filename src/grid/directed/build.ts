import { PROBE_FORMS, type ProbeFormName, probeFormNumber } from '../../guest/probe-forms.ts';
import { MARKER_OFFSET, markerOffset } from '../marker.ts';
import { withFeatures } from '../matrix/cell.ts';
import type {
  CpuFeature,
  Entry,
  Flag,
  L2State,
  Page,
  PagingMode,
  ProbeStep,
  Scenario,
  SpaceState,
  Step,
  VmcbChanges,
} from '../scenario.ts';

/** Modes with tables. */
export type TableMode = Exclude<PagingMode, 'off'>;

const GIB = 0x4000_0000;
/** What a 4-byte directory entry maps; under PAE the even entries of a directory are used, 2 MiB each. */
const SLOT = 0x40_0000;
const PAGE = 0x1000;
/** The gigabyte that holds the slots; the agents have their place in the first. */
const WINDOW = GIB;

/** Used before: an entry that L0 may map without an access at hand. */
export const USED = 'P W U A D';
/** A frame that large pages of every mode can be of. */
export const LARGE_FRAME = 0x0080_0000;

/** How a mode is called in names of scenarios. */
export const slug = (mode: TableMode): string =>
  mode === '2-level+PSE' ? 'pse' : mode === 'PAE' ? 'pae' : '2-level';

/** Linear address of a page in a slot of the window, the same in every mode. */
export const at = (slot: number, page = 0): number => WINDOW + slot * SLOT + page * PAGE;

/** A small address space: a directory with some slots, tables by name. */
export interface SmallSpace {
  readonly prefix: string;
  readonly mode: TableMode;
  readonly width: 4 | 8;
  readonly root: string;
  readonly pages: Readonly<Record<string, Page>>;
}

/**
 * Builds one. Tables are pages `prefix.name`; entries refer to pages by their full names.
 *
 * @param slots  directory entries by slot
 * @param tables entries of page tables, by table and page number
 */
export function smallSpace(
  prefix: string,
  mode: TableMode,
  slots: Readonly<Record<number, Entry>>,
  tables: Readonly<Record<string, Readonly<Record<number, Entry>>>> = {},
): SmallSpace {
  const width = mode === 'PAE' ? 8 : 4;
  const pages: Record<string, Page> = { [`${prefix}.pd`]: table(width, inDirectory(mode, slots)) };
  for (const [name, entries] of Object.entries(tables)) pages[`${prefix}.${name}`] = table(width, entries);
  if (mode === 'PAE') {
    pages[`${prefix}.pdpt`] = { entries8: { [WINDOW / GIB]: { to: `${prefix}.pd`, flags: 'P' } } };
  }
  return { prefix, mode, width, root: `${prefix}.${mode === 'PAE' ? 'pdpt' : 'pd'}`, pages };
}

/** A space of L2 with one page table, and pages of these flags: `l2.page-0` and so on, in slot 0. */
export function pagesSpace(mode: TableMode, flags: Readonly<Record<number, string>>): SmallSpace {
  const entries = Object.fromEntries(
    Object.entries(flags).map(([page, text]) => [page, { to: `l2.page-${page}`, flags: text }]),
  );
  const space = smallSpace('l2', mode, { 0: { to: 'l2.pt', flags: 'P W U' } }, { pt: entries });
  const pages = Object.fromEntries(Object.keys(flags).map((page) => [`l2.page-${page}`, {}]));
  return { ...space, pages: { ...space.pages, ...pages } };
}

/** The space of an L1 with nothing to do but run its L2. */
export function hostIn(mode: TableMode, prefix = 'l1'): SmallSpace {
  const page = `${prefix}.page`;
  const space = smallSpace(
    prefix,
    mode,
    { 0: { to: `${prefix}.pt`, flags: 'P W U' } },
    { pt: { 0: { to: page, flags: 'P W U' } } },
  );
  return { ...space, pages: { ...space.pages, [page]: {} } };
}

export const table = (width: 4 | 8, entries: Readonly<Record<number, Entry>>): Page =>
  width === 8 ? { entries8: entries } : { entries4: entries };

/** Index of a slot's entry in its page directory. */
export const slotIndex = (mode: TableMode, slot: number): number =>
  mode === 'PAE' ? slot * 2 : WINDOW / SLOT + slot;

const inDirectory = (mode: TableMode, slots: Readonly<Record<number, Entry>>): Record<number, Entry> =>
  Object.fromEntries(Object.entries(slots).map(([slot, entry]) => [slotIndex(mode, Number(slot)), entry]));

export const stateIn = ({ mode, root }: SmallSpace, ...flags: Flag[]): SpaceState => ({ mode, root, flags });

/** Writes the entry of a page in a table, or that of a slot in the directory. */
export const editPage = (space: SmallSpace, name: string, page: number, entry: Entry): Step => ({
  do: 'edit',
  page: `${space.prefix}.${name}`,
  index: page,
  width: space.width,
  entry,
});
export const editSlot = (space: SmallSpace, slot: number, entry: Entry): Step =>
  editPage(space, 'pd', slotIndex(space.mode, slot), entry);

/** Reads the same: accessed and dirty flags. */
export const readPage = (space: SmallSpace, name: string, page: number): Step => ({
  do: 'read',
  page: `${space.prefix}.${name}`,
  offset: page * space.width,
  width: space.width,
});
export const readSlot = (space: SmallSpace, slot: number): Step =>
  readPage(space, 'pd', slotIndex(space.mode, slot));

/** A probe of the page at `page`, of its marker. */
export function probe(form: ProbeFormName, cpl: 0 | 3, page: number, about: string, ac = false): ProbeStep {
  const description = PROBE_FORMS[probeFormNumber(form)];
  return {
    do: 'probe',
    form,
    cpl,
    at: page + MARKER_OFFSET + markerOffset(description),
    ...(description.access === 'write' && description.implicit !== true ? { value: STORED } : {}),
    ...(ac ? { ac } : {}),
    about,
  };
}
/** What writes store; no marker's word, which has four equal bytes. */
const STORED = 0x00e0_0001;

export const reads = (page: number, about: string, cpl: 0 | 3 = 0): Step => probe('read4', cpl, page, about);
export const writes = (page: number, about: string, cpl: 0 | 3 = 0): Step =>
  probe('write4', cpl, page, about);
export const fetches = (page: number, about: string, cpl: 0 | 3 = 0): Step =>
  probe('fetch', cpl, page, about);

export const set = (flag: Extract<Step, { do: 'set' }>['flag'], value: boolean): Step => ({
  do: 'set',
  flag,
  value,
});
export const invlpg = (page: number): Step => ({ do: 'invlpg', at: page });
export const RELOAD: Step = { do: 'reload-cr3' };

export const switchTo = (space: SmallSpace): Step => ({ do: 'switch', ...stateIn(space, 'CR0.WP') });

/** A visit of an L2. */
const visitOf = (l2: string, ...steps: Step[]): Step[] => [{ do: 'enter', l2 }, ...steps, { do: 'leave' }];
/** A visit of L2, named A. */
export const visit = (...steps: Step[]): Step[] => visitOf('A', ...steps);
/** A visit of the other L2, where there are two. */
export const visitB = (...steps: Step[]): Step[] => visitOf('B', ...steps);
/** A visit of A with changes of its VMCB. */
export const visitWith = (vmcb: VmcbChanges, ...steps: Step[]): Step[] => [
  { do: 'enter', l2: 'A', vmcb },
  ...steps,
  { do: 'leave' },
];
export const FLUSHED: VmcbChanges = { tlbControl: 'asid' };

/** A directed scenario, with the features that it needs found in it. */
export const directed = (scenario: Omit<Scenario, 'features'>): Scenario =>
  withFeatures({ ...scenario, name: `directed/${scenario.name}` });

/** The same on a processor that lacks a feature, which the scenario names all the same. */
export const without = (scenario: Scenario, feature: CpuFeature): Scenario => ({
  ...scenario,
  features: scenario.features.filter((one) => one !== feature),
  absent: [feature],
});

/** What an L2 begins with. */
type L2Start = SpaceState & Partial<Pick<L2State, 'interceptPageFaults'>>;

/** A scenario of an L2, named A, under an L1 in 2-level paging with nothing of its own to do. */
export function underPlainL1(
  name: string,
  about: string,
  state: L2Start,
  pages: Readonly<Record<string, Page>>,
  steps: readonly Step[],
): Scenario {
  const host = hostIn('2-level');
  return directed({
    name,
    about,
    pages: { ...host.pages, ...pages },
    l1: stateIn(host, 'CR0.WP'),
    l2: { A: { ...state, asid: 1 } },
    steps,
  });
}

/** A scenario in which everything happens in one visit of an L2. */
export const inL2 = (
  name: string,
  about: string,
  state: L2Start,
  pages: Readonly<Record<string, Page>>,
  steps: readonly Step[],
): Scenario => underPlainL1(name, about, state, pages, visit(...steps));

/** The same for an L2 whose pages are those of its space. */
export const inSpace = (
  name: string,
  about: string,
  space: SmallSpace,
  flags: readonly Flag[],
  steps: readonly Step[],
): Scenario => inL2(name, about, stateIn(space, ...flags), space.pages, steps);
