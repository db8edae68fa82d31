import type { Scenario, Step } from '../scenario.ts';
import { type Cell, cellScenarioName, pagesOf, withFeatures } from './cell.ts';
import { BASIC_PROBES, ProbeWriter } from './probes.ts';
import { type MatrixSpace, matrixSpace, stateOf } from './space.ts';

const SPACE_OPTIONS = {
  leaves: ['present', 'global', 'read-only'],
  directories: ['dir', 'large'],
  global: true,
} as const;

/** Global pages: what survives a load of CR3, and what CR4.PGE takes away. */
export function globalScenarios(cell: Cell): Scenario[] {
  const outer = matrixSpace('l1', cell.l1, { ...SPACE_OPTIONS, quadrant: 2, frame: 0 });
  const inner = matrixSpace('l2', cell.l2, { ...SPACE_OPTIONS, quadrant: 2, frame: 1 });
  const writer = new ProbeWriter();
  const inside = tour(inner, writer);
  const steps: Step[] = [
    ...tour(outer, writer),
    { do: 'enter', l2: 'A' },
    ...inside,
    { do: 'leave' },
    ...writer.some(outer.targets),
    { do: 'enter', l2: 'A', vmcb: { tlbControl: 'asid' } },
    ...writer.some(inner.targets),
    { do: 'leave' },
    ...tour(outer, writer),
  ];
  return [
    withFeatures({
      name: cellScenarioName(cell, 'globals'),
      about: 'Global pages change; CR3 is loaded, CR4.PGE toggled, pages invalidated.',
      pages: pagesOf(outer, inner),
      l1: stateOf(outer, ['CR0.WP', 'CR4.PGE']),
      l2: { A: { ...stateOf(inner, ['CR0.WP', 'CR4.PGE']), asid: 1 } },
      steps,
    }),
  ];
}

/** Remaps the global page, then drops its translation in one way after another. */
function tour({ targets, prefix }: MatrixSpace, writer: ProbeWriter): Step[] {
  const victim = targets.find(({ about }) => about === 'global');
  if (victim?.leaf === undefined) return writer.some(targets);
  const { page, index, width } = victim.leaf;
  const look = (): Step[] => [0, 3, 4].map((kind) => writer.probe(victim, BASIC_PROBES[kind]));
  const remap = (to: string, global: boolean): Step => ({
    do: 'edit',
    page,
    index,
    width,
    entry: { to, flags: global ? 'P W U G' : 'P W U' },
  });
  const there = `${prefix}.present`;
  const toggle: Step[] = [
    { do: 'set', flag: 'CR4.PGE', value: false },
    { do: 'set', flag: 'CR4.PGE', value: true },
  ];
  return [
    ...writer.some(targets),
    ...[[{ do: 'reload-cr3' } as const], toggle, [{ do: 'invlpg', at: victim.at } as const]].flatMap(
      (invalidation): Step[] => [
        remap(there, true),
        ...look(),
        ...invalidation,
        ...look(),
        ...toggle,
        ...look(),
        remap(victim.page, false),
        { do: 'reload-cr3' },
        ...look(),
        { do: 'set', flag: 'CR4.PGE', value: false },
        ...look(),
        remap(victim.page, true),
        { do: 'reload-cr3' },
        ...look(),
        { do: 'set', flag: 'CR4.PGE', value: true },
      ],
    ),
  ];
}
