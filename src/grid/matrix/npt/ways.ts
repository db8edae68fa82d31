import type { Scenario, Step, VmcbChanges } from '../../scenario.ts';
import { pagesOf, withFeatures } from '../cell.ts';
import { readEntry } from '../edits.ts';
import { BASIC_PROBES, ProbeWriter } from '../probes.ts';
import { type MatrixSpace, matrixSpace, stateOf } from '../space.ts';
import { type NptCell, nptScenarioName } from './cell.ts';

const SPACE_OPTIONS = {
  leaves: ['present', 'read-only', 'supervisor', 'nx'],
  directories: ['dir', 'dir-read-only', 'large'],
} as const;

/** Two L2s with the same tables, one with nested paging and one without, and one L2 that L1 runs in both ways. */
export function wayScenarios(cell: NptCell): Scenario[] {
  const outer = matrixSpace('l1', cell.l1, {
    quadrant: 3,
    leaves: ['present', 'read-only'],
    directories: ['dir'],
  });
  const inner = matrixSpace('l2', cell.l2, { ...SPACE_OPTIONS, quadrant: 2, frame: 1 });
  // Where L2's pages are, nested tables have others: the same tables of L2 lead elsewhere.
  const nested = matrixSpace('npt', cell.l1, { ...SPACE_OPTIONS, quadrant: 0, frame: 0 });
  const scenario = (family: string, about: string, steps: readonly Step[]): Scenario =>
    withFeatures({
      name: nptScenarioName(cell, family),
      about,
      pages: pagesOf(outer, inner, nested),
      l1: stateOf(outer, ['CR0.WP']),
      l2: {
        A: { ...stateOf(inner, ['CR0.WP']), asid: 1 },
        B: { ...stateOf(inner, ['CR0.WP']), asid: 2, nested: nested.root! },
      },
      steps,
    });
  return [
    scenario(
      'two-ways',
      'One L2 has its tables shadowed, another has the same tables and nested paging.',
      twoGuests(outer, inner),
    ),
    scenario(
      'switched-ways',
      'L1 runs an L2 with nested paging and without, under one ASID and under several.',
      oneGuest(nested, inner),
    ),
  ];
}

/** Both look, one edits what both use, both look again. */
function twoGuests(outer: MatrixSpace, inner: MatrixSpace): Step[] {
  const writer = new ProbeWriter();
  const visit = (l2: 'A' | 'B', vmcb: VmcbChanges = {}): Step[] => [
    { do: 'enter', l2, vmcb },
    ...writer.some(inner.targets),
    { do: 'leave' },
  ];
  const victim = inner.targets.find(({ about }) => about === 'present');
  const steps: Step[] = [...visit('A'), ...visit('B'), ...visit('A'), ...writer.some(outer.targets)];
  if (victim?.leaf === undefined) return steps;
  const { page, index, width } = victim.leaf;
  for (const [turn, flags] of ['P U', 'P W', 'W U', 'P W U'].entries()) {
    const edit: Step = { do: 'edit', page, index, width, entry: { to: victim.page, flags } };
    const inside: Step[] = [edit, { do: 'invlpg', at: victim.at }];
    const probes = BASIC_PROBES.map((kind) => writer.probe(victim, kind));
    const editor = turn % 2 === 0 ? 'A' : 'B';
    steps.push({ do: 'enter', l2: editor }, ...inside, ...probes, { do: 'leave' });
    steps.push(...visit(editor === 'A' ? 'B' : 'A'), readEntry(victim.leaf));
    steps.push(...visit('A', { tlbControl: 'asid' }), ...visit('B', { tlbControl: 'asid' }));
  }
  return steps;
}

/** L2 A with and without, from one visit to the next. */
function oneGuest(nested: MatrixSpace, inner: MatrixSpace): Step[] {
  const writer = new ProbeWriter(4);
  const visit = (vmcb: VmcbChanges): Step[] => [
    { do: 'enter', l2: 'A', vmcb },
    ...writer.some(inner.targets),
    { do: 'leave' },
  ];
  const on = { nested: nested.root! } as const;
  return [
    ...visit({}),
    ...visit({ ...on, tlbControl: 'asid' }),
    ...visit({ nested: false, tlbControl: 'asid' }),
    ...visit({ ...on, asid: 3 }),
    ...visit({ nested: false, asid: 1 }),
    // One ASID and no flush: what one way has left in the TLB may serve the other.
    ...visit(on),
    ...visit({ nested: false }),
    ...visit({ ...on, tlbControl: 'all' }),
  ];
}
