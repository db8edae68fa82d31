import type { Flag, Scenario, Step } from '../scenario.ts';
import {
  at,
  directed,
  fetches,
  probe,
  reads,
  type SmallSpace,
  set,
  smallSpace,
  stateIn,
  type TableMode,
  visit,
  without,
  writes,
} from './build.ts';

/** The page that all are about: a user page that nobody may write. */
export const READ_ONLY_PAGE = at(0);

const space = (mode: TableMode): SmallSpace =>
  smallSpace(
    'os',
    mode,
    { 0: { to: 'os.pt', flags: 'P W U' } },
    { pt: { 0: { to: 'os.page', flags: 'P U' } } },
  );

/** A guest of L0 that runs no guest itself. */
const inL1 = (
  name: string,
  about: string,
  mode: TableMode,
  flags: readonly Flag[],
  steps: readonly Step[],
): Scenario =>
  directed({
    name,
    about,
    pages: { ...space(mode).pages, 'os.page': {} },
    l1: stateIn(space(mode), ...flags),
    l2: {},
    steps,
  });

const kernel = {
  reads: reads(READ_ONLY_PAGE, 'user page'),
  writes: writes(READ_ONLY_PAGE, 'user page'),
  fetches: fetches(READ_ONLY_PAGE, 'user page'),
  readsWithAc: probe('read4', 0, READ_ONLY_PAGE, 'user page', true),
  writesWithAc: probe('write4', 0, READ_ONLY_PAGE, 'user page', true),
};
const user = {
  reads: reads(READ_ONLY_PAGE, 'user page', 3),
  writes: writes(READ_ONLY_PAGE, 'user page', 3),
  fetches: fetches(READ_ONLY_PAGE, 'user page', 3),
};

/** What the kernel gains by CR0.WP = 0 it keeps to itself, and SMEP looks as if nothing had happened. */
const thereAndBack: readonly Step[] = [
  user.reads,
  kernel.writes,
  kernel.reads,
  kernel.fetches,
  user.writes,
  user.fetches,
  kernel.writes,
];

const underSmep = (): Scenario =>
  inL1(
    'smep-without-wp',
    'Kernel and user take turns at a read-only user page, under SMEP and with CR0.WP clear, then set.',
    'PAE',
    ['CR4.SMEP', 'EFER.NX'],
    [
      ...thereAndBack,
      set('CR0.WP', true),
      kernel.writes,
      kernel.fetches,
      user.fetches,
      set('CR0.WP', false),
      kernel.reads,
      kernel.fetches,
    ],
  );

/** Bit 63 of the guest's entries is reserved, that of L0's is not. */
const withoutEferNx = (): Scenario =>
  inL1(
    'smep-without-wp-and-efer-nx',
    'The same with EFER.NX clear, which is set and cleared in between.',
    'PAE',
    ['CR4.SMEP'],
    [
      ...thereAndBack,
      set('EFER.NX', true),
      kernel.writes,
      kernel.fetches,
      set('EFER.NX', false),
      kernel.reads,
    ],
  );

const withoutNx = (): Scenario =>
  without(
    inL1(
      'smep-without-wp-on-a-cpu-without-nx',
      'The same for a guest whose processor has no NX: L0 uses that of its own.',
      'PAE',
      ['CR4.SMEP'],
      [...thereAndBack, set('EFER.NX', true), kernel.fetches],
    ),
    'nx',
  );

/** An entry that lets the kernel write is a supervisor page, which SMAP would not guard: each write is emulated instead. */
const underSmap = (): Scenario =>
  inL1(
    'smap-without-wp',
    'A kernel writes to a read-only user page under SMAP with CR0.WP clear, by EFLAGS.AC and without.',
    'PAE',
    ['CR4.SMAP', 'EFER.NX'],
    [
      kernel.writes,
      kernel.writesWithAc,
      kernel.reads,
      kernel.readsWithAc,
      kernel.writesWithAc,
      user.reads,
      set('CR4.SMAP', false),
      kernel.writes,
      set('CR4.SMAP', true),
      kernel.reads,
      user.reads,
    ],
  );

/** Both levels have one set of tables; only their roles keep what L2 may from L1. */
function toggledByL2(): Scenario {
  const both = space('PAE');
  return directed({
    name: 'wp-toggled-by-l2',
    about:
      'L2 clears CR0.WP and writes to a read-only user page of tables that it shares with L1, which has WP set.',
    pages: { ...both.pages, 'os.page': {} },
    l1: stateIn(both, 'CR0.WP', 'CR4.SMEP', 'EFER.NX'),
    l2: { A: { ...stateIn(both, 'CR0.WP', 'CR4.SMEP', 'EFER.NX'), asid: 1 } },
    steps: [
      user.reads,
      ...visit(kernel.writes, set('CR0.WP', false), kernel.writes, kernel.fetches),
      kernel.writes,
      user.fetches,
      ...visit(kernel.writes, user.fetches, kernel.writes, set('CR0.WP', true), kernel.writes),
      kernel.writes,
    ],
  });
}

/** CR0.WP = 0 beside SMEP, SMAP and NX. docs/smep-and-not-wp.md shows what L0's tables are at each step. */
export const writeProtectScenarios = (): Scenario[] => [
  underSmep(),
  withoutEferNx(),
  withoutNx(),
  underSmap(),
  toggledByL2(),
];
