import { matrixSpace, stateOf } from '../matrix/space.ts';
import type { Scenario } from '../scenario.ts';
import {
  at,
  fetches,
  inL2,
  inSpace,
  LARGE_FRAME,
  pagesSpace,
  probe,
  RELOAD,
  reads,
  set,
  slug,
  smallSpace,
  stateIn,
  type TableMode,
  underPlainL1,
  visit,
  writes,
} from './build.ts';

function nxToggled(): Scenario {
  const space = pagesSpace('PAE', { 0: 'P W U NX', 1: 'P W U' });
  const look = [
    reads(at(0, 0), 'nx'),
    fetches(at(0, 0), 'nx', 3),
    reads(at(0, 1), 'present'),
    fetches(at(0, 1), 'present'),
  ];
  return inSpace(
    'nx-toggled',
    'Bit 63 of a used entry is execute-disable, then reserved, then execute-disable.',
    space,
    ['CR0.WP', 'EFER.NX'],
    [...look, set('EFER.NX', false), RELOAD, ...look, set('EFER.NX', true), RELOAD, ...look],
  );
}

function wpToggled(): Scenario {
  const space = pagesSpace('2-level', { 0: 'P U', 1: 'P', 2: 'P W U' });
  const look = [
    writes(at(0, 0), 'read-only'),
    reads(at(0, 0), 'read-only', 3),
    writes(at(0, 0), 'read-only'),
    writes(at(0, 1), 'supervisor-read-only'),
    writes(at(0, 0), 'read-only', 3),
    writes(at(0, 2), 'present', 3),
  ];
  return inSpace(
    'wp-toggled',
    'A supervisor writes to read-only pages with CR0.WP clear, set and clear.',
    space,
    [],
    [...look, writes(at(0, 0), 'read-only'), set('CR0.WP', true), ...look, set('CR0.WP', false), ...look],
  );
}

function smapToggledWithoutWp(): Scenario {
  const space = pagesSpace('2-level', { 0: 'P U', 1: 'P W' });
  const look = [
    reads(at(0, 0), 'read-only'),
    probe('read4', 0, at(0, 0), 'read-only', true),
    reads(at(0, 1), 'supervisor'),
  ];
  return inSpace(
    'smap-toggled-without-wp',
    'A page made writable by CR0.WP=0 stays a user page to SMAP.',
    space,
    [],
    [
      writes(at(0, 0), 'read-only'),
      set('CR4.SMAP', true),
      ...look,
      set('CR4.SMAP', false),
      ...look,
      writes(at(0, 0), 'read-only'),
      set('CR4.SMAP', true),
      ...look,
    ],
  );
}

function smapAndAcWithoutWp(): Scenario {
  const space = pagesSpace('2-level', { 0: 'P U' });
  return inSpace(
    'smap-and-ac-without-wp',
    'EFLAGS.AC lets a supervisor write to a read-only user page once, and no more.',
    space,
    ['CR4.SMAP'],
    [
      probe('write4', 0, at(0, 0), 'read-only', true),
      reads(at(0, 0), 'read-only'),
      writes(at(0, 0), 'read-only'),
      probe('read4', 0, at(0, 0), 'read-only', true),
      reads(at(0, 0), 'read-only', 3),
    ],
  );
}

function smepToggledWithoutWp(): Scenario {
  const space = pagesSpace('2-level', { 0: 'P U' });
  const look = [fetches(at(0, 0), 'read-only'), fetches(at(0, 0), 'read-only', 3)];
  return inSpace(
    'smep-toggled-without-wp',
    'A page made writable by CR0.WP=0 stays a user page to SMEP.',
    space,
    [],
    [
      writes(at(0, 0), 'read-only'),
      set('CR4.SMEP', true),
      ...look,
      set('CR4.SMEP', false),
      writes(at(0, 0), 'read-only'),
      ...look,
    ],
  );
}

/** EFER.NX is clear, so that an execute-disable bit of L0's own making must not be met by the guest. */
function smepWithoutWpOrNx(): Scenario {
  const space = pagesSpace('2-level', { 0: 'P U' });
  return inSpace(
    'smep-without-wp-or-nx',
    'A supervisor writes to a read-only user page under SMEP, without NX.',
    space,
    ['CR4.SMEP'],
    [
      writes(at(0, 0), 'read-only'),
      reads(at(0, 0), 'read-only'),
      fetches(at(0, 0), 'read-only'),
      writes(at(0, 0), 'read-only'),
      writes(at(0, 0), 'read-only', 3),
      fetches(at(0, 0), 'read-only', 3),
    ],
  );
}

function smepToggledWithWp(): Scenario {
  const space = pagesSpace('2-level', { 0: 'P W U' });
  const look = [fetches(at(0, 0), 'present'), reads(at(0, 0), 'present'), fetches(at(0, 0), 'present', 3)];
  const flags = (flag: 'CR4.SMEP' | 'CR4.SMAP') => [set(flag, true), ...look, set(flag, false), ...look];
  return inSpace(
    'smep-and-smap-toggled-with-wp',
    'CR4.SMEP and CR4.SMAP change under CR0.WP=1.',
    space,
    ['CR0.WP'],
    [...look, ...flags('CR4.SMEP'), ...flags('CR4.SMAP')],
  );
}

/** The paging mode of L2 changes under a CR3 that stays: a 2-level directory with a PDPT at its end. */
function paeToggled(): Scenario {
  const legacy = smallSpace(
    'l2',
    '2-level',
    { 0: { to: 'l2.pt', flags: 'P W U' } },
    { pt: { 0: { to: 'l2.a', flags: 'P W U' } } },
  );
  const pae = smallSpace(
    'pae',
    'PAE',
    { 0: { to: 'pae.pt', flags: 'P W U' } },
    { pt: { 0: { to: 'l2.b', flags: 'P W U' } } },
  );
  const root = { ...legacy.pages['l2.pd'], entries8: { 509: { to: 'pae.pd', flags: 'P' } } };
  const pages = { ...legacy.pages, ...pae.pages, 'l2.pd': root, 'l2.a': {}, 'l2.b': {} };
  const look = [reads(at(0), 'present'), writes(at(0), 'present', 3), reads(at(0), 'present', 3)];
  return inL2(
    'pae-toggled',
    'CR4.PAE changes while CR3 keeps its value.',
    { mode: '2-level', root: 'l2.pd+0xfe0', flags: ['CR0.WP'] },
    pages,
    [...look, set('CR4.PAE', true), ...look, set('CR4.PAE', false), ...look, set('CR4.PAE', true), ...look],
  );
}

/** A page table at the place of a 4 MiB page. */
function pseToggled(): Scenario {
  const space = smallSpace('l2', '2-level', { 0: { to: 'l2.frame', flags: 'P W U PS' } });
  const pages = {
    ...space.pages,
    'l2.frame': { at: LARGE_FRAME, entries4: { 5: { to: 'l2.small', flags: 'P W U' } } },
    'l2.frame-5': { at: LARGE_FRAME + 0x5000 },
    'l2.small': {},
  };
  const look = [reads(at(0, 5), 'large or small'), writes(at(0, 5), 'large or small', 3)];
  return inL2(
    'pse-toggled',
    'CR4.PSE makes a page of what was a table, and a table again.',
    stateIn(space, 'CR0.WP'),
    pages,
    [...look, set('CR4.PSE', true), ...look, set('CR4.PSE', false), ...look],
  );
}

/** With paging off, linear addresses are physical ones. */
function pagingToggled(mode: TableMode): Scenario {
  const options = { leaves: ['present', 'supervisor'], directories: ['dir'] };
  const paged = matrixSpace('l2', mode, options);
  const flat = matrixSpace('flat', 'off', options);
  const look = [
    ...paged.targets.map((target) => reads(target.at, target.about)),
    writes(paged.targets[0].at, 'present', 3),
  ];
  return inL2(
    `paging-toggled-${slug(mode)}`,
    'CR0.PG changes while CR3 keeps its value.',
    stateOf(paged, ['CR0.WP']),
    { ...paged.pages, ...flat.pages },
    [
      ...look,
      set('CR0.PG', false),
      ...look,
      set('CR0.PG', true),
      ...look,
      set('CR0.PG', false),
      ...look,
      set('CR0.PG', true),
      ...look,
    ],
  );
}

function withoutPaging(): Scenario {
  const space = matrixSpace('l2', 'off', { leaves: ['present'], directories: ['dir'] });
  const page = space.targets[0].at;
  return inL2(
    'smep-and-smap-without-paging',
    'CR4.SMEP and CR4.SMAP are set and paging is off.',
    stateOf(space, ['CR4.SMEP', 'CR4.SMAP']),
    space.pages,
    [
      reads(page, 'any'),
      fetches(page, 'any'),
      writes(page, 'any'),
      fetches(page, 'any', 3),
      reads(page, 'any', 3),
    ],
  );
}

/** L1 and L2 in different modes have other pages at the same addresses. */
function sameAddresses(): Scenario {
  const inner = pagesSpace('PAE', { 0: 'P W U' });
  const look = [reads(at(0), 'present'), writes(at(0), 'present', 3), fetches(at(0), 'present')];
  return underPlainL1(
    'same-addresses-in-both',
    'L1 in 2-level paging and L2 in PAE paging look at the same address in turn.',
    stateIn(inner, 'CR0.WP'),
    inner.pages,
    [...look, ...visit(...look), ...look, ...visit(...look), ...look],
  );
}

/** Halves of a page table and quarters of a directory: 4-byte tables have more entries than shadow tables. */
function quadrants(): Scenario {
  const places = [1, 2, 3].flatMap((gib) => [gib * 0x4000_0000 + 0x5000, gib * 0x4000_0000 + 0x20_5000]);
  const name = (place: number): string => `l2.page-${place.toString(16)}`;
  const tables = [1, 2, 3].map((gib) => {
    const [low, high] = places.filter((place) => Math.floor(place / 0x4000_0000) === gib);
    return [
      `l2.pt-${gib}`,
      { entries4: { 5: { to: name(low), flags: 'P W U' }, 517: { to: name(high), flags: 'P W U' } } },
    ] as const;
  });
  const directory = {
    entries4: Object.fromEntries([1, 2, 3].map((gib) => [gib * 256, { to: `l2.pt-${gib}`, flags: 'P W U' }])),
  };
  const pages = {
    'l2.pd': directory,
    ...Object.fromEntries(tables),
    ...Object.fromEntries(places.map((place) => [name(place), {}])),
  };
  const look = places.map((place) => reads(place, 'present'));
  return inL2(
    'quadrants',
    'Pages in both halves of page tables in three gigabytes.',
    { mode: '2-level', root: 'l2.pd', flags: ['CR0.WP'] },
    pages,
    [...look, ...places.map((place) => writes(place, 'present', 3)), ...look.toReversed()],
  );
}

/** What belongs to a role, and what must happen when it changes. */
export const roleScenarios = (): Scenario[] => [
  nxToggled(),
  wpToggled(),
  smapToggledWithoutWp(),
  smapAndAcWithoutWp(),
  smepToggledWithoutWp(),
  smepWithoutWpOrNx(),
  smepToggledWithWp(),
  paeToggled(),
  pseToggled(),
  pagingToggled('2-level'),
  pagingToggled('PAE'),
  withoutPaging(),
  sameAddresses(),
  quadrants(),
];
