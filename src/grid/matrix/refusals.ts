import type { CpuFeature, Scenario, SettableFlag, Step, VmcbChanges } from '../scenario.ts';
import { type Cell, cellScenarioName, pagesOf, withFeatures } from './cell.ts';
import { ProbeWriter } from './probes.ts';
import { type MatrixSpace, matrixSpace, stateOf } from './space.ts';

const SPACE_OPTIONS = {
  leaves: ['present', 'read-only', 'supervisor', 'nx', 'nx-supervisor', 'reserved', 'absent-reserved'],
  directories: ['dir', 'dir-nx', 'large'],
} as const;

/** Features and the flags that need them: the flags raise #GP without. */
const FLAGS_OF: readonly (readonly [CpuFeature, SettableFlag])[] = [
  ['nx', 'EFER.NX'],
  ['smep', 'CR4.SMEP'],
  ['smap', 'CR4.SMAP'],
  ['pge', 'CR4.PGE'],
];

/** VMCBs that VMRUN refuses, and processors that lack what L1 or L2 would like to use. */
export function refusalScenarios(cell: Cell): Scenario[] {
  return [refusedEntries(cell), ...FLAGS_OF.map(([feature, flag]) => missingFeature(cell, feature, flag))];
}

function spacesOf(cell: Cell): [MatrixSpace, MatrixSpace] {
  return [
    matrixSpace('l1', cell.l1, { ...SPACE_OPTIONS, frame: 0 }),
    matrixSpace('l2', cell.l2, { ...SPACE_OPTIONS, frame: 1 }),
  ];
}

/** ASID 0, and exceptions to inject that are none: 2 is the NMI, 15 and 31 are reserved (APM vol. 2 15.5.1, 15.20). */
const REFUSED: readonly VmcbChanges[] = [
  { asid: 0 },
  { asid: 1, inject: { vector: 2 } },
  { asid: 1, inject: { vector: 15 } },
  { asid: 1, inject: { vector: 31 } },
];

function refusedEntries(cell: Cell): Scenario {
  const [outer, inner] = spacesOf(cell);
  const writer = new ProbeWriter();
  const visit = (vmcb: VmcbChanges): Step[] => [
    { do: 'enter', l2: 'A', vmcb },
    ...writer.some(inner.targets),
    { do: 'leave' },
  ];
  return withFeatures({
    name: cellScenarioName(cell, 'refusals'),
    about: 'VMRUN refuses a VMCB again and again; L1 and L2 go on as before.',
    pages: pagesOf(outer, inner),
    l1: stateOf(outer, ['CR0.WP']),
    l2: { A: { ...stateOf(inner, ['CR0.WP']), asid: 1 } },
    steps: [
      ...visit({}),
      ...REFUSED.flatMap((refused) => [
        ...visit(refused),
        ...writer.some(outer.targets),
        ...visit({ asid: 1 }),
      ]),
      { do: 'registers' },
    ],
  });
}

/** Both levels set the flag of a feature that is not there, and go on without. */
function missingFeature(cell: Cell, feature: CpuFeature, flag: SettableFlag): Scenario {
  const [outer, inner] = spacesOf(cell);
  const writer = new ProbeWriter(5);
  const attempt: Step[] = [{ do: 'set', flag, value: true }, { do: 'registers' }];
  const scenario = withFeatures({
    name: cellScenarioName(cell, `refusals-without-${feature}`),
    about: `The processor has no ${feature}: ${flag} cannot be set, and pages are as if there were no such thing.`,
    absent: [feature],
    pages: pagesOf(outer, inner),
    l1: stateOf(outer, ['CR0.WP']),
    l2: { A: { ...stateOf(inner, ['CR0.WP']), asid: 1 } },
    steps: [
      ...writer.some(outer.targets),
      ...attempt,
      ...writer.some(outer.targets),
      { do: 'enter', l2: 'A' },
      ...writer.some(inner.targets),
      ...attempt,
      ...writer.some(inner.targets),
      { do: 'leave' },
      ...writer.some(outer.targets),
    ],
  });
  return { ...scenario, features: scenario.features.filter((needed) => needed !== feature) };
}
