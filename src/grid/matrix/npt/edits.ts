import type { Entry, Flag, Scenario, Step, TlbControlName, VmcbChanges } from '../../scenario.ts';
import { readEntry, type Victim, victims } from '../edits.ts';
import { BASIC_PROBES, ProbeWriter } from '../probes.ts';
import type { Target } from '../space.ts';
import { type NptCell, type NptSpaces, nptScenario, nptSpaces, nxOfNested, visitA } from './cell.ts';
import { type GuestSpace, plainGuest } from './guest.ts';

const SPACE_OPTIONS = {
  leaves: ['present', 'read-only', 'dirty'],
  directories: ['dir', 'dir-read-only', 'dir-supervisor', 'large', 'large-read-only'],
} as const;

/** What L1 does about an edit: nothing, TLB_CONTROL, an ASID of its own for the next visit, or INVLPGA. */
type Remedy = 'nothing' | 'new ASID' | 'INVLPGA' | TlbControlName;
const REMEDIES: readonly Remedy[] = ['nothing', 'asid', 'INVLPGA', 'all', 'new ASID', 'asid-non-global'];
/** ASIDs are not given twice in one scenario; processors have at least 8. */
const MOST_ASIDS = 7;

/** L1 changes nested entries at every level between visits of L2, and tells the processor in one way or another. */
export function nestedEditScenarios(cell: NptCell): Scenario[] {
  return [
    edits(cell, 'edits-flushed', nxOfNested(cell), (turn) => REMEDIES[1 + (turn % (REMEDIES.length - 1))]),
    edits(cell, 'edits-unflushed', [], (turn) => (turn % 4 === 3 ? 'asid' : 'nothing')),
    mends(cell),
  ];
}

function parts(cell: NptCell): { spaces: NptSpaces; guest: GuestSpace; all: readonly Victim[] } {
  const spaces = nptSpaces(cell, SPACE_OPTIONS);
  const guest = plainGuest(cell.l2, spaces.nested.targets);
  return { spaces, guest, all: victims(spaces.nested) };
}

/** Where L2 has the page of a nested target. */
const seenBy = (guest: GuestSpace, spaces: NptSpaces, { at }: Target): Target =>
  guest.targets[spaces.nested.targets.findIndex((target) => target.at === at)];

function edits(
  cell: NptCell,
  family: string,
  nx: readonly Flag[],
  remedyAt: (turn: number) => Remedy,
): Scenario {
  const { spaces, guest, all } = parts(cell);
  const writer = new ProbeWriter();
  const steps: Step[] = visitA(writer.some(guest.targets));
  let turn = 0;
  let asid = 1;
  for (const { place, target, values } of all) {
    const seen = seenBy(guest, spaces, target);
    for (const entry of values) {
      const kind = (offset: number) => BASIC_PROBES[(turn + offset) % BASIC_PROBES.length];
      let remedy = remedyAt(turn);
      if (remedy === 'new ASID' && asid === MOST_ASIDS) remedy = 'asid';
      if (remedy === 'new ASID') asid++;
      const vmcb: VmcbChanges = vmcbFor(remedy, asid);
      steps.push({ do: 'edit', ...place, entry });
      if (remedy === 'INVLPGA') steps.push({ do: 'invlpga', at: seen.at, asid });
      const probes = [0, 1, 3].map((offset) => writer.probe(seen, kind(offset)));
      steps.push(...visitA(probes, vmcb), readEntry(place));
      turn++;
    }
  }
  return nptScenario(cell, {
    family,
    about: 'L1 changes nested entries at every level between visits of L2.',
    spaces,
    guest,
    l1Flags: ['CR0.WP', ...nx],
    steps: [...steps, ...visitA(writer.some(guest.targets))],
  });
}

function vmcbFor(remedy: Remedy, asid: number): VmcbChanges {
  switch (remedy) {
    case 'nothing':
    case 'INVLPGA':
      return {};
    case 'new ASID':
      return { asid };
    default:
      return { tlbControl: remedy };
  }
}

/** L2 meets entries that forbid what it does; L1 mends them, and L2 tries again. */
function mends(cell: NptCell): Scenario {
  const { spaces, guest, all } = parts(cell);
  const writer = new ProbeWriter();
  const steps: Step[] = [];
  const forbidding: readonly string[] = ['', 'P W', 'W U'];
  for (const { place, target, values } of all) {
    const seen = seenBy(guest, spaces, target);
    const full: Entry = values.at(-1)!;
    forbidding.forEach((flags, index) => {
      const suffix = full.flags.includes('PS') ? ' PS' : '';
      const wrong: Entry = flags === '' ? { flags } : { to: full.to!, flags: flags + suffix };
      steps.push(
        { do: 'edit', ...place, entry: wrong },
        { do: 'enter', l2: 'A', mend: { ...place, entry: full }, vmcb: { tlbControl: 'asid' } },
        writer.probe(seen, BASIC_PROBES[index]),
        writer.probe(seen, BASIC_PROBES[index + 3]),
        { do: 'leave' },
        readEntry(place),
      );
    });
  }
  return nptScenario(cell, {
    family: 'mends',
    about: 'L1 mends a nested entry when L2 meets it, and L2 tries again.',
    spaces,
    guest,
    steps,
  });
}
