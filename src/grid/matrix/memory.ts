import type { HostMemoryAction, Scenario, Step } from '../scenario.ts';
import { L1 } from '../tracker.ts';
import { type Cell, cellScenarioName, pagesOf, withFeatures } from './cell.ts';
import { BASIC_PROBES, ProbeWriter } from './probes.ts';
import { type MatrixSpace, matrixSpace, stateOf } from './space.ts';

const SPACE_OPTIONS = {
  leaves: ['present', 'read-only', 'dirty'],
  directories: ['dir', 'large'],
} as const;
/** What may be done to a page that is no memory: all ones are no code. */
const DATA_PROBES = BASIC_PROBES.filter(({ form }) => form !== 'fetch');

/**
 * The host below L1 moves every page of L1 and of its L2 to other host memory, tables and data, while they are in use;
 * then it takes data pages away and gives them back. The second part is a scenario of its own: fewer hosts can do it.
 */
export function memoryScenarios(cell: Cell): Scenario[] {
  const outer = matrixSpace('l1', cell.l1, { ...SPACE_OPTIONS, quadrant: 1, frame: 0 });
  const inner = matrixSpace('l2', cell.l2, { ...SPACE_OPTIONS, quadrant: 2, frame: 1 });
  const scenario = (family: string, about: string, steps: readonly Step[]): Scenario =>
    withFeatures({
      name: cellScenarioName(cell, family),
      about,
      pages: pagesOf(outer, inner),
      l1: stateOf(outer, ['CR0.WP']),
      l2: { A: { ...stateOf(inner, ['CR0.WP']), asid: 1 } },
      steps,
    });
  return [
    scenario('moved-memory', 'The host moves pages while L1 and L2 use them.', moves(outer, inner)),
    scenario('removed-memory', 'The host takes pages away and gives them back.', removals(outer, inner)),
  ];
}

/** Everything is probed, then each page moves, and everything is probed again: in L1, then in L2. */
function moves(outer: MatrixSpace, inner: MatrixSpace): Step[] {
  const writer = new ProbeWriter();
  const move = (space: MatrixSpace): Step[] =>
    Object.keys(space.pages).map((page) => ({ do: 'host', action: 'move', page }));
  return [
    ...writer.all(outer.targets),
    ...move(outer),
    ...writer.all(outer.targets),
    { do: 'enter', l2: 'A' },
    ...writer.all(inner.targets),
    ...move(inner),
    ...writer.all(inner.targets),
    ...move(inner),
    { do: 'leave' },
    ...writer.all(outer.targets),
    ...move(inner),
    { do: 'enter', l2: 'A' },
    ...writer.all(inner.targets),
    { do: 'leave' },
  ];
}

/** Each level loses the pages it probes, one after another, itself or while the other runs. */
function removals(outer: MatrixSpace, inner: MatrixSpace): Step[] {
  const writer = new ProbeWriter();
  const around = (space: MatrixSpace, level: string): Step[] => {
    const visit = (steps: readonly Step[]): Step[] =>
      level === L1 ? [...steps] : [{ do: 'enter', l2: level }, ...steps, { do: 'leave' }];
    return space.targets.flatMap((target) => {
      const host = (action: HostMemoryAction): Step => ({ do: 'host', action, page: target.page });
      const probes = DATA_PROBES.map((kind) => writer.probe(target, kind));
      return [
        ...visit([...probes, host('remove'), ...probes]),
        ...visit(probes),
        host('return'),
        ...visit(writer.all([target])),
      ];
    });
  };
  return [...around(outer, L1), ...around(inner, 'A')];
}
