import type { Scenario, SettableFlag, Step } from '../../scenario.ts';
import { flagSet, pagesOf, withFeatures } from '../cell.ts';
import { ProbeWriter } from '../probes.ts';
import { type MatrixSpace, matrixSpace, stateOf } from '../space.ts';
import { NPT_L1_MODES, type NptCell, nptScenario, nptScenarioName, nptSpaces, visitA } from './cell.ts';
import { guestOver, plainGuest } from './guest.ts';

const SPACE_OPTIONS = {
  quadrant: 1,
  frame: 0,
  leaves: ['present', 'read-only', 'supervisor', 'nx', 'nx-read-only', 'reserved'],
  directories: ['dir', 'dir-read-only', 'dir-nx', 'large', 'large-reserved'],
} as const;

/** L1's own registers change between visits: nested tables are read as they were at the last VMRUN (APM vol. 2 15.25.4). */
export const hostRegisterScenarios = (cell: NptCell): Scenario[] => [flagChanges(cell), modeChanges(cell)];

/** Bits that decide about nested rights, or must not: EFER.NX does, in PAE tables; the others do not. */
const FLAGS: readonly SettableFlag[] = ['EFER.NX', 'CR4.SMEP', 'CR0.WP', 'CR4.PGE', 'CR4.SMAP', 'EFER.NX'];

function flagChanges(cell: NptCell): Scenario {
  const spaces = nptSpaces(cell, SPACE_OPTIONS);
  const guest = plainGuest(cell.l2, spaces.nested.targets);
  const writer = new ProbeWriter();
  const steps: Step[] = visitA(writer.all(guest.targets));
  [true, false].forEach((value) => {
    FLAGS.forEach((flag, index) => {
      const flush = index % 2 === 0 ? ({ tlbControl: 'asid' } as const) : {};
      steps.push({ do: 'set', flag, value: flag === 'CR0.WP' ? !value : value });
      steps.push(...visitA(index === 0 ? writer.all(guest.targets) : writer.some(guest.targets), flush));
    });
  });
  return nptScenario(cell, {
    family: 'host-flags',
    about: 'L1 changes CR0.WP, CR4.SMEP, CR4.SMAP, CR4.PGE and EFER.NX between visits of L2.',
    spaces,
    guest,
    l2Flags: ['CR0.WP', 'EFER.NX'],
    steps,
  });
}

/** A PDPT inside the page of a 2-level directory. */
const PDPT_OFFSET = 0xfe0;

/** L1 goes through its paging modes; one page is the root of nested tables of every format. */
function modeChanges(cell: NptCell): Scenario {
  const outers = NPT_L1_MODES.map((mode) =>
    matrixSpace(`l1-${NPT_L1_MODES.indexOf(mode)}`, mode, {
      quadrant: 3,
      leaves: ['present'],
      directories: ['dir'],
    }),
  );
  const nested = dualNested();
  const leaves = nested.spaces.flatMap(({ targets }, index) =>
    targets.map((target) => ({
      to: target.at,
      flags: 'P W U A D',
      target,
      about: `${target.about} of the ${index === 0 ? '2-level' : 'PAE'} tables`,
    })),
  );
  // Both formats map the same L2-physical addresses, each to pages of its own.
  const once = leaves.filter(({ to }, index) => leaves.findIndex((leaf) => leaf.to === to) === index);
  const guest = guestOver(cell.l2, once);
  const writer = new ProbeWriter();
  const own = NPT_L1_MODES.indexOf(cell.l1);
  const steps: Step[] = [];
  for (let round = 0; round < 7; round++) {
    const outer = outers[(own + round * (round > 3 ? 2 : 1)) % outers.length];
    if (round > 0) steps.push({ do: 'switch', ...stateOf(outer, flagSet(round * 3)) });
    if (round === 2 || round === 5) steps.push({ do: 'set', flag: 'CR4.PSE', value: true });
    const flush = round % 2 === 1 ? ({ tlbControl: 'asid' } as const) : { asid: 1 + (round % 3) };
    steps.push(...writer.some(outer.targets), ...visitA(writer.some(guest.targets), flush));
  }
  return withFeatures({
    name: nptScenarioName(cell, 'host-modes'),
    about: 'L1 switches between its paging modes, and with them the format of the nested tables.',
    pages: { ...pagesOf(...outers, ...nested.spaces), ...nested.pages, ...guest.pages },
    l1: stateOf(outers[own], ['CR0.WP']),
    l2: { A: { ...guest.state, flags: ['CR0.WP', 'EFER.NX'], asid: 1, nested: nested.root } },
    steps,
  });
}

/** Nested tables of both formats with one root: the PDPT is part of the page directory. */
function dualNested(): {
  root: string;
  pages: Scenario['pages'];
  spaces: readonly [MatrixSpace, MatrixSpace];
} {
  const legacy = matrixSpace('npt-2', '2-level+PSE', SPACE_OPTIONS);
  const pae = matrixSpace('npt-pae', 'PAE', SPACE_OPTIONS);
  const name = legacy.root!;
  const index = PDPT_OFFSET / 8 + pae.pdpte!.index;
  const directory = { ...legacy.pages[name], entries8: { [index]: { to: 'npt-pae.pd', flags: 'P' } } };
  return {
    root: `${name}+0x${PDPT_OFFSET.toString(16)}`,
    pages: { [name]: directory },
    spaces: [legacy, pae],
  };
}
