import type { ProbeStep, Scenario, Step } from '../../scenario.ts';
import { flagSet, withFeatures } from '../cell.ts';
import { CROSSING_BASE, CROSSING_PAGES, crossingSpace } from '../crossings.ts';
import { matrixSpace, stateOf } from '../space.ts';
import { type NptCell, nptScenarioName, SETTLED, visitA } from './cell.ts';
import { GUEST_BASE, guestOver } from './guest.ts';

const PAGE = 0x1000;

/** Accesses of L2 cross from a nested page into its neighbour, for nested pages of all kinds. */
export function nestedCrossingScenarios(cell: NptCell): Scenario[] {
  const nested = crossingSpace('npt', cell.l1);
  const pages = Array.from({ length: CROSSING_PAGES }, (_, index) => CROSSING_BASE + index * PAGE);
  const guest = guestOver(
    cell.l2,
    pages.map((to) => ({ to, flags: SETTLED, target: { at: to, about: '', page: '' }, about: '' })),
  );
  const offset = cell.l2 === 'off' ? 0 : GUEST_BASE - CROSSING_BASE;
  const probes = nested.probes.map((probe): ProbeStep => ({ ...probe, at: probe.at + offset }));
  const outer = matrixSpace('l1', cell.l1, { quadrant: 3, leaves: ['present'], directories: ['dir'] });
  // The second time everything is accessed, dirty, and cached where it can be.
  const steps: Step[] = [...visitA(probes), ...visitA(probes)];
  return [5, 12].map((flags) =>
    withFeatures({
      name: nptScenarioName(cell, `crossings-${flags}`),
      about: 'Accesses cross from each nested page into its neighbour.',
      pages: { ...outer.pages, ...nested.pages, ...guest.pages },
      l1: stateOf(outer, flagSet(flags)),
      l2: { A: { ...guest.state, flags: flagSet(flags ^ 7), asid: 1, nested: nested.state.root! } },
      steps,
    }),
  );
}
