import type { Entry, Scenario, Step, VmcbChanges } from '../scenario.ts';
import {
  at,
  directed,
  editPage,
  editSlot,
  FLUSHED,
  inL2,
  inSpace,
  invlpg,
  RELOAD,
  reads,
  type SmallSpace,
  set,
  slug,
  smallSpace,
  stateIn,
  type TableMode,
  USED,
  underPlainL1,
  visit,
  visitWith,
  writes,
} from './build.ts';

const to = (page: string, flags = USED): Entry => ({ to: `l2.${page}`, flags });

/** Two page tables and three data pages; the first table is in slot 0, and maps two of them. */
function twoTables(mode: TableMode, flags = USED): SmallSpace {
  const space = smallSpace(
    'l2',
    mode,
    { 0: to('pt', 'P W U A') },
    {
      pt: { 0: to('a', flags), 1: to('b', flags), 5: to('a', flags), 261: to('b', flags) },
      'pt-2': { 0: to('c', flags), 1: to('a', flags), 5: to('b', flags), 261: to('c', flags) },
    },
  );
  return { ...space, pages: { ...space.pages, 'l2.a': {}, 'l2.b': {}, 'l2.c': {} } };
}

const first = reads(at(0, 0), 'first page');
const second = reads(at(0, 1), 'second page');

/** Each way to invalidate everything, and one page, after an edit that was not seen. */
function editedThenFlushed(): Scenario {
  const space = twoTables('PAE');
  const edits = [to('c'), to('a')];
  const ways: readonly Step[] = [
    RELOAD,
    RELOAD,
    set('CR4.PGE', true),
    set('CR4.PGE', false),
    set('CR4.PSE', true),
    set('CR4.PSE', false),
    invlpg(at(0, 0)),
    invlpg(at(0, 0)),
  ];
  return inSpace(
    'edited-then-flushed',
    'A page table entry changes, and each way to invalidate it follows.',
    space,
    ['CR0.WP'],
    [
      first,
      second,
      ...ways.flatMap((way, index) => [editPage(space, 'pt', 0, edits[index % 2]), way, first, second]),
    ],
  );
}

/** L1 edits L2's table while L2 is away, and has its TLB flushed, in turn by both means. */
function editedWhileAway(): Scenario {
  const space = twoTables('PAE');
  const enter = (vmcb: VmcbChanges): Step[] => visitWith(vmcb, first, second);
  return underPlainL1(
    'edited-while-away',
    "L1 edits L2's page table, and flushes L2's TLB or gives L2 another ASID.",
    stateIn(space, 'CR0.WP'),
    space.pages,
    [
      ...visit(first, second),
      editPage(space, 'pt', 0, to('c')),
      ...enter(FLUSHED),
      editPage(space, 'pt', 0, to('a')),
      ...enter({ asid: 2 }),
      editPage(space, 'pt', 1, to('c')),
      ...enter({ tlbControl: 'all' }),
      editPage(space, 'pt', 1, to('b')),
      { do: 'invlpga', at: at(0, 1), asid: 2 },
      ...enter({}),
    ],
  );
}

/** L2 edits L1's own table; L1 has its translations flushed by TLB_CONTROL at the next entry. */
function hostFlushed(): Scenario {
  const outer = twoTables('PAE');
  const inner = smallSpace(
    'in',
    '2-level',
    { 0: { to: 'in.pt', flags: 'P W U' } },
    { pt: { 0: { to: 'in.page', flags: 'P W U' } } },
  );
  const edit = (page: string): Step => editPage(outer, 'pt', 0, to(page));
  return directed({
    name: 'host-flushed-by-tlb-control',
    about:
      "L2 edits L1's page table; L1 invalidates by INVLPG, and by the TLB_CONTROL that flushes everything.",
    pages: { ...outer.pages, ...inner.pages, 'in.page': {} },
    l1: stateIn(outer, 'CR0.WP'),
    l2: { A: { ...stateIn(inner, 'CR0.WP'), asid: 1 } },
    steps: [
      first,
      second,
      ...visit(edit('c')),
      invlpg(at(0, 0)),
      first,
      edit('a'),
      ...visitWith({ tlbControl: 'all' }, reads(at(0), 'of L2')),
      first,
      second,
    ],
  });
}

/** An absent directory entry becomes present without an invalidation; its table changed while it was out of reach. */
function takenOutAndBack(mode: TableMode): Scenario {
  const space = twoTables(mode);
  return inSpace(
    `table-taken-out-and-back-${slug(mode)}`,
    'A page table changes while no directory refers to it.',
    space,
    ['CR0.WP'],
    [
      first,
      second,
      editPage(space, 'pt', 0, to('c')),
      invlpg(at(0, 0)),
      first,
      editSlot(space, 0, { flags: '' }),
      invlpg(at(0, 0)),
      invlpg(at(0, 1)),
      first,
      editPage(space, 'pt', 1, to('c')),
      editSlot(space, 0, to('pt', 'P W U A')),
      first,
      second,
    ],
  );
}

/** An entry is invalidated while the MMU is in another role, with other shadow pages of the same table. */
function invalidatedInAnotherRole(): Scenario {
  const space = twoTables('PAE', 'P W A D');
  return inSpace(
    'invalidated-in-another-role',
    'A page table entry is edited and invalidated, and then CR0.WP changes back.',
    space,
    ['CR0.WP'],
    [
      first,
      second,
      set('CR0.WP', false),
      first,
      second,
      editPage(space, 'pt', 0, to('c', 'P W A D')),
      invlpg(at(0, 0)),
      first,
      set('CR0.WP', true),
      first,
      second,
    ],
  );
}

/** The same, so many roles later that the first root is gone and is built again of the pages that it had. */
function invalidatedManyRolesLater(): Scenario {
  const space = twoTables('PAE', 'P W A D');
  return inSpace(
    'invalidated-many-roles-later',
    'A page table entry is edited and invalidated after five changes of the role.',
    space,
    ['CR0.WP', 'EFER.NX'],
    [
      first,
      second,
      set('CR0.WP', false),
      first,
      set('EFER.NX', false),
      first,
      set('CR4.SMAP', true),
      first,
      set('EFER.NX', true),
      first,
      editPage(space, 'pt', 0, to('c', 'P W A D')),
      invlpg(at(0, 0)),
      first,
      set('CR4.SMAP', false),
      set('CR0.WP', true),
      first,
      second,
    ],
  );
}

/** A page fault invalidates the page that it is about, also what a supervisor had cached of it. */
function faultInvalidates(): Scenario {
  const space = twoTables('PAE', 'P W A D');
  return inSpace(
    'fault-invalidates',
    'An entry becomes absent without an invalidation, and a user access faults on it.',
    space,
    ['CR0.WP'],
    [first, second, editPage(space, 'pt', 0, { flags: '' }), reads(at(0, 0), 'absent now', 3), first, second],
  );
}

/** A page that is mapped writable becomes a page table. */
function pageBecomesTable(): Scenario {
  const space = twoTables('PAE');
  return inSpace(
    'page-becomes-table',
    'A page is written to, becomes a page table, and is written to again.',
    space,
    ['CR0.WP'],
    [
      { do: 'write', page: 'l2.pt-2', offset: 0xf00, width: 4, value: 1 },
      first,
      editSlot(space, 1, to('pt-2', 'P W U A')),
      reads(at(1, 0), 'by the second table'),
      reads(at(1, 1), 'by the second table'),
      editPage(space, 'pt-2', 0, to('b')),
      invlpg(at(1, 0)),
      reads(at(1, 0), 'by the second table'),
    ],
  );
}

/** Directories are written, with CR0.WP clear: what runs in the processor must be set all the same. */
function writtenWithoutWp(mode: TableMode): Scenario {
  const space = twoTables(mode);
  const swap = (page: string): Step[] => [
    editSlot(space, 0, to(page, 'P W U A')),
    invlpg(at(0, 0)),
    invlpg(at(0, 1)),
    first,
    second,
  ];
  return inSpace(
    `tables-written-without-wp-${slug(mode)}`,
    'A supervisor writes to its own tables with CR0.WP clear.',
    space,
    [],
    [
      first,
      second,
      ...swap('pt-2'),
      ...swap('pt'),
      ...swap('pt-2'),
      editPage(space, 'pt-2', 0, to('a')),
      invlpg(at(0, 0)),
      first,
      ...swap('pt'),
      first,
    ],
  );
}

/** A 4-byte directory entry has two entries in the shadow directory. */
function directoryEdits(): Scenario {
  const space = smallSpace(
    'l2',
    '2-level',
    { 0: to('pt', 'P W U A') },
    {
      pt: { 5: to('a'), 517: to('b') },
      'pt-2': { 5: to('b'), 517: to('c') },
    },
  );
  const look = [reads(at(0, 5), 'lower half'), reads(at(0, 0x205), 'upper half')];
  const swap = (page: string): Step[] => [
    editSlot(space, 0, to(page, 'P W U A')),
    invlpg(at(0, 5)),
    invlpg(at(0, 0x205)),
    ...look,
  ];
  return inL2(
    'directory-edits',
    'A directory entry changes; both halves of what it maps are looked at.',
    stateIn(space, 'CR0.WP'),
    { ...space.pages, 'l2.a': {}, 'l2.b': {}, 'l2.c': {} },
    [
      ...look,
      ...swap('pt-2'),
      ...swap('pt'),
      editSlot(space, 0, { flags: '' }),
      invlpg(at(0, 5)),
      invlpg(at(0, 0x205)),
      ...look,
    ],
  );
}

/** Two address spaces of L2, by CR3. */
function twoSpaces(): Scenario {
  const space = twoTables('2-level');
  const other = smallSpace('other', '2-level', { 0: to('pt-2', 'P W U A') });
  return inSpace(
    'two-spaces',
    'L2 goes between two address spaces by MOV to CR3.',
    { ...space, pages: { ...space.pages, ...other.pages } },
    ['CR0.WP'],
    [
      first,
      second,
      { do: 'load-cr3', root: other.root },
      first,
      second,
      { do: 'load-cr3', root: space.root },
      first,
      second,
      writes(at(0, 0), 'first page', 3),
    ],
  );
}

/** What an invalidation must reach, and which edits must be seen without. */
export const syncScenarios = (): Scenario[] => [
  editedThenFlushed(),
  editedWhileAway(),
  hostFlushed(),
  takenOutAndBack('2-level'),
  takenOutAndBack('PAE'),
  invalidatedInAnotherRole(),
  invalidatedManyRolesLater(),
  faultInvalidates(),
  pageBecomesTable(),
  writtenWithoutWp('2-level'),
  writtenWithoutWp('PAE'),
  directoryEdits(),
  twoSpaces(),
];
