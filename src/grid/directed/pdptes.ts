import { matrixSpace, stateOf } from '../matrix/space.ts';
import type { Page, Scenario, SettableFlag, Step } from '../scenario.ts';
import {
  at,
  directed,
  editPage,
  FLUSHED,
  inL2,
  RELOAD,
  reads,
  type SmallSpace,
  set,
  smallSpace,
  stateIn,
  underPlainL1,
  visit,
  visitWith,
  writes,
} from './build.ts';

/** A PAE space whose second PDPTE can be made to point to either of two directories. */
interface TwoDirectories {
  readonly space: SmallSpace;
  readonly pages: Readonly<Record<string, Page>>;
  readonly point: (to: 'first' | 'second', flags?: string) => Step;
}

function twoDirectories(prefix: string): TwoDirectories {
  const directory = (name: string) => {
    const slot = { to: `${name}.pt`, flags: 'P W U' };
    return smallSpace(
      name,
      'PAE',
      { 0: slot, 1: slot, 2: slot },
      { pt: { 0: { to: `${name}.page`, flags: 'P W U' } } },
    );
  };
  const first = directory(prefix);
  const second = directory(`${prefix}-second`);
  return {
    space: first,
    pages: { ...first.pages, ...second.pages, [`${prefix}.page`]: {}, [`${prefix}-second.page`]: {} },
    point: (to, flags = 'P') =>
      editPage(first, 'pdpt', 1, { to: to === 'first' ? `${prefix}.pd` : `${prefix}-second.pd`, flags }),
  };
}

const look = [reads(at(0), 'present'), writes(at(0), 'present', 3), reads(at(0), 'present', 3)];

function andSmap(): Scenario {
  const { space, pages, point } = twoDirectories('l2');
  return inL2(
    'pdptes-and-smap',
    'A PDPTE changes in memory; CR4.SMAP and CR0.WP do not load it, CR3 does.',
    stateIn(space, 'CR0.WP'),
    pages,
    [
      ...look,
      point('second'),
      set('CR4.SMAP', true),
      ...look,
      set('CR4.SMAP', false),
      ...look,
      set('CR0.WP', false),
      ...look,
      set('CR0.WP', true),
      ...look,
      RELOAD,
      ...look,
    ],
  );
}

/** CR4.SMEP need not flush the TLB, so that what it loads shows at addresses not seen before. */
function andSmep(): Scenario {
  const { space, pages, point } = twoDirectories('l2');
  const fresh = (slot: number): Step => reads(at(slot), 'not used before');
  return inL2(
    'pdptes-and-smep',
    'A PDPTE changes in memory, and CR4.SMEP loads it.',
    stateIn(space, 'CR0.WP'),
    pages,
    [
      ...look,
      point('second'),
      set('CR4.SMEP', true),
      fresh(1),
      point('first'),
      set('CR4.SMEP', false),
      fresh(2),
    ],
  );
}

/** Each register write that loads PDPTEs and flushes the TLB, with a PDPTE changed before it. */
function reloaded(): Scenario {
  const { space, pages, point } = twoDirectories('l2');
  const flags: readonly SettableFlag[] = ['CR4.PGE', 'CR4.PSE'];
  const toggles = flags.flatMap((flag): Step[] => [
    point('second'),
    ...look,
    set(flag, true),
    ...look,
    point('first'),
    ...look,
    set(flag, false),
    ...look,
  ]);
  return inL2(
    'pdptes-reloaded',
    'A PDPTE changes in memory, and each register write that loads PDPTEs follows.',
    stateIn(space, 'CR0.WP'),
    pages,
    [
      ...look,
      point('second'),
      RELOAD,
      ...look,
      point('first'),
      RELOAD,
      ...look,
      ...toggles,
      point('second', 'P W'),
      RELOAD,
      ...look,
      point('first'),
      RELOAD,
      ...look,
    ],
  );
}

function changedWithoutPaging(): Scenario {
  const { space, pages, point } = twoDirectories('l2');
  return inL2(
    'pdptes-changed-without-paging',
    'A PDPTE changes while paging is off.',
    stateIn(space, 'CR0.WP'),
    pages,
    [...look, set('CR0.PG', false), point('second'), set('CR0.PG', true), ...look],
  );
}

/** CR3 points to what would be illegal PDPTEs, if there were any without paging. */
function paeWithoutPaging(): Scenario {
  const flat = matrixSpace('l2', 'off', { leaves: ['present'], directories: ['dir'] });
  const illegal = { entries8: { 0: { flags: 'P W U' }, 1: { flags: 'P W U 63' } } };
  const here = reads(flat.targets[0].at, 'any');
  return inL2(
    'pae-without-paging',
    'CR4.PAE is set without paging, and CR3 points to no PDPTEs.',
    { ...stateOf(flat), root: 'l2.illegal' },
    { ...flat.pages, 'l2.illegal': illegal },
    [
      here,
      set('CR4.PAE', true),
      here,
      RELOAD,
      set('CR4.PGE', true),
      { do: 'registers' },
      here,
      set('CR4.PGE', false),
      set('CR4.PAE', false),
      here,
    ],
  );
}

/** L1 and L2 have one PDPT and the same registers: only the PDPTE registers of each tell what it sees. */
function oneRoot(): Scenario {
  const { space, pages, point } = twoDirectories('both');
  return directed({
    name: 'one-root-for-both',
    about: 'L1 and L2 have the same CR3 and everything else; a PDPTE changes while the other is away.',
    pages,
    l1: stateIn(space, 'CR0.WP'),
    l2: { A: { ...stateIn(space, 'CR0.WP'), asid: 1 } },
    steps: [
      ...look,
      ...visit(...look),
      ...look,
      point('second'),
      ...look,
      ...visitWith(FLUSHED, ...look, point('first'), ...look),
      ...look,
      ...visit(...look, point('second')),
      ...look,
    ],
  });
}

function illegalAtEntry(): Scenario {
  const { space, pages, point } = twoDirectories('l2');
  return underPlainL1(
    'illegal-pdptes-at-entry',
    "L2's PDPTEs have a reserved bit set when L1 enters it, and later not.",
    stateIn(space, 'CR0.WP'),
    pages,
    [
      ...visit(...look),
      point('second', 'P W'),
      ...visit(...look),
      ...look,
      point('second'),
      ...visit(...look),
    ],
  );
}

/** When PDPTEs are loaded, and when not. */
export const pdpteScenarios = (): Scenario[] => [
  andSmap(),
  andSmep(),
  reloaded(),
  changedWithoutPaging(),
  paeWithoutPaging(),
  oneRoot(),
  illegalAtEntry(),
];
