import fc from 'fast-check';
import type { Step } from '../scenario.ts';
import type { Shape } from './shape.ts';
import { entryFor, type Slot, widthOf } from './slots.ts';

type StepArbitrary = fc.Arbitrary<Step>;

/** One of several arbitraries, each with its weight. */
export const oneOf = <T>(weighted: readonly (readonly [number, fc.Arbitrary<T>])[]): fc.Arbitrary<T> =>
  fc.oneof(...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary })));

/** Reads an entry, flags and all. */
export const readOf = (slot: Slot): Step => ({
  do: 'read',
  page: slot.page,
  offset: slot.index * widthOf(slot),
  width: widthOf(slot),
});

export const edit = (ground: Shape, slot: fc.Arbitrary<Slot>): StepArbitrary =>
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
export const partialEdit = (slot: fc.Arbitrary<Slot>): StepArbitrary =>
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
