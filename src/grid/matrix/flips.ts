import type { Flag, Scenario, Step } from '../scenario.ts';
import { type Cell, cellScenarioName, pagesOf, withFeatures } from './cell.ts';
import { type ProbeKind, ProbeWriter } from './probes.ts';
import { type MatrixSpace, matrixSpace, stateOf } from './space.ts';

const SPACE_OPTIONS = {
  leaves: ['present', 'read-only', 'supervisor-read-only', 'nx', 'nx-read-only'],
  directories: ['dir', 'dir-read-only', 'large-read-only'],
} as const;

/** The flags that decide what an access may do, each with the access that a change of it shows in. */
const FLIPPED: readonly (readonly [Flag, ProbeKind])[] = [
  ['CR4.SMEP', { form: 'fetch', cpl: 0 }],
  ['CR4.SMAP', { form: 'read4', cpl: 0 }],
  ['CR0.WP', { form: 'write4', cpl: 0 }],
  ['EFER.NX', { form: 'fetch', cpl: 3 }],
];
/** With CR0.WP clear, a supervisor's store is what makes a shadow page lie about U/S. */
const TWIST: ProbeKind = { form: 'write4', cpl: 0 };
/** Flips between two visits of the other level. */
const VISIT_EVERY = 8;

/**
 * One flag at a time changes, through all sets of the four, four times over with another one changing most often. After
 * each change the first access to a page is the one that must notice; before it, a supervisor has written to the page.
 */
export function flipScenarios(cell: Cell): Scenario[] {
  return cell.l2 === 'off' ? [flips(cell, 'l1')] : [flips(cell, 'l1'), flips(cell, 'l2')];
}

function flips(cell: Cell, who: 'l1' | 'l2'): Scenario {
  const outer = matrixSpace('l1', cell.l1, { ...SPACE_OPTIONS, frame: 0 });
  const inner = matrixSpace('l2', cell.l2, { ...SPACE_OPTIONS, frame: 1 });
  const [mine, theirs] = who === 'l1' ? [outer, inner] : [inner, outer];
  const writer = new ProbeWriter();
  const away: Step[] =
    who === 'l1'
      ? [{ do: 'enter', l2: 'A' }, ...look(theirs, writer, TWIST), { do: 'leave' }]
      : [{ do: 'leave' }, ...look(theirs, writer, TWIST), { do: 'enter', l2: 'A' }];
  const steps = look(mine, writer, TWIST);
  grayTour().forEach(({ flag, value, noticed }, index) => {
    steps.push({ do: 'set', flag, value });
    if (index % VISIT_EVERY === VISIT_EVERY - 1) steps.push(...away);
    for (const target of mine.targets) steps.push(writer.probe(target, noticed), writer.probe(target, TWIST));
  });
  return withFeatures({
    name: cellScenarioName(cell, `flips-of-${who}`),
    about: `${who.toUpperCase()} changes CR0.WP, CR4.SMEP, CR4.SMAP and EFER.NX one at a time, through all sets.`,
    pages: pagesOf(outer, inner),
    l1: stateOf(outer),
    l2: { A: { ...stateOf(inner), asid: 1 } },
    steps: who === 'l1' ? steps : [{ do: 'enter', l2: 'A' }, ...steps, { do: 'leave' }],
  });
}

const look = (space: MatrixSpace, writer: ProbeWriter, kind: ProbeKind): Step[] =>
  space.targets.map((target) => writer.probe(target, kind));

interface Flip {
  readonly flag: Flag;
  readonly value: boolean;
  readonly noticed: ProbeKind;
}

/** Cyclic Gray codes of four bits, once for each flag as the lowest bit; each starts and ends with all flags clear. */
function grayTour(): Flip[] {
  const flips: Flip[] = [];
  FLIPPED.forEach((_, rotation) => {
    let before = 0;
    for (let count = 1; count <= 16; count++) {
      const code = count === 16 ? 0 : count ^ (count >> 1);
      const bit = Math.log2(before ^ code);
      const [flag, noticed] = FLIPPED[(bit + rotation) % FLIPPED.length];
      flips.push({ flag, value: code > before, noticed });
      before = code;
    }
  });
  return flips;
}
