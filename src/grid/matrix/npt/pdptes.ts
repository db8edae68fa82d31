import type { EntryFlags, Scenario, Step, VmcbChanges } from '../../scenario.ts';
import { pagesOf } from '../cell.ts';
import { BASIC_PROBES, ProbeWriter } from '../probes.ts';
import { matrixSpace } from '../space.ts';
import { type NptCell, nptScenario, nptSpaces, nxOfNested, visitA } from './cell.ts';
import { plainGuest } from './guest.ts';

const SPACE_OPTIONS = { quadrant: 1, leaves: ['present', 'read-only'], directories: ['dir'] } as const;
/** Flags of a PDPTE: reserved ones make every walk a fault, not VMRUN (APM vol. 2 15.25.10). */
const FLAGS: readonly EntryFlags[] = ['', 'P W', 'P U', 'P A', 'P G', 'P 51', 'P NX', 'W U NX', 'P PWT PCD'];

/** L1 changes PDPTEs of its nested tables, which the processor reads from memory in each walk. */
export function nestedPdpteScenarios(cell: NptCell): Scenario[] {
  if (cell.l1 !== 'PAE') return [];
  const spaces = nptSpaces(cell, SPACE_OPTIONS);
  const other = matrixSpace('npt-other', 'PAE', SPACE_OPTIONS);
  const guest = plainGuest(cell.l2, spaces.nested.targets);
  const writer = new ProbeWriter();
  const place = spaces.nested.pdpte!;
  const edit = (to: string, flags: EntryFlags): Step => ({ do: 'edit', ...place, entry: { to, flags } });
  const look = (vmcb: VmcbChanges, turn: number): Step[] =>
    visitA(
      guest.targets.flatMap((target) =>
        [0, 2, 3].map((offset) => writer.probe(target, BASIC_PROBES[(turn + offset) % BASIC_PROBES.length])),
      ),
      vmcb,
    );
  const steps: Step[] = look({}, 0);
  FLAGS.forEach((flags, index) => {
    const [here, there] = index % 2 === 0 ? ['npt.pd', 'npt-other.pd'] : ['npt-other.pd', 'npt.pd'];
    steps.push(edit(here, flags), ...look({ tlbControl: 'asid' }, index));
    steps.push(edit(there, 'P'), ...look({}, index + 1), ...look({ tlbControl: 'all' }, index + 2));
  });
  return [
    nptScenario(cell, {
      family: 'nested-pdptes',
      about: 'PDPTEs of nested tables change between visits of L2.',
      spaces,
      guest,
      l1Flags: ['CR0.WP', ...(cell.l2 === 'PAE' ? nxOfNested(cell) : [])],
      pages: pagesOf(other),
      steps,
    }),
  ];
}
