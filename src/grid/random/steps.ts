import fc from 'fast-check';
import {
  type EnterStep,
  HOST_MEMORY_ACTIONS,
  SETTABLE_FLAGS,
  type Step,
  TLB_CONTROL_NAMES,
  type VmcbChanges,
} from '../scenario.ts';
import { aliasEdit, crossing, probe, storeAt } from './probes.ts';
import { asid, flags, linearAddress, mode, rootOf, type Shape, space } from './shape.ts';
import { entryFor, type Slot, slotsOf, widthOf } from './slots.ts';

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
  return oneOf<Step[]>([
    [12, parts.any.map((step) => [step])],
    [1, parts.toggled],
    [2, parts.edited],
    [1, parts.editedFromOutside],
  ]);
}

const oneOf = <T>(weighted: readonly (readonly [number, fc.Arbitrary<T>])[]): fc.Arbitrary<T> =>
  fc.oneof(...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary })));

/** Bits that shadow paging has to imitate: what was written before they change must not outlive them. */
const TOGGLED = ['CR0.WP', 'CR4.SMEP', 'CR4.SMAP', 'EFER.NX'] as const;

class StepParts {
  readonly any: StepArbitrary;
  readonly #at: fc.Arbitrary<number>;
  readonly #slot: fc.Arbitrary<Slot>;
  readonly #enter: fc.Arbitrary<EnterStep>;
  readonly #edit: StepArbitrary;

  constructor(ground: Shape) {
    const { roots, tables, data, frames, linear, l2 } = ground;
    const root = fc.constantFrom(...roots).map(rootOf);
    this.#at = fc.constantFrom(...linear).map(linearAddress);
    this.#slot = fc.constantFrom(...slotsOf(ground));
    this.#enter = enter(Object.keys(l2), root);
    this.#edit = edit(ground, this.#slot);
    const removable = fc.constantFrom(...tables, ...data);
    const movable = fc.constantFrom(...roots, ...tables, ...data, ...frames);
    // biome-ignore format: table
    this.any = oneOf<Step>([
      [40, probe(this.#at)],
      [4,  crossing(this.#at)],
      [5,  aliasEdit(ground, this.#at, this.#slot)],
      [13, this.#edit],
      [2,  partialEdit(this.#slot)],
      [8,  this.#slot.map(readOf)],
      [6,  this.#at.map((at) => ({ do: 'invlpg', at }))],
      [2,  fc.record({ do: fc.constant('invlpga' as const), at: this.#at, asid: fc.integer({ min: 0, max: 3 }) })],
      [3,  fc.constant({ do: 'reload-cr3' })],
      [3,  root.map((page) => ({ do: 'load-cr3', root: page }))],
      [9,  fc.record({ do: fc.constant('set' as const), flag: fc.constantFrom(...SETTABLE_FLAGS), value: fc.boolean() })],
      [3,  space(roots).map((state) => ({ do: 'switch', ...state }))],
      [9,  this.#enter],
      [4,  fc.constant({ do: 'leave' })],
      [3,  movable.map((page) => ({ do: 'host', action: 'move', page }))],
      [1,  fc.record({ do: fc.constant('host' as const), action: fc.constantFrom(...HOST_MEMORY_ACTIONS), page: removable })],
      [2,  fc.constant({ do: 'registers' })],
    ]);
  }

  /** A store to a page, and a look at it after each change of a bit. */
  get toggled(): fc.Arbitrary<Step[]> {
    return this.#at.chain((at) => {
      const look = probe(fc.constant(at));
      return fc
        .record({
          flag: fc.constantFrom(...TOGGLED),
          value: fc.boolean(),
          store: storeAt(at),
          first: look,
          second: look,
        })
        .map(({ flag, value, store, first, second }) => [
          store,
          { do: 'set', flag, value },
          first,
          { do: 'set', flag, value: !value },
          second,
        ]);
    });
  }

  /** A look at a page, an edit, perhaps an invalidation, and another look. */
  get edited(): fc.Arbitrary<Step[]> {
    return this.#at.chain((at) => {
      const look = probe(fc.constant(at));
      const invalidation = fc.constantFrom<Step[]>([], [{ do: 'invlpg', at }], [{ do: 'reload-cr3' }]);
      return fc
        .record({ first: look, edit: this.#edit, invalidation, second: look, read: this.#slot.map(readOf) })
        .map(({ first, edit: change, invalidation: drop, second, read }) => [
          first,
          change,
          ...drop,
          second,
          read,
        ]);
    });
  }

  /** L1 edits between two visits to an L2. */
  get editedFromOutside(): fc.Arbitrary<Step[]> {
    return this.#at.chain((at) => {
      const look = probe(fc.constant(at));
      return fc
        .record({ visit: this.#enter, first: look, edit: this.#edit, second: look })
        .map(({ visit, first, edit: change, second }) => [
          visit,
          first,
          { do: 'leave' },
          change,
          { do: 'enter', l2: visit.l2 },
          second,
          { do: 'leave' },
        ]);
    });
  }
}

const readOf = (slot: Slot): Step => ({
  do: 'read',
  page: slot.page,
  offset: slot.index * widthOf(slot),
  width: widthOf(slot),
});

const edit = (ground: Shape, slot: fc.Arbitrary<Slot>): StepArbitrary =>
  slot.chain((place) => {
    const width = widthOf(place);
    const order = fc.constantFrom<undefined | 'low-first' | 'high-first'>(
      undefined,
      undefined,
      'low-first',
      'high-first',
    );
    return fc.record({ entry: entryFor(place, ground), order }).map(
      ({ entry, order: how }): Step => ({
        do: 'edit',
        page: place.page,
        index: place.index,
        width,
        entry,
        ...(width === 8 && how !== undefined ? { stores: how } : {}),
      }),
    );
  });

/** A store of a part of an entry: of its flags, or of two bytes somewhere in it. */
const partialEdit = (slot: fc.Arbitrary<Slot>): StepArbitrary =>
  fc
    .record({
      place: slot,
      width: fc.constantFrom(1 as const, 2 as const),
      stored: fc.constantFrom(0, 0x07, 0x21, 0x25, 0x27, 0x65, 0x67),
    })
    .map(({ place, width, stored }) => ({
      do: 'write',
      page: place.page,
      offset: place.index * widthOf(place),
      width: 1,
      value: stored,
      ...(width === 2 ? { offset: place.index * widthOf(place) + 2, width } : {}),
    }));

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
