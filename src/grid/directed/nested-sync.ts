import type { Entry, EntryFlags, Scenario, Step, VmcbChanges } from '../scenario.ts';
import {
  at,
  directed,
  editPage,
  editSlot,
  FLUSHED,
  hostIn,
  invlpg,
  RELOAD,
  readPage,
  reads,
  set,
  slug,
  smallSpace,
  stateIn,
  type TableMode,
  USED,
  visit,
  visitB,
  visitWith,
  writes,
} from './build.ts';
import { nestedSpace, pagesWith, throughAll, underNested } from './nested-build.ts';

const first = reads(at(0, 0), 'first page');
const second = reads(at(0, 1), 'second page');
const both = [first, second, writes(at(0, 0), 'first page', 3), writes(at(0, 1), 'second page')];

/** L1 edits nested tables while L2 is away, and flushes L2's TLB in each way there is. */
function editedByHost(mode: TableMode): Scenario {
  const nested = pagesWith(mode, { 0: USED, 1: USED, 2: USED });
  const edit = (page: number, to: number, flags: EntryFlags = USED): Step =>
    editPage(nested, 'pt', page, { to: `npt.page-${to}`, flags });
  const ways: readonly VmcbChanges[] = [FLUSHED, { asid: 2 }, { tlbControl: 'all' }, { asid: 1, ...FLUSHED }];
  return underNested(
    `edited-by-host-${slug(mode)}`,
    "L1 edits nested tables, and flushes L2's TLB or gives L2 another ASID.",
    { nested },
    [
      ...visit(...both),
      ...ways.flatMap((way, index) => [
        edit(0, index % 2 === 0 ? 2 : 0),
        edit(1, 1, index % 2 === 0 ? 'P U A' : USED),
        ...visitWith(way, ...both),
      ]),
      // No need to flush what was absent.
      edit(0, 0, 'W U'),
      ...visitWith(FLUSHED, ...both),
      edit(0, 0),
      ...visit(...both),
      readPage(nested, 'pt', 0),
    ],
  );
}

/** L1 edits L2's own tables, which no table of L0 stands for: the flush must reach the processor. */
const guestTablesEdited = (): Scenario => {
  const nested = pagesWith('2-level', { 0: USED, 1: USED });
  const guest = throughAll('PAE', [0, 1]);
  const to = (page: number, address: number): Step =>
    editPage(guest, 'pt', page, { to: address, flags: USED });
  return underNested(
    'guest-tables-edited',
    "L1 edits L2's own page table, and invalidates what L2 had by INVLPGA, TLB_CONTROL and another ASID.",
    { nested, guest },
    [
      ...visit(first, second),
      to(0, at(0, 1)),
      { do: 'invlpga', at: at(0, 0), asid: 1 },
      ...visit(first, second),
      to(1, at(0, 0)),
      ...visitWith(FLUSHED, first, second),
      to(0, at(0, 0)),
      ...visitWith({ asid: 2 }, first, second),
      to(1, at(0, 1)),
      ...visitWith({ tlbControl: 'all' }, first, second),
      to(0, at(0, 1)),
      to(1, at(0, 0)),
      ...visitWith({ tlbControl: 'asid-non-global' }, first, second),
      // Once more, when nothing else makes L0 flush: its own tables have come to rest.
      to(0, at(0, 0)),
      { do: 'invlpga', at: at(0, 0), asid: 2 },
      ...visit(first, second),
    ],
  );
};

/** TLB_CONTROL 1 flushes L1's own translations too. */
const hostTablesEdited = (): Scenario => {
  const nested = pagesWith('PAE', { 0: USED });
  const host = hostIn('PAE');
  const edit = (to: string): Step => editPage(host, 'pt', 0, { to, flags: USED });
  const own = reads(at(0, 0), 'of L1');
  return underNested(
    'host-tables-edited',
    'L1 edits its own page table, and flushes the entire TLB by a VMRUN.',
    { nested },
    [
      own,
      edit('npt.page-0'),
      ...visitWith({ tlbControl: 'all' }, first),
      own,
      edit('l1.page'),
      ...visitWith({ tlbControl: 'all' }, first),
      own,
    ],
  );
};

/** L2 itself writes to the nested tables, which map themselves, and invalidates by its own INVLPG. */
function editedByGuest(mode: TableMode): Scenario {
  const nested = nestedSpace(
    mode,
    { 0: { to: 'npt.pt', flags: 'P W U A' } },
    {
      pt: {
        0: { to: 'npt.a', flags: USED },
        1: { to: 'npt.b', flags: USED },
        2: { to: 'npt.pt', flags: USED },
      },
    },
  );
  const guest = throughAll(mode, [0, 1, 2]);
  const through = (page: number, to: string, flags = USED): Step => ({
    do: 'probe',
    form: 'write4',
    cpl: 0,
    at: at(0, 2) + page * nested.width,
    entry: { to, flags },
    about: 'nested table through itself',
  });
  return underNested(
    `edited-by-guest-${slug(mode)}`,
    'L2 writes to the nested tables through themselves, and invalidates.',
    { nested, guest },
    [
      ...visit(
        ...both,
        through(0, 'npt.b'),
        invlpg(at(0, 0)),
        first,
        second,
        through(1, 'npt.a', 'P U A'),
        RELOAD,
        first,
        writes(at(0, 1), 'now read-only'),
        through(0, 'npt.a'),
        set('CR4.PGE', true),
        first,
        readPage(nested, 'pt', 0),
      ),
      ...visit(first, second, through(0, 'npt.b'), invlpg(at(0, 0)), first),
      first,
    ],
  );
}

/** PDPTEs of nested tables are read from memory in every walk. */
const pdptesEdited = (): Scenario => {
  const nested = pagesWith('PAE', { 0: USED, 1: 'P U A' });
  const other = nestedSpace(
    'PAE',
    { 0: { to: 'other.pt', flags: 'P W U A' } },
    { pt: { 0: { to: 'other.a', flags: 'P U A' }, 1: { to: 'other.b', flags: USED } } },
    'other',
  );
  const edit = (entry: Entry, index = 1): Step => editPage(nested, 'pdpt', index, entry);
  return underNested(
    'pdptes-edited',
    'L1 edits PDPTEs of nested tables between visits: to other directories, absent, with reserved bits.',
    { nested, pages: other.pages },
    [
      ...visit(...both),
      edit({ to: 'other.pd', flags: 'P' }),
      ...visitWith(FLUSHED, ...both),
      edit({ flags: '' }),
      ...visitWith(FLUSHED, ...both),
      edit({ to: 'npt.pd', flags: 'P' }),
      ...visit(...both),
      edit({ to: 'other.pd', flags: 'P W' }),
      ...visitWith(FLUSHED, ...both),
      edit({ to: 'npt.pd', flags: 'P' }),
      edit({ to: 'other.pd', flags: 'P' }, 2),
      ...visitWith(FLUSHED, ...both, reads(at(256, 0), 'another gigabyte')),
    ],
  );
};

/**
 * Another L2 has the table of nested PDPTEs for a page table of its own, and sets A in one of them, which reserves it there: the
 * first finds out once nothing is cached any more.
 */
const pdpteUsedByGuest = (): Scenario => {
  const nested = pagesWith('PAE', { 0: USED });
  const guest = smallSpace('l2', '2-level', { 0: { to: nested.root, flags: 'P W U A' } });
  // PDPTE 1, by its low half.
  const pdpte = reads(at(0, 2), 'page of the nested directory');
  return underNested(
    'pdpte-used-by-guest',
    'A PDPTE of nested tables is an entry of a page table as well, by which an L2 reads.',
    {
      nested,
      pages: guest.pages,
      l2: { B: { ...stateIn(guest, 'CR0.WP'), asid: 2, nested: nested.root } },
    },
    [...visit(first), ...visitB(pdpte), ...visitWith({ tlbControl: 'all' }, first)],
  );
};

/**
 * An L1 on nested tables of L0 has its PDPTEs read on use as well: a change of CR4 loads none and refuses none. For an L2 without
 * nested paging VMRUN checks them all the same (APM vol. 2 15.25.10).
 */
const pdptesOfGuest = (): Scenario => {
  const nested = pagesWith('2-level', { 0: USED });
  const guest = smallSpace(
    'l2',
    'PAE',
    { 0: { to: 'l2.pt', flags: 'P W U A' } },
    { pt: { 0: { to: at(0, 0), flags: USED }, 1: { to: 'l2.page', flags: USED } } },
  );
  const edit = (flags: EntryFlags): Step => editPage(guest, 'pdpt', 2, { to: 'l2.pd', flags });
  const own = reads(at(0, 1), 'own page');
  return underNested(
    'pdptes-of-guest',
    "One of L2's PDPTEs has reserved bits: with nested paging that matters where it is used, without at VMRUN.",
    { nested, guest, pages: { 'l2.page': {} } },
    [
      ...visit(own, first),
      edit('P W'),
      ...visitWith(
        FLUSHED,
        own,
        set('CR4.PGE', true),
        own,
        set('CR4.PSE', true),
        RELOAD,
        first,
        reads(at(256, 0), 'reserved PDPTE'),
      ),
      ...visitWith({ ...FLUSHED, ...stateIn(guest, 'CR0.WP'), nested: false }, own),
      edit('P'),
      ...visitWith({ ...FLUSHED, ...stateIn(guest, 'CR0.WP'), nested: false }, own),
    ],
  );
};

/** L2s that L1 shadows, one without paging and one with, under one ASID: the same addresses are other pages. */
const flatAndPaged = (): Scenario => {
  const guest = smallSpace('l2', '2-level', {}, { low: { 0: { to: 'l2.other', flags: USED } } });
  const pages = {
    ...guest.pages,
    // Above the agents' tables and below their end: linear addresses that are physical ones without paging.
    'l2.pd': { entries4: { 4: { to: 'l2.low', flags: 'P W U A' } } },
    'l2.flat': { at: FLAT },
    'l2.other': {},
  };
  const look = reads(FLAT, 'flat or paged');
  return directed({
    name: 'nested-flat-and-paged',
    about: 'L1 shadows an L2 without paging and with paging in turn, under one ASID.',
    pages: { ...hostIn('2-level').pages, ...pages },
    l1: stateIn(hostIn('2-level'), 'CR0.WP'),
    l2: {
      A: { mode: 'off', flags: [], asid: 1 },
      B: { mode: '2-level', root: 'l2.pd', flags: ['CR0.WP'], asid: 1 },
    },
    steps: [...visit(look), ...visitB(look), ...visit(look), ...visitB(look)],
  });
};
/** Past what the agents map of themselves. */
const FLAT = 0x0100_0000;

/** Tables of nested paging come and go: a table taken out, edited, and put back. */
function takenOutAndBack(mode: TableMode): Scenario {
  const nested = nestedSpace(
    mode,
    { 0: { to: 'npt.pt', flags: 'P W U A' } },
    {
      pt: { 0: { to: 'npt.a', flags: USED }, 1: { to: 'npt.b', flags: USED } },
      'pt-2': { 0: { to: 'npt.b', flags: USED }, 1: { to: 'npt.c', flags: USED } },
    },
  );
  const slot = (to: string): Step => editSlot(nested, 0, { to, flags: 'P W U A' });
  return underNested(
    `table-taken-out-and-back-${slug(mode)}`,
    'A nested page table is replaced, edited, and put back.',
    { nested },
    [
      ...visit(...both),
      slot('npt.pt-2'),
      ...visitWith(FLUSHED, ...both),
      editPage(nested, 'pt', 0, { to: 'npt.c', flags: USED }),
      editPage(nested, 'pt', 1, { to: 'npt.a', flags: USED }),
      slot('npt.pt'),
      ...visitWith(FLUSHED, second, first),
    ],
  );
}

/** What nested tables say after they have changed. */
export const nestedSyncScenarios = (): Scenario[] => [
  editedByHost('2-level'),
  editedByHost('PAE'),
  guestTablesEdited(),
  hostTablesEdited(),
  editedByGuest('2-level'),
  editedByGuest('PAE'),
  pdptesEdited(),
  pdpteUsedByGuest(),
  pdptesOfGuest(),
  flatAndPaged(),
  takenOutAndBack('2-level'),
  takenOutAndBack('PAE'),
];
