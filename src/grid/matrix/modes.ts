import { type Flag, PAGING_MODES, type PagingMode, type Scenario, type Step } from '../scenario.ts';
import { type Cell, cellScenarioName, flagSet, L1_MODES, pagesOf, withFeatures } from './cell.ts';
import { ProbeWriter } from './probes.ts';
import { type MatrixSpace, matrixSpace, stateOf } from './space.ts';

const SPACE_OPTIONS = {
  leaves: ['present', 'read-only', 'supervisor', 'nx', 'reserved'],
  directories: ['dir', 'dir-read-only', 'large', 'large-read-only'],
} as const;
/** A PDPT inside the page of a 2-level directory: the last 32 bytes, which map the last 32 MiB in the other format. */
const PDPT_OFFSET = 0xfe0;

/** Levels change their own paging mode between and during visits. */
export function modeScenarios(cell: Cell): Scenario[] {
  return [switchingL2(cell), switchingL1(cell), togglingInPlace(cell)];
}

/** One space for each paging mode; 2-level has one with and without large pages. */
function spacesOf(prefix: string, quadrant: 0 | 1 | 2 | 3, frame: 0 | 1): Record<PagingMode, MatrixSpace> {
  const options = { ...SPACE_OPTIONS, quadrant, frame };
  return {
    off: matrixSpace(`${prefix}-off`, 'off', options),
    '2-level': matrixSpace(`${prefix}-2`, '2-level', options),
    '2-level+PSE': matrixSpace(`${prefix}-pse`, '2-level+PSE', options),
    PAE: matrixSpace(`${prefix}-pae`, 'PAE', options),
  };
}

/** L2 goes through every mode by itself, leaving in each, so that L1 sees it come back in another one. */
function switchingL2(cell: Cell): Scenario {
  const outer = matrixSpace('l1', cell.l1, { ...SPACE_OPTIONS, frame: 0 });
  const inner = spacesOf('l2', 0, 1);
  const writer = new ProbeWriter();
  const modes = pairTour(cell.l2);
  const steps: Step[] = [];
  let current = inner[cell.l2];
  modes.forEach((mode, index) => {
    steps.push({ do: 'enter', l2: 'A' }, ...writer.some(current.targets));
    current = inner[mode];
    steps.push({ do: 'switch', ...stateOf(current, flagSet(index * 5)) }, { do: 'registers' });
    steps.push(...writer.some(current.targets), { do: 'leave' });
    if (index % 3 === 0) steps.push(...writer.some(outer.targets));
  });
  return withFeatures({
    name: cellScenarioName(cell, 'modes-of-l2'),
    about: 'L2 switches between all paging modes by itself, leaving to L1 after each.',
    pages: pagesOf(outer, ...Object.values(inner)),
    l1: stateOf(outer, ['CR0.WP']),
    l2: { A: { ...stateOf(inner[cell.l2], flagSet(0)), asid: 1 } },
    steps,
  });
}

/** From `start` through every ordered pair of different modes. */
function pairTour(start: PagingMode): PagingMode[] {
  const others = PAGING_MODES.filter((mode) => mode !== start);
  const [a, b, c] = others;
  return [a, start, b, start, c, start, a, b, a, c, b, c, a, start];
}

/** L1 switches between its modes while L2 stays in its own: between two visits, and with the root kept. */
function switchingL1(cell: Cell): Scenario {
  const outers = L1_MODES.map((mode) =>
    matrixSpace(`l1-${mode === 'PAE' ? 'pae' : '2'}`, mode, { ...SPACE_OPTIONS, frame: 0 }),
  );
  const inner = matrixSpace('l2', cell.l2, { ...SPACE_OPTIONS, frame: 1 });
  const writer = new ProbeWriter(3);
  const own = L1_MODES.indexOf(cell.l1);
  const steps: Step[] = [];
  for (let round = 0; round < 6; round++) {
    const outer = outers[(own + round) % outers.length];
    if (round > 0) steps.push({ do: 'switch', ...stateOf(outer, flagSet(round * 3)) });
    steps.push(...writer.some(outer.targets), { do: 'enter', l2: 'A' });
    steps.push(...writer.some(inner.targets), { do: 'leave' });
    if (round % 2 === 0) steps.push(...writer.some(outer.targets));
  }
  return withFeatures({
    name: cellScenarioName(cell, 'modes-of-l1'),
    about: 'L1 switches between 2-level and PAE paging from one visit of L2 to the next.',
    pages: pagesOf(...outers, inner),
    l1: stateOf(outers[own], ['CR0.WP']),
    l2: { A: { ...stateOf(inner, ['CR0.WP', 'EFER.NX']), asid: 1 } },
    steps,
  });
}

/**
 * CR4.PAE, CR4.PSE and CR0.PG change under a CR3 that stays: the root page is a 2-level page directory that holds a
 * PDPT at its end. Both levels do it.
 */
function togglingInPlace(cell: Cell): Scenario {
  const outer = dualSpace('l1', 0);
  const inner = dualSpace('l2', 1);
  const writer = new ProbeWriter(11);
  const startOf = (mode: PagingMode, dual: DualSpace, flags: readonly Flag[]) =>
    mode === 'off' ? { mode, root: dual.root, flags } : { mode, root: dual.root, flags };
  const steps: Step[] = [];
  for (let round = 0; round < 2; round++) {
    steps.push(...toggles(cell.l1, outer, writer), { do: 'enter', l2: 'A' });
    steps.push(...toggles(cell.l2, inner, writer), { do: 'leave' });
  }
  return withFeatures({
    name: cellScenarioName(cell, 'toggles'),
    about: 'CR4.PAE, CR4.PSE and CR0.PG change while CR3 keeps its value.',
    pages: { ...outer.pages, ...inner.pages },
    l1: startOf(cell.l1, outer, ['CR0.WP']),
    l2: { A: { ...startOf(cell.l2, inner, ['CR0.WP']), asid: 1 } },
    steps,
  });
}

interface DualSpace {
  readonly root: string;
  readonly pages: Scenario['pages'];
  readonly legacy: MatrixSpace;
  readonly pae: MatrixSpace;
}

/** A 2-level space and a PAE space with one root: the PDPT is part of the page directory. */
function dualSpace(prefix: string, frame: 0 | 1): DualSpace {
  const legacy = matrixSpace(`${prefix}-2`, '2-level+PSE', { ...SPACE_OPTIONS, quadrant: 1, frame });
  const pae = matrixSpace(`${prefix}-pae`, 'PAE', { ...SPACE_OPTIONS, quadrant: 1, frame });
  const name = legacy.root!;
  const directory = legacy.pages[name];
  const index = PDPT_OFFSET / 8 + pae.pdpte!.index;
  const pages = pagesOf(legacy, pae);
  const dual = { ...directory, entries8: { [index]: { to: `${prefix}-pae.pd`, flags: 'P' } } };
  return { root: `${name}+0x${PDPT_OFFSET.toString(16)}`, pages: { ...pages, [name]: dual }, legacy, pae };
}

/** From a mode through the toggles that are possible in place, and back to it. */
function toggles(mode: PagingMode, { legacy, pae }: DualSpace, writer: ProbeWriter): Step[] {
  const look = (space: MatrixSpace): Step[] => writer.some(space.targets);
  const set = (flag: 'CR0.PG' | 'CR4.PAE' | 'CR4.PSE', value: boolean): Step => ({ do: 'set', flag, value });
  const steps: Step[] = [];
  if (mode === 'off') steps.push(set('CR0.PG', true));
  if (mode === 'PAE') steps.push(...look(pae), set('CR4.PAE', false));
  if (mode !== '2-level+PSE') steps.push(...look(legacy), set('CR4.PSE', true));
  steps.push(
    ...look(legacy),
    set('CR4.PAE', true),
    ...look(pae),
    set('CR4.PAE', false),
    ...look(legacy),
    set('CR4.PSE', false),
    ...look(legacy),
    set('CR0.PG', false),
    set('CR4.PAE', true),
    set('CR0.PG', true),
    ...look(pae),
    set('CR4.PSE', true),
    ...look(pae),
    { do: 'registers' },
  );
  if (mode !== 'PAE') steps.push(set('CR4.PAE', false), ...look(legacy));
  if (mode !== '2-level+PSE') steps.push(set('CR4.PSE', false));
  if (mode === 'off') steps.push(set('CR0.PG', false));
  return steps;
}
