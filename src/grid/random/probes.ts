import fc from 'fast-check';
import { PROBE_FORMS, type ProbeForm, type ProbeFormName } from '../../guest/probe-forms.ts';
import { MARKER_OFFSET, markerOffset } from '../marker.ts';
import type { ProbeStep } from '../scenario.ts';
import type { Shape } from './shape.ts';
import { entryFor, type Slot, widthOf } from './slots.ts';

// biome-ignore format: table
/** The plain accesses come more often than the others. */
const COMMON: readonly ProbeFormName[] = ['read4', 'write4', 'fetch', 'read4', 'write4', 'rmw4'];
const CROSSING: readonly ProbeFormName[] = ['read4', 'write4', 'rmw4', 'read2', 'write2', 'read4.ss'];

const STORED = markerOffset(PROBE_FORMS.find(({ name }) => name === 'write4')!);

const formOf = (name: ProbeFormName): ProbeForm & { name: ProbeFormName } =>
  PROBE_FORMS.find((form) => form.name === name)!;
const stores = (form: ProbeForm): boolean => form.access === 'write' && form.implicit !== true;

/** Never the word of a marker: those have four equal bytes. */
const value = fc.integer({ min: 1, max: 0xffff }).map((low) => 0x5a00_0000 + low);

const form: fc.Arbitrary<ProbeFormName> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...COMMON) },
  { weight: 2, arbitrary: fc.constantFrom(...PROBE_FORMS.map(({ name }) => name)) },
);
const cpl = fc.constantFrom(0 as const, 3 as const);
const ac = fc.oneof(
  { weight: 5, arbitrary: fc.constant(false) },
  { weight: 1, arbitrary: fc.constant(true) },
);

/** A probe of the marker that lies in every page, of any form or of those given. */
export const probe = (
  at: fc.Arbitrary<number>,
  forms: fc.Arbitrary<ProbeFormName> = form,
): fc.Arbitrary<ProbeStep> =>
  fc
    .record({ form: forms, at, cpl, value, ac })
    .map(({ form: name, at: page, cpl: ring, value: stored, ac: alignment }) => {
      const kind = formOf(name);
      return {
        do: 'probe',
        form: name,
        cpl: kind.userOnly === true ? 3 : ring,
        at: page + MARKER_OFFSET + markerOffset(kind),
        ...(stores(kind) ? { value: stored } : {}),
        ...(alignment ? { ac: true } : {}),
      };
    });

/** A probe that ends in the next page. */
export const crossing = (at: fc.Arbitrary<number>): fc.Arbitrary<ProbeStep> =>
  fc
    .record({ form: fc.constantFrom(...CROSSING), at, cpl, value })
    .map(({ form: name, at: page, cpl: ring, value: stored }) => {
      const kind = formOf(name);
      const stored4 = stores(kind) ? { value: stored } : {};
      return { do: 'probe', form: name, cpl: ring, at: page + 0x1000 - kind.size / 2, ...stored4 };
    });

/** A store of an entry through whatever the linear page maps: often a table. */
export const aliasEdit = (
  ground: Shape,
  at: fc.Arbitrary<number>,
  slot: fc.Arbitrary<Slot>,
): fc.Arbitrary<ProbeStep> =>
  slot.chain((place) =>
    fc
      .record({
        form: fc.constantFrom<ProbeFormName>('write4', 'write4', 'rmw4'),
        at,
        cpl,
        entry: entryFor({ ...place, kind: 'PTE4' }, ground),
      })
      .map(({ at: page, ...rest }) => ({ do: 'probe', ...rest, at: page + place.index * widthOf(place) })),
  );

/** A plain store of the supervisor, to a page that it may not be allowed to write. */
export const storeAt = (at: number): fc.Arbitrary<ProbeStep> =>
  value.map((stored) => ({
    do: 'probe',
    form: 'write4',
    cpl: 0,
    at: at + MARKER_OFFSET + STORED,
    value: stored,
  }));
