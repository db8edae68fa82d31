import type { Scenario, Step, VmcbChanges } from '../scenario.ts';
import { type Cell, cellScenarioName, L2_MODES, pagesOf, withFeatures } from './cell.ts';
import { readEntry } from './edits.ts';
import { ProbeWriter } from './probes.ts';
import { type MatrixSpace, matrixSpace, stateOf, type Target } from './space.ts';

const SPACE_OPTIONS = {
  leaves: ['present', 'read-only', 'supervisor', 'nx'],
  directories: ['dir', 'dir-read-only', 'large'],
} as const;

/**
 * Two L2s, the second in each of the modes, at the same linear addresses: with an ASID each, with one ASID and a
 * flush, with one ASID and none; and what TLB_CONTROL and INVLPGA take away.
 */
export function asidScenarios(cell: Cell): Scenario[] {
  return L2_MODES.map((other) => {
    const outer = matrixSpace('l1', cell.l1, { ...SPACE_OPTIONS, frame: 0 });
    const first = matrixSpace('a', cell.l2, { ...SPACE_OPTIONS, frame: 1 });
    // Two L2s with paging off see the same memory.
    const bothFlat = cell.l2 === 'off' && other === 'off';
    const second = bothFlat ? first : matrixSpace('b', other, { ...SPACE_OPTIONS, frame: 1 });
    return withFeatures({
      name: cellScenarioName(cell, `asids-with-${other.toLowerCase().replace('+', '-')}`),
      about: `L2s in ${cell.l2} and ${other} take turns, with the same and with different ASIDs.`,
      pages: pagesOf(outer, first, second),
      l1: stateOf(outer, ['CR0.WP']),
      l2: { A: { ...stateOf(first, ['CR0.WP']), asid: 1 }, B: { ...stateOf(second), asid: 2 } },
      steps: asidSteps(outer, first, second),
    });
  });
}

function asidSteps(outer: MatrixSpace, first: MatrixSpace, second: MatrixSpace): Step[] {
  const writer = new ProbeWriter();
  const visit = (l2: 'A' | 'B', vmcb: VmcbChanges = {}): Step[] => [
    { do: 'enter', l2, vmcb },
    ...writer.some((l2 === 'A' ? first : second).targets),
    { do: 'leave' },
  ];
  const present = first.targets.find(({ about }) => about === 'present');
  return [
    ...writer.some(outer.targets),
    ...visit('A'),
    ...visit('B'),
    ...visit('A'),
    ...writer.some(outer.targets),
    ...editWhileAway(first, present, visit),
    // One ASID for both: what the first left in the TLB may serve the second, unless it is flushed.
    ...visit('B', { asid: 1, tlbControl: 'asid' }),
    ...visit('A', { tlbControl: 'all' }),
    ...visit('B'),
    ...invlpgas(second.targets, 1),
    ...visit('A'),
    ...visit('B', { asid: 2 }),
    ...visit('A', { asid: 3 }),
    ...visit('B', { asid: 3 }),
    ...visit('A', { asid: 1 }),
    ...writer.some(outer.targets),
  ];
}

/** L1 changes an entry of the first L2 while the second runs: seen for certain only after a flush. */
function editWhileAway(
  first: MatrixSpace,
  present: Target | undefined,
  visit: (l2: 'A' | 'B', vmcb?: VmcbChanges) => Step[],
): Step[] {
  if (present?.leaf === undefined) return [];
  const { page, index, width } = present.leaf;
  const to = `${first.prefix}.read-only`;
  return [
    { do: 'edit', page, index, width, entry: { to, flags: 'P W U' } },
    ...visit('B'),
    ...visit('A'),
    readEntry(present.leaf),
    ...visit('A', { tlbControl: 'asid' }),
    { do: 'edit', page, index, width, entry: { to: present.page, flags: 'P U' } },
    { do: 'invlpga', at: present.at, asid: 1 },
    ...visit('A'),
    readEntry(present.leaf),
  ];
}

const invlpgas = (targets: readonly Target[], asid: number): Step[] =>
  targets.map(({ at }) => ({ do: 'invlpga', at, asid }));
