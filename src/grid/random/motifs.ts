import fc from 'fast-check';
import type { EnterStep, Step } from '../scenario.ts';
import { edit, oneOf, readOf } from './edits.ts';
import { probe, storeAt } from './probes.ts';
import { type LinearPage, linearAddress, rootOf, type Shape } from './shape.ts';
import { slotsOf } from './slots.ts';

/** Bits that shadow paging has to imitate: what was mapped before they change must not outlive them. */
const TOGGLED = ['CR0.WP', 'CR4.SMEP', 'CR4.SMAP', 'EFER.NX'] as const;
/** Bits whose change loads the PDPTEs, and one whose change does not (SDM vol. 3A 4.4.1). */
const LOADING = ['CR4.PGE', 'CR4.PSE', 'CR4.SMEP', 'CR4.SMAP'] as const;

/**
 * A few steps that belong together, about one linear page and the entries on the way to it: what finds the bugs of MMUs
 * comes together by chance too rarely.
 */
export function motifsAt(
  ground: Shape,
  page: LinearPage,
  enter: fc.Arbitrary<EnterStep>,
): fc.Arbitrary<Step[]> {
  const at = linearAddress(page);
  const slots = slotsOf({ ...ground, linear: [page] });
  const slot = fc.constantFrom(...slots);
  const pdptes = slots.filter(({ kind }) => kind === 'PDPTE');
  const look = probe(fc.constant(at));
  const change = edit(ground, slot);
  const read = slot.map(readOf);
  const root = fc.constantFrom(...ground.roots).map(rootOf);
  const drop = fc.constantFrom<Step[]>(
    [],
    [{ do: 'invlpg', at }],
    [{ do: 'reload-cr3' }],
    [{ do: 'reload-cr3' }],
  );

  // A store to a page, and a look at it after each change of a bit.
  const toggled = fc
    .record({
      flag: fc.constantFrom(...TOGGLED),
      value: fc.boolean(),
      store: storeAt(at),
      first: look,
      second: look,
    })
    .map(({ flag, value, store, first, second }): Step[] => [
      store,
      { do: 'set', flag, value },
      first,
      { do: 'set', flag, value: !value },
      second,
    ]);
  // A look, an edit, perhaps an invalidation, another look.
  const edited = fc
    .record({ first: look, edited: change, dropped: drop, second: look, read })
    .map(({ first, edited: entry, dropped, second, read: seen }): Step[] => [
      first,
      entry,
      ...dropped,
      second,
      seen,
    ]);
  // L1 edits between two visits to an L2.
  const fromOutside = fc
    .record({ visit: enter, first: look, edited: change, second: look })
    .map(({ visit, first, edited: entry, second }): Step[] => [
      visit,
      first,
      { do: 'leave' },
      entry,
      { do: 'enter', l2: visit.l2 },
      second,
      { do: 'leave' },
    ]);
  // A table changes while another root is in use.
  const elsewhere = fc
    .record({ home: root, first: look, away: root, there: look, edited: change, back: look })
    .map(({ home, first, away, there, edited: entry, back }): Step[] => [
      { do: 'load-cr3', root: home },
      first,
      { do: 'load-cr3', root: away },
      there,
      entry,
      { do: 'load-cr3', root: home },
      back,
    ]);
  // PDPTEs change in memory, and a bit that may load them.
  const loaded =
    pdptes.length === 0
      ? edited
      : fc
          .record({
            edited: edit(ground, fc.constantFrom(...pdptes)),
            first: look,
            flag: fc.constantFrom(...LOADING),
            value: fc.boolean(),
            second: look,
            third: look,
          })
          .map(({ edited: entry, first, flag, value, second, third }): Step[] => [
            entry,
            first,
            { do: 'set', flag, value },
            second,
            { do: 'set', flag, value: !value },
            third,
          ]);
  return oneOf<Step[]>([
    [2, toggled],
    [4, edited],
    [2, fromOutside],
    [2, elsewhere],
    [2, loaded],
  ]);
}
