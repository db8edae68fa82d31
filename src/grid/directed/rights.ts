import type { Page, Scenario, Step } from '../scenario.ts';
import {
  at,
  editPage,
  inL2,
  inSpace,
  invlpg,
  LARGE_FRAME,
  pagesSpace,
  readPage,
  readSlot,
  reads,
  type SmallSpace,
  slug,
  smallSpace,
  stateIn,
  type TableMode,
  USED,
  writes,
} from './build.ts';

/** Page of a frame of large pages that is probed, and one that is a page table, so that L0 must map the frame in small pieces. */
export const PROBED = 5;
export const TABLE = 0x10;
/** Slot that goes through that table. */
const BY_TABLE = 3;

/** Large pages of one frame with these rights in slots 0, 1, ... */
function aliases(mode: TableMode, ...flags: string[]): SmallSpace {
  const large = flags.map((text, slot) => [slot, { to: LARGE_FRAME, flags: `${text} PS` }] as const);
  const slots = { ...Object.fromEntries(large), [BY_TABLE]: { to: 'l2.pt', flags: 'P W U' } };
  const space = smallSpace('l2', mode, slots, { pt: { 0: { to: 'l2.other', flags: USED } } });
  const pages: Record<string, Page> = {
    ...space.pages,
    'l2.pt': { ...space.pages['l2.pt'], at: LARGE_FRAME + TABLE * 0x1000 },
    'l2.frame': { at: LARGE_FRAME + PROBED * 0x1000 },
    'l2.other': {},
  };
  return { ...space, pages };
}

/** The one may be written, the other not, and what they share in the shadow tables must not say otherwise. */
function splitShared(mode: TableMode): Scenario {
  const space = aliases(mode, 'P W U', 'P U');
  const [writable, readOnly] = [at(0, PROBED), at(1, PROBED)];
  return inSpace(
    `split-shared-${slug(mode)}`,
    'Two large pages of one frame, one of them read-only.',
    space,
    ['CR0.WP'],
    [
      reads(at(BY_TABLE), 'by the table'),
      reads(writable, 'writable'),
      reads(readOnly, 'read-only'),
      writes(writable, 'writable'),
      writes(readOnly, 'read-only'),
      writes(readOnly, 'read-only', 3),
      writes(writable, 'writable', 3),
      readSlot(space, 0),
      readSlot(space, 1),
    ],
  );
}

function splitDirtyWithoutWp(): Scenario {
  const space = aliases('2-level+PSE', 'P U', 'P W U');
  return inSpace(
    'split-dirty-without-wp',
    'A frame is written by CR0.WP=0 through one large page, then through a clean one.',
    space,
    [],
    [
      reads(at(BY_TABLE), 'by the table'),
      reads(at(1, PROBED), 'clean'),
      writes(at(0, PROBED), 'read-only'),
      readSlot(space, 0),
      writes(at(1, PROBED), 'clean'),
      readSlot(space, 1),
      writes(at(0, PROBED), 'read-only', 3),
    ],
  );
}

/** The table is written through the large page. */
function tableInLargePage(): Scenario {
  const space = aliases('2-level+PSE', USED);
  const pages = { ...space.pages, 'l2.new': { at: NEW } };
  const throughLarge = (entry: number): Step => ({
    do: 'probe',
    form: 'write4',
    cpl: 0,
    at: at(0, TABLE) + entry * 4,
    value: NEW | 0x67,
    about: 'table in a large page',
  });
  return inL2(
    'table-in-large-page',
    'A page table lies in a large page and is written through it.',
    stateIn(space, 'CR0.WP'),
    pages,
    [
      writes(at(0, PROBED), 'large'),
      reads(at(BY_TABLE), 'by the table'),
      writes(at(0, PROBED), 'large'),
      throughLarge(0),
      invlpg(at(BY_TABLE)),
      reads(at(BY_TABLE), 'by the table'),
    ],
  );
}
const NEW = 0x00a0_0000;

/** Probes of a table that slots 0 to 2 map writable, read-only and for supervisors; its page 1 is read-only itself. */
export const THROUGH_EACH_DIRECTORY: readonly Step[] = [
  reads(at(0, 1), 'read-only page'),
  reads(at(1, 2), 'read-only directory'),
  writes(at(0, 2), 'writable'),
  writes(at(1, 2), 'read-only directory'),
  writes(at(1, 3), 'read-only directory', 3),
  writes(at(0, 3), 'writable', 3),
  writes(at(2, 2), 'supervisor directory'),
  reads(at(2, 3), 'supervisor directory', 3),
  writes(at(1, 3), 'read-only directory'),
];

/** CVE-2021-38198: the table's shadow under the one directory entry must not be that under the other. */
function tableUnderTwoDirectories(mode: TableMode): Scenario {
  const space = smallSpace(
    'l2',
    mode,
    {
      0: { to: 'l2.pt', flags: 'P W U' },
      1: { to: 'l2.pt', flags: 'P U' },
      2: { to: 'l2.pt', flags: 'P W' },
    },
    {
      pt: {
        1: { to: 'l2.a', flags: 'P U A' },
        2: { to: 'l2.b', flags: USED },
        3: { to: 'l2.c', flags: USED },
      },
    },
  );
  return inL2(
    `table-under-two-directories-${slug(mode)}`,
    'One page table under a writable, a read-only and a supervisor directory entry.',
    stateIn(space, 'CR0.WP'),
    { ...space.pages, 'l2.a': {}, 'l2.b': {}, 'l2.c': {} },
    THROUGH_EACH_DIRECTORY,
  );
}

/** Accessed and dirty flags of pages that are neighbours of the one that faults. */
function accessedAndDirty(mode: TableMode): Scenario {
  const space = pagesSpace(mode, { 0: 'P W U', 1: 'P W U', 2: 'P W U A', 3: 'P U', 4: USED });
  const flags = (page: number): Step => readPage(space, 'pt', page);
  return inSpace(
    `accessed-and-dirty-${slug(mode)}`,
    'Accessed and dirty flags of a page and its neighbours.',
    space,
    ['CR0.WP'],
    [
      readSlot(space, 0),
      reads(at(0, 4), 'dirty'),
      readSlot(space, 0),
      reads(at(0, 0), 'untouched'),
      flags(0),
      flags(1),
      reads(at(0, 1), 'untouched', 3),
      flags(1),
      writes(at(0, 1), 'accessed'),
      flags(1),
      writes(at(0, 2), 'accessed'),
      flags(2),
      reads(at(0, 3), 'read-only'),
      writes(at(0, 3), 'read-only'),
      flags(3),
      editPage(space, 'pt', 1, { to: 'l2.page-1', flags: 'P W U' }),
      invlpg(at(0, 1)),
      reads(at(0, 1), 'cleared'),
      flags(1),
      writes(at(0, 1), 'cleared'),
      flags(1),
    ],
  );
}

function beyondMaxPhyAddr(): Scenario {
  const space = smallSpace(
    'l2',
    'PAE',
    { 0: { to: 'l2.pt', flags: 'P W U' } },
    {
      pt: {
        0: { to: 'l2.a', flags: USED },
        1: { to: 'l2.b', flags: 'P W U A D 51' },
        2: { to: 'l2.c', flags: 'P W U A D 62' },
      },
    },
  );
  return inL2(
    'address-beyond-maxphyaddr',
    'Entries have address bits that the processor lacks, beside one that has not.',
    stateIn(space, 'CR0.WP', 'EFER.NX'),
    { ...space.pages, 'l2.a': {}, 'l2.b': {}, 'l2.c': {} },
    [
      reads(at(0, 0), 'present'),
      reads(at(0, 1), 'bit 51'),
      writes(at(0, 1), 'bit 51', 3),
      reads(at(0, 2), 'bit 62'),
      reads(at(0, 0), 'present'),
    ],
  );
}

/** Which rights stand where, and which flags are set. */
export const rightsScenarios = (): Scenario[] => [
  splitShared('2-level+PSE'),
  splitShared('PAE'),
  splitDirtyWithoutWp(),
  tableInLargePage(),
  tableUnderTwoDirectories('2-level'),
  tableUnderTwoDirectories('PAE'),
  accessedAndDirty('2-level'),
  accessedAndDirty('PAE'),
  beyondMaxPhyAddr(),
];
