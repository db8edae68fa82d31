import type { Flag, Page, Scenario, Step } from '../scenario.ts';
import {
  at,
  editPage,
  inL2,
  invlpg,
  readPage,
  readSlot,
  reads,
  type SmallSpace,
  smallSpace,
  stateIn,
  type TableMode,
  writes,
} from './build.ts';

/** A frame of large pages that has a page table in it, so that L0 must map it in small pieces. */
const FRAME = 0x0080_0000;
/** Page of the frame that is probed, and the one that is a page table. */
const PROBED = 5;
const TABLE = 0x10;
/** Slot that goes through that table. */
const BY_TABLE = 3;

/** Large pages of one frame with these rights in slots 0, 1, ... */
function aliases(mode: TableMode, ...flags: string[]): SmallSpace {
  const large = flags.map((text, slot) => [slot, { to: FRAME, flags: `${text} PS` }] as const);
  const slots = { ...Object.fromEntries(large), [BY_TABLE]: { to: 'l2.pt', flags: 'P W U' } };
  const space = smallSpace('l2', mode, slots, { pt: { 0: { to: 'l2.other', flags: 'P W U A D' } } });
  const pages: Record<string, Page> = {
    ...space.pages,
    'l2.pt': { ...space.pages['l2.pt'], at: FRAME + TABLE * 0x1000 },
    'l2.frame': { at: FRAME + PROBED * 0x1000 },
    'l2.other': {},
  };
  return { ...space, pages };
}

const scenario = (
  name: string,
  about: string,
  space: SmallSpace,
  flags: readonly Flag[],
  steps: readonly Step[],
): Scenario => inL2(name, about, stateIn(space, ...flags), space.pages, steps);

/** The one may be written, the other not, and what they share in the shadow tables must not say otherwise. */
function splitShared(mode: TableMode): Scenario {
  const space = aliases(mode, 'P W U', 'P U');
  const [writable, readOnly] = [at(0, PROBED), at(1, PROBED)];
  return scenario(
    `split-shared-${mode === 'PAE' ? 'pae' : 'pse'}`,
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
  return scenario(
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
  const space = aliases('2-level+PSE', 'P W U A D');
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
        2: { to: 'l2.b', flags: 'P W U A D' },
        3: { to: 'l2.c', flags: 'P W U A D' },
      },
    },
  );
  const name = `table-under-two-directories-${mode === 'PAE' ? 'pae' : '2-level'}`;
  return inL2(
    name,
    'One page table under a writable, a read-only and a supervisor directory entry.',
    stateIn(space, 'CR0.WP'),
    { ...space.pages, 'l2.a': {}, 'l2.b': {}, 'l2.c': {} },
    [
      reads(at(0, 1), 'read-only page'),
      reads(at(1, 2), 'read-only directory'),
      writes(at(0, 2), 'writable'),
      writes(at(1, 2), 'read-only directory'),
      writes(at(1, 3), 'read-only directory', 3),
      writes(at(0, 3), 'writable', 3),
      writes(at(2, 2), 'supervisor directory'),
      reads(at(2, 3), 'supervisor directory', 3),
      writes(at(1, 3), 'read-only directory'),
    ],
  );
}

/** Accessed and dirty flags of pages that are neighbours of the one that faults. */
function accessedAndDirty(mode: TableMode): Scenario {
  const pages = { 0: 'P W U', 1: 'P W U', 2: 'P W U A', 3: 'P U', 4: 'P W U A D' };
  const entries = Object.fromEntries(
    Object.entries(pages).map(([page, flags]) => [page, { to: `l2.page-${page}`, flags }]),
  );
  const space = smallSpace('l2', mode, { 0: { to: 'l2.pt', flags: 'P W U' } }, { pt: entries });
  const flags = (page: number): Step => readPage(space, 'pt', page);
  return inL2(
    `accessed-and-dirty-${mode === 'PAE' ? 'pae' : '2-level'}`,
    'Accessed and dirty flags of a page and its neighbours.',
    stateIn(space, 'CR0.WP'),
    { ...space.pages, ...Object.fromEntries(Object.keys(pages).map((page) => [`l2.page-${page}`, {}])) },
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
        0: { to: 'l2.a', flags: 'P W U A D' },
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
