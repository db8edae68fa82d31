import type { Entry, Flag, Page, Scenario, Step } from '../../scenario.ts';
import { readEntry } from '../edits.ts';
import { ProbeWriter } from '../probes.ts';
import type { EntryPlace, MatrixSpace, Target } from '../space.ts';
import { type NptCell, nptScenario, nptSpaces, nxOfNested, SETTLED, visitA } from './cell.ts';
import { GUEST_BASE, type GuestSpace, guestRoots, tableOf } from './guest.ts';

const PAGE = 0x1000;
/** Entries of a table behind a nested page: below the marker that the page has too. */
const SLOT = 3;
const SPAN = { PAE: 0x20_0000, '2-level': 0x40_0000, '2-level+PSE': 0x40_0000 } as const;

/**
 * L2's page tables lie behind nested pages of all kinds, and under PAE its page directories too: each read of an entry is a
 * user write to the nested tables (APM vol. 2 15.25.5).
 */
export function behindScenarios(cell: NptCell): Scenario[] {
  if (cell.l2 === 'off') return [];
  // Without it bit 63 of nested entries is reserved.
  const nx = cell.l2 === '2-level+PSE' ? [] : nxOfNested(cell);
  const tables = scenario(cell, 'tables-behind', cell.l2, pageTablesBehind, nx);
  if (cell.l2 !== 'PAE') return [tables];
  return [tables, scenario(cell, 'directories-behind', 'PAE', directoriesBehind, [])];
}

type Build = (mode: Exclude<NptCell['l2'], 'off'>, nested: MatrixSpace) => GuestSpace;

function scenario(
  cell: NptCell,
  family: string,
  mode: Exclude<NptCell['l2'], 'off'>,
  build: Build,
  l1Flags: readonly Flag[],
): Scenario {
  const spaces = nptSpaces(cell);
  const guest = build(mode, spaces.nested);
  const writer = new ProbeWriter(3);
  const reads = (): Step[] =>
    spaces.nested.targets.flatMap(({ leaf }) => (leaf === undefined ? [] : [readEntry(leaf)]));
  return nptScenario(cell, {
    family,
    about: "L2's tables lie behind nested pages of every kind.",
    spaces: { ...spaces, nested: withoutPages(spaces.nested, guest) },
    guest,
    l1Flags,
    steps: [
      ...visitA(writer.some(guest.targets)),
      ...reads(),
      ...visitA(writer.all(guest.targets), { tlbControl: 'asid' }),
      ...reads(),
      ...visitA(writer.some(guest.targets), { flags: [] }),
    ],
  });
}

/** The guest has those pages of the nested space that are its tables. */
const withoutPages = (nested: MatrixSpace, guest: GuestSpace): MatrixSpace => ({
  ...nested,
  pages: Object.fromEntries(Object.entries(nested.pages).filter(([name]) => guest.pages[name] === undefined)),
});

/** Nested targets whose page is where their entry leads: without large pages, what is called large is not. */
const usable = (nested: MatrixSpace): Target[] =>
  nested.targets.filter(({ about }) => nested.mode !== '2-level' || !about.startsWith('large'));

const DATA: Readonly<Record<string, Page>> = { 'l2.data': {} };
const dataEntry = (): Entry => ({ to: 'l2.data', flags: 'P W U' });

function pageTablesBehind(mode: Exclude<NptCell['l2'], 'off'>, nested: MatrixSpace): GuestSpace {
  const behind = usable(nested);
  const width = mode === 'PAE' ? 8 : 4;
  const roots = guestRoots(
    mode,
    behind.map(({ at }): Entry => ({ to: at, flags: 'P W U A' })),
  );
  const pages: Record<string, Page> = {};
  const targets = behind.map(({ page, about }, index): Target => {
    pages[page] = { ...nested.pages[page], ...tableOf(mode, { [SLOT]: dataEntry() }) };
    const leaf: EntryPlace = { page, index: SLOT, width };
    return {
      at: GUEST_BASE + index * SPAN[mode] + SLOT * PAGE,
      about: `table behind ${about}`,
      leaf,
      page: 'l2.data',
    };
  });
  return { state: roots.state, pages: { ...roots.pages, ...pages, ...DATA }, targets };
}

/** A PAE page directory behind each of two nested pages at a time: PDPTEs 2 and 3 lead there. */
function directoriesBehind(mode: Exclude<NptCell['l2'], 'off'>, nested: MatrixSpace): GuestSpace {
  const wanted = ['read-only', 'supervisor'];
  const behind = usable(nested).filter(({ about }) => wanted.includes(about));
  const pages: Record<string, Page> = {
    ...DATA,
    'l2.pt': tableOf(mode, { [SLOT]: { ...dataEntry(), flags: SETTLED } }),
    'l2.pdpt': {
      entries8: Object.fromEntries(
        [{ at: nested.targets[0].at }, ...behind].map(({ at }, index) => [1 + index, { to: at, flags: 'P' }]),
      ),
    },
  };
  const all = [nested.targets[0], ...behind];
  const targets = all.map(({ page, about }, index): Target => {
    pages[page] = { ...nested.pages[page], ...tableOf(mode, { [SLOT]: { to: 'l2.pt', flags: 'P W U' } }) };
    return {
      at: (1 + index) * 0x4000_0000 + SLOT * SPAN.PAE + SLOT * PAGE,
      about: `directory behind ${about}`,
      leaf: { page, index: SLOT, width: 8 },
      page: 'l2.data',
    };
  });
  return { state: { mode, root: 'l2.pdpt' }, pages, targets };
}
