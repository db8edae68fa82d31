import type { Scenario, Step, VmcbChanges } from '../../scenario.ts';
import { ProbeWriter } from '../probes.ts';
import { stateOf } from '../space.ts';
import { type NptCell, nptScenario, nptSpaces, visitA } from './cell.ts';
import { plainGuest } from './guest.ts';

const SPACE_OPTIONS = {
  leaves: ['present', 'read-only', 'supervisor'],
  directories: ['dir', 'large'],
} as const;
const GOOD_PAT = '0x0007040600070406';

// biome-ignore format: table
/** VMCBs that VMRUN refuses, each with what makes it good again (APM vol. 2 15.5.1, 15.25.3, 15.25.4). */
const REFUSED: readonly (readonly [VmcbChanges, VmcbChanges])[] = [
  [{ gPat: '0x0007040600070402' }, { gPat: GOOD_PAT }],
  [{ gPat: '0x0807040600070406' }, { gPat: GOOD_PAT }],
  [{ gPat: '0x0007030600070406' }, { gPat: '0x0105040601050406' }],
  [{ nestedHigh: 0x8000_0000 },    { nestedHigh: 0 }],
  [{ asid: 0 },                    { asid: 1 }],
];

/** VMRUN refuses nested paging; L1 and L2 go on as before. */
export const nestedRefusalScenarios = (cell: NptCell): Scenario[] => [refusals(cell), withoutNpt(cell)];

function refusals(cell: NptCell): Scenario {
  const spaces = nptSpaces(cell, SPACE_OPTIONS);
  const guest = plainGuest(cell.l2, spaces.nested.targets);
  const writer = new ProbeWriter();
  const visit = (vmcb: VmcbChanges): Step[] => visitA(writer.some(guest.targets), vmcb);
  const outside = (): Step[] => writer.some(spaces.outer.targets);
  const refused = REFUSED.flatMap(([bad, good]) => [...visit(bad), ...outside(), ...visit(good)]);
  return nptScenario(cell, {
    family: 'refusals',
    about:
      'VMRUN refuses reserved bits of G_PAT and nCR3, ASID 0, and nested paging of an L1 without paging.',
    spaces,
    guest,
    steps: [
      ...visit({}),
      ...refused,
      { do: 'switch', mode: 'off', flags: [] },
      ...visit({}),
      { do: 'switch', ...stateOf(spaces.outer, ['CR0.WP']) },
      ...visit({}),
      { do: 'registers' },
    ],
  });
}

/** The processor has no nested paging: who asks for it must not run without (APM vol. 2 15.25.2). */
function withoutNpt(cell: NptCell): Scenario {
  const spaces = nptSpaces(cell, SPACE_OPTIONS);
  const guest = plainGuest(cell.l2, spaces.nested.targets);
  const writer = new ProbeWriter(5);
  const look = (): Step[] => writer.some(spaces.outer.targets);
  const scenario = nptScenario(cell, {
    family: 'refusals-without-npt',
    about: 'The processor has no nested paging: VMRUN refuses it, and runs the same L2 without.',
    spaces,
    guest,
    steps: [
      ...look(),
      ...visitA(writer.some(guest.targets)),
      ...look(),
      ...visitA([{ do: 'registers' }], { nested: false }),
      ...visitA([{ do: 'registers' }], { nested: spaces.nested.root! }),
      ...look(),
    ],
  });
  const features = scenario.features.filter((feature) => feature !== 'npt');
  return { ...scenario, features, absent: ['npt'] };
}
