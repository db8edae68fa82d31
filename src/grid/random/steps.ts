import fc from 'fast-check';
import {
  type EnterStep,
  HOST_MEMORY_ACTIONS,
  SETTABLE_FLAGS,
  type Step,
  TLB_CONTROL_NAMES,
  type VmcbChanges,
} from '../scenario.ts';
import { edit, oneOf, partialEdit, readOf } from './edits.ts';
import { motifsAt } from './motifs.ts';
import { aliasEdit, crossing, probe } from './probes.ts';
import { asid, flags, linearAddress, mode, rootOf, type Shape, space } from './shape.ts';
import { slotsOf } from './slots.ts';

type StepArbitrary = fc.Arbitrary<Step>;

const INJECTED: readonly NonNullable<VmcbChanges['inject']>[] = [
  { vector: 13, errorCode: 0x10 },
  { vector: 14, errorCode: 7 },
  { vector: 6 },
  { vector: 32 },
];

/**
 * Steps on a shape: one, or a few that belong together. Whether they can stand where they come is not looked at here; see
 * `repair`.
 */
export function stepsOn(ground: Shape): fc.Arbitrary<Step[]> {
  const parts = new StepParts(ground);
  const motif = fc.constantFrom(...ground.linear).chain((page) => motifsAt(ground, page, parts.enter));
  return oneOf<Step[]>([
    [5, parts.any.map((step) => [step])],
    [2, motif],
  ]);
}

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
    const { roots, tables, data, frames, linear, l2 } = ground;
    const root = fc.constantFrom(...roots).map(rootOf);
    const at = fc.constantFrom(...linear).map(linearAddress);
    const slot = fc.constantFrom(...slotsOf(ground));
    this.enter = enter(Object.keys(l2), root);
    const removable = fc.constantFrom(...tables, ...data);
    const movable = fc.constantFrom(...roots, ...tables, ...data, ...frames);
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
    ]);
  }
}

const enter = (names: readonly string[], root: fc.Arbitrary<string>): fc.Arbitrary<EnterStep> => {
  const change = <T>(arbitrary: fc.Arbitrary<T>, weight = 4): fc.Arbitrary<T | undefined> =>
    fc.oneof({ weight, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
  const changes = fc.record({
    mode: change(mode),
    root: change(root),
    flags: change(flags),
    asid: change(asid),
    interceptPageFaults: change(fc.boolean()),
    tlbControl: change(fc.constantFrom(...TLB_CONTROL_NAMES)),
    inject: change(fc.constantFrom(...INJECTED), 9),
  });
  return fc
    .record({ l2: fc.constantFrom(...names), changes, reflect: fc.boolean() })
    .map(({ l2, changes: all, reflect }) => {
      const vmcb = Object.fromEntries(
        Object.entries(all).filter(([, to]) => to !== undefined),
      ) as VmcbChanges;
      return {
        do: 'enter',
        l2,
        ...(Object.keys(vmcb).length === 0 ? {} : { vmcb }),
        ...(reflect ? { reflect } : {}),
      };
    });
};
