import type { Scenario, Step } from '../scenario.ts';
import {
  at,
  directed,
  editPage,
  editSlot,
  FLUSHED,
  fetches,
  hostIn,
  invlpg,
  LARGE_FRAME,
  probe,
  readPage,
  reads,
  type SmallSpace,
  set,
  slug,
  smallSpace,
  stateIn,
  switchTo,
  type TableMode,
  USED,
  visit,
  visitB,
  visitWith,
  writes,
} from './build.ts';
import { nestedSpace, pagesWith, throughAll, underNested } from './nested-build.ts';

/** Slots of a 2-level directory, one in each gigabyte above the agents'. */
const IN_EACH_GIGABYTE = [0, 256, 512] as const;

/** 4-byte nested entries: both halves of a table, and every gigabyte, each with a page of its own. */
const quadrants = (): Scenario => {
  const slots = IN_EACH_GIGABYTE.map((slot, index) => [slot, `npt.pt-${index}`] as const);
  const tables = slots.map(
    ([, name], index) =>
      [
        name.slice('npt.'.length),
        {
          1: { to: `npt.low-${index}`, flags: USED },
          513: { to: `npt.high-${index}`, flags: USED },
          2: { to: `npt.read-only-${index}`, flags: 'P U A' },
        },
      ] as const,
  );
  const nested = nestedSpace(
    '2-level',
    Object.fromEntries(slots.map(([slot, to]) => [slot, { to, flags: 'P W U' }])),
    Object.fromEntries(tables),
  );
  const look = slots.flatMap(([slot]) => [
    reads(at(slot, 1), 'lower half'),
    reads(at(slot, 513), 'upper half'),
    writes(at(slot, 513), 'upper half', 3),
    writes(at(slot, 514), 'absent in the upper half'),
    writes(at(slot, 2), 'read-only'),
  ]);
  return underNested('quadrants', 'Pages in both halves of nested tables, in every gigabyte.', { nested }, [
    ...visit(...look),
    // A later entry of the upper half, and one of the lower: each must reach its own shadow.
    editPage(nested, 'pt-1', 514, { to: 'npt.low-0', flags: USED }),
    editPage(nested, 'pt-1', 513, { flags: '' }),
    ...visitWith(FLUSHED, ...look),
  ]);
};

/** Entries of a nested directory change, in each quarter. */
const directoryEdits = (): Scenario => {
  const tables = {
    a: { 1: { to: 'npt.page-a', flags: USED }, 513: { to: 'npt.high-a', flags: USED } },
    b: { 1: { to: 'npt.page-b', flags: USED }, 513: { to: 'npt.high-b', flags: USED } },
  };
  const slots = IN_EACH_GIGABYTE.map((slot) => [slot, { to: 'npt.a', flags: 'P W U A' }] as const);
  const nested = nestedSpace('2-level', Object.fromEntries(slots), tables);
  const look = (slot: number): Step[] => [
    reads(at(slot, 1), 'lower half'),
    reads(at(slot, 513), 'upper half'),
  ];
  const all = IN_EACH_GIGABYTE.flatMap(look);
  return underNested('directory-edits', 'L1 edits each gigabyte of a nested directory.', { nested }, [
    ...visit(...all),
    ...IN_EACH_GIGABYTE.flatMap((slot, index) => [
      editSlot(nested, slot, { to: 'npt.b', flags: 'P W U A' }),
      ...visitWith(FLUSHED, ...all),
      editSlot(nested, slot, index === 1 ? { to: 'npt.a', flags: 'P U A' } : { flags: '' }),
      ...visitWith(FLUSHED, ...all, writes(at(slot, 513), 'edited directory')),
    ]),
  ]);
};

const readsAndWrites = (page: number): Step[] => [
  reads(at(0, page), `page ${page}`),
  writes(at(0, page), `page ${page}`, 3),
];

/** Two roots, taken in turn; the same L2-physical addresses are other pages. */
function twoRoots(mode: TableMode): Scenario {
  const one = pagesWith(mode, { 0: USED, 1: 'P U A', 2: USED });
  const other = nestedSpace(
    mode,
    { 0: { to: 'other.pt', flags: 'P W U A' } },
    {
      pt: {
        0: { to: 'other.page-0', flags: USED },
        1: { to: 'other.page-1', flags: USED },
        2: { to: 'other.page-2', flags: 'P U A' },
      },
    },
    'other',
  );
  const look = [0, 1, 2].flatMap(readsAndWrites);
  const through = (root: string): Step[] => visitWith({ ...FLUSHED, nested: root }, ...look);
  return underNested(
    `two-roots-${slug(mode)}`,
    'L1 runs L2 with one nCR3, then another, in turn.',
    { nested: one, pages: other.pages },
    [...visit(...look), ...through(other.root), ...through(one.root), ...through(other.root)],
  );
}

/** A PDPT inside the page of a 2-level directory, so that one nCR3 is a root in either format. */
const PDPT = 0xfe0;

/**
 * L1 goes from one paging mode to another, and nCR3 stays: what was a 2-level root is a page of PDPTEs. KVM let an L1 keep its
 * root across a toggle of LA57 once (84e5ffd045f3), and an L2 then reach what L1 had not given it.
 */
const hostModes = (): Scenario => {
  const legacy = nestedSpace(
    '2-level',
    { 0: { to: 'npt.pt', flags: 'P W U A' } },
    { pt: { 0: { to: 'npt.a', flags: USED }, 1: { to: 'npt.b', flags: USED } } },
  );
  const pae = nestedSpace(
    'PAE',
    { 0: { to: 'pae.pt', flags: 'P W U A' } },
    { pt: { 0: { to: 'pae.a', flags: 'P U A' }, 2: { to: 'pae.b', flags: USED } } },
    'pae',
  );
  const pdpte = { to: 'pae.pd', flags: 'P' };
  const pages = {
    ...pae.pages,
    ...legacy.pages,
    'npt.pd': { ...legacy.pages['npt.pd'], entries8: { [PDPT / 8 + 1]: pdpte } },
  };
  const hosts = [hostIn('2-level'), hostIn('PAE', 'l1-pae')] as const;
  const look = [0, 1, 2].flatMap(readsAndWrites);
  return directed({
    name: 'nested-host-modes',
    about: 'L1 switches between 2-level and PAE paging, and one page is the root of nested tables of both.',
    pages: { ...hosts[0].pages, ...hosts[1].pages, ...pages },
    l1: stateIn(hosts[0], 'CR0.WP'),
    l2: { A: { mode: 'off', flags: [], asid: 1, nested: `npt.pd+0x${PDPT.toString(16)}` } },
    steps: [
      ...visit(...look),
      switchTo(hosts[1]),
      ...visitWith(FLUSHED, ...look),
      switchTo(hosts[0]),
      ...visitWith(FLUSHED, ...look),
      switchTo(hosts[1]),
      ...visitWith(FLUSHED, ...look),
    ],
  });
};

/** CR4.PSE of L1: bit 7 of nested directory entries is a large page or nothing. */
const pseOfHost = (): Scenario => {
  const nested = nestedSpace(
    '2-level',
    { 0: { to: LARGE_FRAME, flags: 'P W U A D PS' }, 1: { to: LARGE_FRAME, flags: 'P U A PS' } },
    {},
  );
  const pages = {
    // Without PSE the frame's first page is a page table, or so the entry says.
    'npt.table': { at: LARGE_FRAME, entries4: { 5: { to: 'npt.page', flags: USED } } },
    'npt.in-frame': { at: LARGE_FRAME + 0x5000 },
    'npt.page': {},
  };
  const look = [
    reads(at(0, 5), 'large or not'),
    writes(at(1, 5), 'read-only'),
    writes(at(0, 5), 'writable', 3),
  ];
  return underNested('pse-of-host', 'L1 toggles CR4.PSE between visits of L2.', { nested, pages }, [
    ...visit(...look),
    set('CR4.PSE', true),
    ...visitWith(FLUSHED, ...look),
    set('CR4.PSE', false),
    ...visitWith(FLUSHED, ...look),
    set('CR4.PSE', true),
    ...visitWith(FLUSHED, ...look),
  ]);
};

/** EFER.NX of L1: bit 63 of nested entries is execute-disable or reserved. */
const nxOfHost = (): Scenario => {
  const look = [
    reads(at(0, 0), 'nx'),
    fetches(at(0, 0), 'nx', 3),
    fetches(at(0, 1), 'present'),
    fetches(at(0, 2), 'absent'),
    reads(at(0, 2), 'absent'),
  ];
  return underNested(
    'nx-of-host',
    'L1 toggles EFER.NX between visits of L2.',
    { nested: pagesWith('PAE', { 0: `${USED} NX`, 1: USED }), hostFlags: ['CR0.WP', 'EFER.NX'] },
    [
      ...visit(...look),
      set('EFER.NX', false),
      ...visitWith(FLUSHED, ...look),
      set('EFER.NX', true),
      ...visitWith(FLUSHED, ...look),
    ],
  );
};

/** L2's own registers while nested tables are used: those of L1 at VMRUN decide their format, and no later ones do. */
function modesOfGuest(mode: TableMode, other: TableMode): Scenario {
  const nested = pagesWith(mode, { 0: USED, 1: 'P U A', 2: 'P W U' });
  const pages = [0, 1, 2, 3];
  const [same, others] = [throughAll(mode, pages), throughAll(other, pages, 'l2-other')];
  const look = pages.flatMap((page) => [...readsAndWrites(page), fetches(at(0, page), `page ${page}`)]);
  return underNested(
    `modes-of-guest-${slug(mode)}`,
    'L2 switches between 2-level and PAE paging and none while it uses nested tables of one format.',
    { nested, guest: same, pages: others.pages },
    [
      ...visit(...look, switchTo(others), ...look, { do: 'switch', mode: 'off', flags: [] }, ...look),
      ...visitWith({ ...FLUSHED, ...stateIn(others, 'CR0.WP') }, ...look, switchTo(same), ...look),
    ],
  );
}

/** What L0 walks in software for L2 follows L2's own mode of the moment. */
const emulatedInModes = (): Scenario => {
  const nested = nestedSpace(
    '2-level',
    { 0: { to: 'npt.pt', flags: 'P W U A' }, 1: { to: 'npt.pt-2', flags: 'P W U A' } },
    {
      pt: { 0: { to: 'npt.pt-2', flags: USED }, 1: { to: 'npt.a', flags: USED } },
      'pt-2': { 0: { to: 'npt.b', flags: USED }, 1: { to: 'npt.c', flags: USED } },
    },
  );
  const through = (prefix: string, mode: TableMode, page: number): SmallSpace =>
    smallSpace(
      prefix,
      mode,
      { 0: { to: `${prefix}.pt`, flags: 'P W U A' }, 1: { to: `${prefix}.pt`, flags: 'P U A' } },
      { pt: { [page]: { to: at(0, 0), flags: USED }, 0: { to: at(1, 0), flags: USED } } },
    );
  const [pae, legacy] = [through('l2', 'PAE', 3), through('l2-other', '2-level', 3)];
  const entry = (page: number, slot: number, about: string): Step => ({
    do: 'probe',
    form: 'write4',
    cpl: 3,
    at: at(slot, page) + 8,
    value: 0,
    about,
  });
  const look = [
    reads(at(0, 0), 'behind the nested table'),
    entry(3, 0, 'nested table'),
    entry(3, 1, 'nested table, read-only'),
    reads(at(0, 3), 'nested table'),
  ];
  return underNested(
    'emulated-in-modes',
    'L2 writes to a nested table in PAE paging, in 2-level paging, and in PAE paging again.',
    { nested, guest: pae, pages: legacy.pages },
    [
      ...visit(...look),
      ...visitWith({ ...FLUSHED, ...stateIn(legacy, 'CR0.WP') }, ...look),
      ...visitWith({ ...FLUSHED, ...stateIn(pae, 'CR0.WP') }, ...look, switchTo(legacy), ...look),
    ],
  );
};

/** An L2 with nested paging and without, in turn, and its own tables the same. */
const waysInTurn = (): Scenario => {
  const nested = pagesWith('2-level', { 0: USED, 1: 'P U A' });
  // As L1-physical addresses the entries mean pages of the agents' region, as L2-physical ones the same under identity.
  const guest = smallSpace(
    'l2',
    'PAE',
    { 0: { to: 'l2.pt', flags: 'P W U A' } },
    {
      pt: {
        0: { to: 'l2.page', flags: USED },
        1: { to: at(0, 0), flags: USED },
        2: { to: at(0, 1), flags: USED },
      },
    },
  );
  const own = [reads(at(0, 0), 'own page'), writes(at(0, 0), 'own page', 3)];
  const all = [
    ...own,
    reads(at(0, 1), 'nested'),
    writes(at(0, 2), 'nested read-only'),
    writes(at(0, 1), 'nested'),
  ];
  return underNested(
    'ways-in-turn',
    'L1 runs L2 with nested paging, without, and with it again.',
    { nested, guest, pages: { 'l2.page': {} } },
    [
      ...visit(...all),
      ...visitWith({ ...FLUSHED, nested: false }, ...own),
      ...visitWith({ ...FLUSHED, nested: nested.root }, ...all),
      ...visitWith({ ...FLUSHED, nested: false }, ...own),
    ],
  );
};

/** L1 and an L2 that L1 shadows, on one set of tables, and an L2 with nested paging beside them. */
const threeOnOnePage = (): Scenario => {
  const nested = pagesWith('PAE', { 0: USED, 1: USED });
  const guest = smallSpace(
    'l2',
    'PAE',
    { 0: { to: 'l2.pt', flags: 'P W U A' } },
    { pt: { 0: { to: 'npt.page-0', flags: USED }, 1: { to: 'npt.page-1', flags: 'P U A' } } },
  );
  const look = [reads(at(0, 0), 'first'), writes(at(0, 0), 'first', 3), writes(at(0, 1), 'second')];
  return underNested(
    'three-on-one-page',
    'The same pages under nested tables, under tables that L1 shadows, and with L1.',
    {
      nested,
      pages: guest.pages,
      l2: { B: { ...stateIn(guest, 'CR0.WP'), asid: 2 } },
    },
    [
      ...visit(...look),
      ...visitB(...look),
      ...visit(...look),
      { do: 'read', page: 'npt.page-0', offset: 0, width: 4 },
      readPage(nested, 'pt', 0),
      probe('read4', 0, at(0, 0), 'of L1'),
      invlpg(at(0, 0)),
    ],
  );
};

/** Which mode nested tables are in, and for whom L0's are. */
export const nestedRoleScenarios = (): Scenario[] => [
  quadrants(),
  directoryEdits(),
  twoRoots('2-level'),
  twoRoots('PAE'),
  hostModes(),
  pseOfHost(),
  nxOfHost(),
  modesOfGuest('2-level', 'PAE'),
  modesOfGuest('PAE', '2-level'),
  emulatedInModes(),
  waysInTurn(),
  threeOnOnePage(),
];
