import type { Page, Scenario, Step } from '../../scenario.ts';
import { readEntry } from '../edits.ts';
import { BASIC_PROBES, FURTHER_PROBES, type ProbeKind, ProbeWriter } from '../probes.ts';
import type { EntryPlace, MatrixSpace, Target } from '../space.ts';
import { type NptCell, nptScenario, nptSpaces, visitA } from './cell.ts';
import { GUEST_BASE, type GuestSpace, guestRoots, tableOf } from './guest.ts';

const SLOT = 3;

/** An entry, and what L1 writes there to begin again. */
interface Watched {
  readonly place: EntryPlace;
  readonly to: string | number;
  readonly flags: string;
}

/** Accessed and dirty flags of both stages after each kind of access, from untouched entries. */
export function flagScenarios(cell: NptCell): Scenario[] {
  const spaces = nptSpaces(cell, {
    leaves: ['present', 'read-only', 'dirty'],
    directories: ['dir', 'dir-read-only', 'large'],
  });
  const { guest, watched } = watchedGuest(cell.l2, spaces.nested);
  const writer = new ProbeWriter();
  const kinds: readonly ProbeKind[] = [...BASIC_PROBES, ...FURTHER_PROBES];
  const steps = kinds.flatMap((kind, index): Step[] => {
    const target = guest.targets[index % guest.targets.length];
    return [
      ...watched.map(({ place, to, flags }): Step => ({ do: 'edit', ...place, entry: { to, flags } })),
      ...visitA([writer.probe(target, kind)], { tlbControl: 'asid' }),
      ...watched.map(({ place }) => readEntry(place)),
    ];
  });
  return [
    nptScenario(cell, {
      family: 'flags',
      about: 'Each access from untouched entries: accessed and dirty flags of both stages.',
      spaces: {
        ...spaces,
        nested: { ...spaces.nested, pages: without(spaces.nested.pages, Object.keys(guest.pages)) },
      },
      guest,
      steps,
    }),
  ];
}

const without = (pages: MatrixSpace['pages'], names: readonly string[]): MatrixSpace['pages'] =>
  Object.fromEntries(Object.entries(pages).filter(([name]) => !names.includes(name)));

/** L2 with a page table behind the nested page called dirty, and every entry on the way to its pages. */
function watchedGuest(
  mode: NptCell['l2'],
  nested: MatrixSpace,
): { guest: GuestSpace; watched: readonly Watched[] } {
  const table = nested.targets.find(({ about }) => about === 'dirty')!;
  const reached = nested.targets.filter((target) => target !== table);
  const watched: Watched[] = nested.targets.flatMap(({ leaf, page, about }) => {
    if (leaf === undefined || about.startsWith('large')) return [];
    return [{ place: leaf, to: page, flags: about === 'read-only' ? 'P U' : 'P W U' }];
  });
  if (mode === 'off') {
    const targets = reached.map(({ at, about, page }): Target => ({ at, about, page }));
    return { guest: { state: { mode }, pages: {}, targets }, watched };
  }
  const width = mode === 'PAE' ? 8 : 4;
  const roots = guestRoots(mode, [{ to: table.at, flags: 'P W U' }]);
  const entries = Object.fromEntries(
    reached.map(({ at }, index) => [SLOT + index, { to: at, flags: 'P W U' }]),
  );
  const page: Page = { ...nested.pages[table.page], ...tableOf(mode, entries) };
  const targets = reached.map(
    ({ about, page: answers }, index): Target => ({
      at: GUEST_BASE + (SLOT + index) * 0x1000,
      about,
      leaf: { page: table.page, index: SLOT + index, width },
      page: answers,
    }),
  );
  const own = reached.map(
    ({ at }, index): Watched => ({
      place: { page: table.page, index: SLOT + index, width },
      to: at,
      flags: 'P W U',
    }),
  );
  const directory: Watched = {
    place: { page: 'l2.pd', index: mode === 'PAE' ? 0 : GUEST_BASE >>> 22, width },
    to: table.at,
    flags: 'P W U',
  };
  return {
    guest: { state: roots.state, pages: { ...roots.pages, [table.page]: page }, targets },
    watched: [...watched, ...own, directory],
  };
}
