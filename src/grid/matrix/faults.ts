import type { Scenario, Step, VmcbChanges } from '../scenario.ts';
import { type Cell, cellScenarioName, flagSet, pagesOf, withFeatures } from './cell.ts';
import { ProbeWriter } from './probes.ts';
import { matrixSpace, stateOf } from './space.ts';

// biome-ignore format: table
/** Events that L1 injects: faults with and without an error code, #PF, interrupts (APM vol. 2 15.20). */
const EVENTS: readonly NonNullable<VmcbChanges['inject']>[] = [
  { vector: 13, errorCode: 0x1234 }, { vector: 14, errorCode: 0x7 }, { vector: 6 }, { vector: 12, errorCode: 0 },
  { vector: 32 }, { vector: 47 }, { vector: 17, errorCode: 0 }, { vector: 0 },
];

/** Page faults of L2 that L1 intercepts, skips or injects again, and events that L1 injects of its own. */
export function faultScenarios(cell: Cell): Scenario[] {
  const outer = matrixSpace('l1', cell.l1, { quadrant: 0, frame: 0, directories: ['dir', 'large'] });
  const inner = matrixSpace('l2', cell.l2, { quadrant: 1, frame: 1 });
  const writer = new ProbeWriter(2);
  const visit = (vmcb: VmcbChanges, reflect: boolean): Step[] => [
    { do: 'enter', l2: 'A', vmcb, reflect },
    ...writer.all(inner.targets),
    { do: 'leave' },
  ];
  const inject = EVENTS.flatMap((event): Step[] => [
    { do: 'enter', l2: 'A', vmcb: { inject: event } },
    ...writer.some(inner.targets.slice(0, 2)),
    { do: 'leave' },
  ]);
  return [
    withFeatures({
      name: cellScenarioName(cell, 'faults'),
      about: "L1 intercepts L2's page faults, skips the step or injects them, and injects events of its own.",
      pages: pagesOf(outer, inner),
      l1: stateOf(outer, flagSet(5)),
      l2: { A: { ...stateOf(inner, flagSet(9)), asid: 1, interceptPageFaults: true } },
      steps: [
        ...visit({}, false),
        ...writer.some(outer.targets),
        ...visit({}, true),
        ...writer.some(outer.targets),
        ...inject,
        ...visit({ interceptPageFaults: false }, false),
        ...inject,
        ...writer.some(outer.targets),
      ],
    }),
  ];
}
