import type { EntryFlags, Scenario, SettableFlag, Step } from '../scenario.ts';
import { type Cell, cellScenarioName, pagesOf, withFeatures } from './cell.ts';
import { BASIC_PROBES, ProbeWriter } from './probes.ts';
import { type MatrixSpace, matrixSpace, stateOf, type Target } from './space.ts';

const SPACE_OPTIONS = { leaves: ['present', 'read-only'], directories: ['dir'], quadrant: 3 } as const;

/** Register changes after which the processor has loaded the PDPTEs anew, or has not (SDM vol. 3A 4.4.1). */
const RELOADS: readonly SettableFlag[] = ['CR0.WP', 'CR4.SMAP', 'CR4.SMEP', 'CR4.PGE', 'CR4.PSE'];
/** Reserved bits of a PDPTE. */
const RESERVED: readonly EntryFlags[] = ['P W', 'P U', 'P A', 'P G', 'P 51', 'P NX'];

/** PDPTEs change in memory, with and without the register writes that load them. Only for cells with PAE paging. */
export function pdpteScenarios(cell: Cell): Scenario[] {
  const scenarios: Scenario[] = [];
  if (cell.l1 === 'PAE') scenarios.push(pdptes(cell, 'l1'));
  if (cell.l2 === 'PAE') scenarios.push(pdptes(cell, 'l2'), illegalAtEntry(cell));
  return scenarios;
}

/** Two directories under one PDPTE in turn. */
interface PdpteSpace {
  readonly space: MatrixSpace;
  readonly other: MatrixSpace;
  readonly target: Target;
}

function pdpteSpace(prefix: string): PdpteSpace {
  const space = matrixSpace(prefix, 'PAE', SPACE_OPTIONS);
  const other = matrixSpace(`${prefix}-other`, 'PAE', SPACE_OPTIONS);
  return { space, other, target: space.targets[0] };
}

function edit({ space }: PdpteSpace, to: string, flags: EntryFlags): Step {
  const { page, index } = space.pdpte!;
  return { do: 'edit', page, index, width: 8, entry: { to, flags } };
}

function pdptes(cell: Cell, who: 'l1' | 'l2'): Scenario {
  const mine = pdpteSpace(who);
  const theirs = matrixSpace(who === 'l1' ? 'l2' : 'l1', who === 'l1' ? cell.l2 : cell.l1, SPACE_OPTIONS);
  const writer = new ProbeWriter();
  const steps: Step[] = [];
  const look = (): Step[] => [
    writer.probe(mine.target, BASIC_PROBES[1]),
    writer.probe(mine.target, BASIC_PROBES[2]),
  ];
  const visit: Step[] = [{ do: 'enter', l2: 'A' }, ...writer.some(theirs.targets), { do: 'leave' }];
  const away: Step[] =
    who === 'l1' ? visit : [{ do: 'leave' }, ...writer.some(theirs.targets), { do: 'enter', l2: 'A' }];
  const directories = [`${mine.other.prefix}.pd`, `${mine.space.prefix}.pd`];

  if (who === 'l2') steps.push({ do: 'enter', l2: 'A' });
  steps.push(...look());
  RELOADS.forEach((flag, index) => {
    steps.push(edit(mine, directories[index % 2], 'P'), ...look());
    steps.push({ do: 'set', flag, value: flag !== 'CR0.WP' }, ...look());
    steps.push({ do: 'set', flag, value: flag === 'CR0.WP' }, ...look(), { do: 'reload-cr3' }, ...look());
  });
  // Absent and back; then another level runs in between, which loads them anew.
  steps.push(edit(mine, directories[1], ''), ...look(), { do: 'reload-cr3' }, ...look());
  steps.push(edit(mine, directories[0], 'P'), ...look(), ...away, ...look());
  steps.push(edit(mine, directories[1], 'P'), ...away, ...look());
  for (const flags of RESERVED) {
    steps.push(edit(mine, directories[0], flags), ...look(), { do: 'reload-cr3' }, ...look());
    steps.push(edit(mine, directories[1], 'P'), { do: 'reload-cr3' }, ...look());
  }
  // Reserved bits of an absent entry do not count.
  steps.push(edit(mine, directories[0], 'W U NX'), { do: 'reload-cr3' }, ...look());
  if (who === 'l2') steps.push(edit(mine, directories[0], 'P'), { do: 'leave' }, ...visit);
  return withFeatures({
    name: cellScenarioName(cell, `pdptes-of-${who}`),
    about: `PDPTEs of ${who.toUpperCase()} change in memory; registers are written that load them or do not.`,
    pages: pagesOf(mine.space, mine.other, theirs),
    l1: stateOf(who === 'l1' ? mine.space : theirs, ['CR0.WP', 'EFER.NX']),
    l2: { A: { ...stateOf(who === 'l1' ? theirs : mine.space, ['CR0.WP', 'EFER.NX']), asid: 1 } },
    steps,
  });
}

/** L1 makes L2's PDPTEs illegal while L2 is away: VMRUN refuses, or the processor finds out on use. */
function illegalAtEntry(cell: Cell): Scenario {
  const outer = matrixSpace('l1', cell.l1, SPACE_OPTIONS);
  const mine = pdpteSpace('l2');
  const writer = new ProbeWriter();
  const look = (): Step[] => writer.some(mine.space.targets);
  const steps: Step[] = [{ do: 'enter', l2: 'A' }, ...look(), { do: 'leave' }];
  for (const flags of RESERVED) {
    steps.push(edit(mine, `${mine.other.prefix}.pd`, flags), { do: 'enter', l2: 'A' }, ...look(), {
      do: 'leave',
    });
    steps.push(...writer.some(outer.targets));
    steps.push(edit(mine, `${mine.space.prefix}.pd`, 'P'), { do: 'enter', l2: 'A' }, ...look(), {
      do: 'leave',
    });
  }
  return withFeatures({
    name: cellScenarioName(cell, 'pdptes-illegal-at-entry'),
    about: "L2's PDPTEs have reserved bits set when L1 enters it.",
    pages: pagesOf(outer, mine.space, mine.other),
    l1: stateOf(outer, ['CR0.WP']),
    l2: { A: { ...stateOf(mine.space, ['CR0.WP']), asid: 1 } },
    steps,
  });
}
