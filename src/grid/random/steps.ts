import fc from 'fast-check';
import { type EnterStep, HOST_MEMORY_ACTIONS, SETTABLE_FLAGS, type Step } from '../scenario.ts';
import { edit, oneOf, partialEdit, readOf } from './edits.ts';
import { enterOn } from './enter.ts';
import { motifsAt } from './motifs.ts';
import { nestedMotifsAt } from './nested-motifs.ts';
import { l2Root } from './nested-shape.ts';
import { aliasEdit, crossing, probe } from './probes.ts';
import { linearAddress, rootOf, type Shape, space } from './shape.ts';
import { slotsOf } from './slots.ts';

type StepArbitrary = fc.Arbitrary<Step>;

/**
 * Steps on a shape: one, or a few that belong together. Whether they can stand where they come is not looked at here; see
 * `repair`.
 */
export function stepsOn(ground: Shape): fc.Arbitrary<Step[]> {
  const parts = new StepParts(ground);
  const motif = fc.constantFrom(...ground.linear).chain((page) => motifsAt(ground, page, parts.enter));
  const { nested } = ground;
  return oneOf<Step[]>([
    [5, parts.any.map((step) => [step])],
    [2, motif],
    ...nestedOnly<Step[]>(nested && [3, nestedMotifsAt(ground, nested, parts.enter)]),
  ]);
}

/** A further choice, or none. */
const nestedOnly = <T>(choice: readonly [number, fc.Arbitrary<T>] | undefined) =>
  choice === undefined ? [] : [choice];

/** One bit; paging goes on more often than off, or most of a scenario would be without. */
const setStep: StepArbitrary = oneOf([
  [
    8,
    fc.record({
      do: fc.constant('set' as const),
      flag: fc.constantFrom(...SETTABLE_FLAGS),
      value: fc.boolean(),
    }),
  ],
  [1, fc.constant<Step>({ do: 'set', flag: 'CR0.PG', value: true })],
]);

class StepParts {
  readonly any: StepArbitrary;
  readonly enter: fc.Arbitrary<EnterStep>;

  constructor(ground: Shape) {
    const { roots, tables, data, frames, linear, nested } = ground;
    const root = fc.constantFrom(...roots).map(rootOf);
    const at = fc.constantFrom(...linear).map(linearAddress);
    const l1Memory = [...roots, ...(nested?.roots ?? []), ...tables, ...data, ...frames];
    const slot = fc.constantFrom(...slotsOf(ground));
    this.enter = enterOn(ground);
    const removable = fc.constantFrom(...tables, ...data);
    const movable = fc.constantFrom(...l1Memory);
    // biome-ignore format: table
    this.any = oneOf<Step>([
      [40, probe(at)],
      [4,  crossing(at)],
      [5,  aliasEdit(ground, at, slot)],
      [13, edit(ground, slot)],
      [2,  partialEdit(slot)],
      [8,  slot.map(readOf)],
      [6,  at.map((page) => ({ do: 'invlpg', at: page }))],
      [2,  fc.record({ do: fc.constant('invlpga' as const), at, asid: fc.integer({ min: 0, max: 3 }) })],
      [3,  fc.constant({ do: 'reload-cr3' })],
      [3,  root.map((page) => ({ do: 'load-cr3', root: page }))],
      [9,  setStep],
      [3,  space(roots).map((state) => ({ do: 'switch', ...state }))],
      [9,  this.enter],
      [4,  fc.constant({ do: 'leave' })],
      [3,  movable.map((page) => ({ do: 'host', action: 'move', page }))],
      [1,  fc.record({ do: fc.constant('host' as const), action: fc.constantFrom(...HOST_MEMORY_ACTIONS), page: removable })],
      [2,  fc.constant({ do: 'registers' })],
      ...nestedOnly<Step>(nested && [6, this.enter]),
      ...nestedOnly<Step>(nested && [1, l2Root(roots, nested).map((page) => ({ do: 'load-cr3', root: page }))]),
    ]);
  }
}
