import type { Page, Scenario, Step } from '../scenario.ts';
import {
  at,
  FLUSHED,
  fetches,
  LARGE_FRAME,
  probe,
  readPage,
  readSlot,
  reads,
  set,
  slug,
  smallSpace,
  type TableMode,
  USED,
  visit,
  visitWith,
  writes,
} from './build.ts';
import { nestedSpace, pagesWith, throughAll, underNested } from './nested-build.ts';
import { PROBED, TABLE, THROUGH_EACH_DIRECTORY } from './rights.ts';

const ALL = [
  (page: number, about: string) => reads(page, about),
  (page: number, about: string) => reads(page, about, 3),
  (page: number, about: string) => writes(page, about),
  (page: number, about: string) => writes(page, about, 3),
  (page: number, about: string) => fetches(page, about),
  (page: number, about: string) => fetches(page, about, 3),
] as const;
const every = (page: number, about: string): Step[] => ALL.map((one) => one(page, about));

/** What the entries say: nested rights hold for every CPL alike, and faults of L1's tables are told to L1. */
function rights(mode: TableMode): Scenario {
  const nested = pagesWith(mode, { 0: 'P W U', 1: 'P U', 2: 'P W', 3: 'W U', 4: 'P U A', 5: USED });
  const steps = [
    ...every(at(0, 0), 'present'),
    ...every(at(0, 1), 'read-only'),
    ...every(at(0, 2), 'supervisor'),
    ...every(at(0, 3), 'absent'),
    ...every(at(1), 'absent table'),
    ...every(at(0, 0), 'present'),
  ];
  return underNested(
    `rights-${slug(mode)}`,
    'Nested entries that are read-only, for supervisors, absent; at either CPL.',
    { nested },
    [...visit(...steps), ...visitWith(FLUSHED, ...steps)],
  );
}

/** Nested paging does not need PAE paging: nested tables may be 2-level ones (APM vol. 2 15.25.3). */
const rightsWithoutPae = (): Scenario => ({
  ...rights('2-level'),
  name: 'directed/nested-rights-without-pae',
  about: 'The same nested entries on a processor that has no PAE paging.',
  absent: ['nx', 'pae'],
});

/** Bit 63 of nested entries, which L1's EFER.NX makes execute-disable. */
const noExecute = (): Scenario =>
  underNested(
    'nx',
    'Nested entries with bit 63 set, in a page and above one.',
    {
      nested: nestedSpace(
        'PAE',
        { 0: { to: 'npt.pt', flags: 'P W U A' }, 1: { to: 'npt.pt', flags: 'P W U A NX' } },
        { pt: { 0: { to: 'npt.a', flags: 'P W U NX' }, 1: { to: 'npt.b', flags: USED } } },
      ),
      hostFlags: ['CR0.WP', 'EFER.NX'],
    },
    visit(
      ...every(at(0, 1), 'present'),
      ...every(at(0, 0), 'nx'),
      ...every(at(1, 1), 'nx directory'),
      ...every(at(0, 1), 'present'),
    ),
  );

/** Bits that are reserved in nested entries: bit 63 without EFER.NX too. */
const reserved = (): Scenario =>
  underNested(
    'reserved',
    'Nested entries have reserved bits, beside some that have none.',
    { nested: pagesWith('PAE', { 0: USED, 1: `${USED} 51`, 2: `${USED} 62`, 3: `${USED} NX`, 4: USED }) },
    visit(
      ...every(at(0, 0), 'present'),
      ...every(at(0, 1), 'bit 51'),
      ...every(at(0, 2), 'bit 62'),
      ...every(at(0, 3), 'bit 63'),
      ...every(at(0, 4), 'present'),
    ),
  );

/** SMEP of L1 makes nested faults tell of fetches; what L2 does with its own does not matter. */
const smepOfHost = (): Scenario =>
  underNested(
    'smep-of-host',
    'Fetches fault on nested tables, with CR4.SMEP set in L1, in L2, in both and in neither.',
    {
      nested: pagesWith('2-level', { 0: 'P W', 1: 'W U', 2: USED }),
      guest: throughAll('2-level', [0, 1, 2]),
    },
    [true, false].flatMap((host): Step[] => [
      set('CR4.SMEP', host),
      ...[false, true].flatMap((own): Step[] =>
        visitWith(
          { ...FLUSHED, flags: own ? ['CR0.WP', 'CR4.SMEP'] : ['CR0.WP'] },
          reads(at(0, 0), 'supervisor'),
          fetches(at(0, 0), 'supervisor'),
          fetches(at(0, 1), 'absent', 3),
          fetches(at(0, 2), 'present', 3),
        ),
      ),
    ]),
  );

/** Pages of L2 with its tables behind nested pages: those are read as a user writes. */
function tablesBehind(mode: TableMode, guestMode: TableMode): Scenario {
  const nested = nestedSpace(
    mode,
    { 0: { to: 'npt.pt', flags: 'P W U A' } },
    {
      pt: {
        0: { to: 'npt.data', flags: 'P W U' },
        4: { to: 'l2.behind-0', flags: 'P W U' },
        5: { to: 'l2.behind-1', flags: 'P U' },
        6: { to: 'l2.behind-2', flags: 'P W' },
        7: { to: 'l2.behind-3', flags: 'W U' },
      },
    },
  );
  const slots = [0, 1, 2, 3].map((slot) => [slot, { to: at(0, 4 + slot), flags: 'P W U' }] as const);
  const entry = { 0: { to: at(0, 0), flags: 'P W U' } };
  const guest = smallSpace('l2', guestMode, Object.fromEntries(slots), {
    'behind-0': entry,
    'behind-1': entry,
    'behind-2': entry,
    'behind-3': entry,
  });
  const look = ['present', 'read-only', 'supervisor', 'absent'].flatMap((about, slot) => [
    reads(at(slot), `table ${about}`),
    writes(at(slot), `table ${about}`, 3),
    fetches(at(slot), `table ${about}`),
  ]);
  return underNested(
    `tables-behind-${slug(mode)}`,
    "L2's page tables lie behind nested pages that are writable, read-only, for supervisors, absent.",
    { nested, guest },
    [...visit(...look), ...visitWith(FLUSHED, ...look), readPage(nested, 'pt', 4), readPage(nested, 'pt', 5)],
  );
}

/**
 * A write that begins in a nested table, so that L0 carries it out, and ends behind one of L2's tables that is read-only, or in
 * a page that is.
 */
const emulatedTableWalk = (): Scenario => {
  const nested = nestedSpace(
    '2-level',
    { 0: { to: 'npt.pt', flags: 'P W U A' }, 1: { to: 'npt.pt-2', flags: 'P W U A' } },
    {
      pt: {
        0: { to: 'npt.pt-2', flags: USED },
        1: { to: 'npt.a', flags: USED },
        2: { to: 'l2.behind', flags: 'P U A' },
        3: { to: 'npt.b', flags: 'P U A' },
      },
      'pt-2': { 0: { to: 'npt.c', flags: USED } },
    },
  );
  const table = { to: at(0, 0), flags: USED };
  const guest = smallSpace(
    'l2',
    '2-level',
    { 0: { to: 'l2.pt', flags: 'P W U A' }, 1: { to: at(0, 2), flags: 'P W U A' } },
    {
      pt: {
        0: { to: at(1, 0), flags: USED },
        1: table,
        2: { to: at(0, 3), flags: USED },
        3: table,
        4: { to: at(0, 1), flags: USED },
        1023: table,
      },
      behind: { 0: { to: at(0, 1), flags: USED } },
    },
  );
  const across = (page: number, about: string): Step => ({
    do: 'probe',
    form: 'write4',
    cpl: 0,
    at: at(0, page) + 0xffe,
    value: 0,
    about,
  });
  return underNested(
    'emulated-table-walk',
    "Writes begin in a nested table in use, and end behind a read-only table of L2's, in a read-only page, in a writable one.",
    { nested, guest },
    [
      ...visit(
        reads(at(0, 0), 'by the nested table'),
        across(1023, 'table behind read-only'),
        across(1, 'read-only'),
        across(3, 'writable'),
        reads(at(0, 0), 'by the nested table'),
      ),
      ...visitWith(FLUSHED, reads(at(0, 0), 'by the nested table'), across(1023, 'table behind read-only')),
      readPage(nested, 'pt-2', 0),
    ],
  );
};

/** CVE-2021-38198 with nested tables. */
function tableUnderTwoDirectories(mode: TableMode): Scenario {
  const pt = {
    1: { to: 'npt.a', flags: 'P U A' },
    2: { to: 'npt.b', flags: USED },
    3: { to: 'npt.c', flags: USED },
  };
  const nested = nestedSpace(
    mode,
    {
      0: { to: 'npt.pt', flags: 'P W U' },
      1: { to: 'npt.pt', flags: 'P U' },
      2: { to: 'npt.pt', flags: 'P W' },
    },
    { pt },
  );
  return underNested(
    `table-under-two-directories-${slug(mode)}`,
    'One nested page table under a writable, a read-only and a supervisor directory entry.',
    { nested },
    visit(...THROUGH_EACH_DIRECTORY),
  );
}

/** Two large nested pages of one frame, one of them read-only: what they share must not say otherwise. */
function splitShared(mode: '2-level+PSE' | 'PAE'): Scenario {
  const large = (flags: string) => ({ to: LARGE_FRAME, flags: `${flags} PS` });
  const nested = nestedSpace(
    mode,
    { 0: large('P W U'), 1: large('P U'), 2: large('P W U'), 3: { to: 'npt.pt', flags: 'P W U' } },
    { pt: { 0: { to: 'npt.other', flags: USED } } },
  );
  const pages: Record<string, Page> = {
    'npt.pt': { ...nested.pages['npt.pt'], at: LARGE_FRAME + TABLE * 0x1000 },
    'npt.frame': { at: LARGE_FRAME + PROBED * 0x1000 },
    'npt.half': { at: LARGE_FRAME + 0x20_3000 },
  };
  const half = (slot: number): number => at(slot) + 0x20_3000;
  return underNested(
    `split-shared-${slug(mode)}`,
    'Large nested pages of one frame, one of them read-only.',
    { nested, pages },
    visit(
      reads(at(3), 'by the table'),
      reads(at(0, PROBED), 'writable'),
      reads(at(1, PROBED), 'read-only'),
      writes(at(0, PROBED), 'writable'),
      writes(at(1, PROBED), 'read-only'),
      writes(at(1, PROBED), 'read-only', 3),
      readSlot(nested, 2),
      writes(at(2, PROBED), 'clean'),
      readSlot(nested, 2),
      // PAE has no entry for the second half: its large pages are of 2 MiB.
      reads(half(0), 'second half'),
      writes(half(1), 'read-only second half'),
      readSlot(nested, 0),
      readSlot(nested, 1),
    ),
  );
}

/** Accessed and dirty flags of nested entries, and of neighbours of the one that is used. */
function accessedAndDirty(mode: TableMode): Scenario {
  const nested = pagesWith(mode, { 0: 'P W U', 1: 'P W U', 2: 'P W U A', 3: 'P U', 4: USED });
  const flags = (page: number): Step => readPage(nested, 'pt', page);
  return underNested(
    `accessed-and-dirty-${slug(mode)}`,
    'Accessed and dirty flags of a nested entry and its neighbours.',
    { nested },
    visit(
      reads(at(0, 4), 'dirty'),
      reads(at(0, 0), 'untouched'),
      flags(0),
      flags(1),
      reads(at(0, 1), 'untouched', 3),
      flags(1),
      writes(at(0, 1), 'accessed'),
      flags(1),
      writes(at(0, 2), 'accessed'),
      flags(2),
      probe('rmw4', 0, at(0, 3), 'read-only'),
      flags(3),
      writes(at(0, 0), 'accessed', 3),
      flags(0),
    ),
  );
}

/** Which rights nested tables give, and which flags are set in them. */
export const nestedRightsScenarios = (): Scenario[] => [
  rights('2-level'),
  rights('PAE'),
  rightsWithoutPae(),
  noExecute(),
  reserved(),
  smepOfHost(),
  tablesBehind('2-level', 'PAE'),
  tablesBehind('PAE', '2-level'),
  emulatedTableWalk(),
  tableUnderTwoDirectories('2-level'),
  tableUnderTwoDirectories('PAE'),
  splitShared('2-level+PSE'),
  splitShared('PAE'),
  accessedAndDirty('2-level'),
  accessedAndDirty('PAE'),
];
