import type { Scenario, Step } from '../scenario.ts';
import { type Cell, cellScenarioName, flagSet, flagSteps, pagesOf, withFeatures } from './cell.ts';
import { ProbeWriter } from './probes.ts';
import { matrixSpace, stateOf } from './space.ts';

/** Sets of WP, SMEP, SMAP and NX, and how many of them one scenario goes through. */
const FLAG_SETS = 16;
const SETS_PER_SCENARIO = 4;

/**
 * There and back through every set of CR0.WP, CR4.SMEP, CR4.SMAP and EFER.NX in L2, L1 having another set: all kinds
 * of pages probed in both. L1 changes L2's registers in the VMCB every other time, otherwise L2 does it itself.
 */
export function registerScenarios(cell: Cell): Scenario[] {
  return Array.from({ length: FLAG_SETS / SETS_PER_SCENARIO }, (_, part) => registerScenario(cell, part));
}

function registerScenario(cell: Cell, part: number): Scenario {
  const quadrant = (part % 4) as 0 | 1 | 2 | 3;
  const outer = matrixSpace('l1', cell.l1, { quadrant, frame: 0 });
  const inner = matrixSpace('l2', cell.l2, { quadrant, frame: 1 });
  const writer = new ProbeWriter(part * 5);
  const sets = Array.from({ length: SETS_PER_SCENARIO }, (_, index) => part + index * SETS_PER_SCENARIO);
  const outerSets = sets.map((set) => flagSet((set * 7 + 3) % FLAG_SETS));
  const innerSets = sets.map(flagSet);
  const steps: Step[] = [{ do: 'registers' }];
  sets.forEach((_, index) => {
    if (index > 0) steps.push(...flagSteps(outerSets[index - 1], outerSets[index]));
    steps.push(...(index === 0 ? writer.all(outer.targets) : writer.some(outer.targets)));
    const byVmcb = index % 2 === 1;
    steps.push({ do: 'enter', l2: 'A', ...(byVmcb ? { vmcb: { flags: innerSets[index] } } : {}) });
    if (!byVmcb && index > 0) steps.push(...flagSteps(innerSets[index - 1], innerSets[index]));
    steps.push({ do: 'registers' }, ...writer.all(inner.targets), { do: 'leave' });
    steps.push({ do: 'registers' });
  });
  steps.push(...writer.some(outer.targets));
  return withFeatures({
    name: cellScenarioName(cell, `registers-${part}`),
    about:
      'Every kind of page in L1 and L2, with CR0.WP, CR4.SMEP, CR4.SMAP and EFER.NX changing between visits.',
    pages: pagesOf(outer, inner),
    l1: stateOf(outer, outerSets[0]),
    l2: { A: { ...stateOf(inner, innerSets[0]), asid: 1 } },
    steps,
  });
}
