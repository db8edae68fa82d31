import fc from 'fast-check';
import { PROBE_FORMS, type ProbeForm, type ProbeFormName } from '../../guest/probe-forms.ts';
import { MARKER_OFFSET, markerOffset } from '../marker.ts';
import {
  HOST_MEMORY_ACTIONS,
  SETTABLE_FLAGS,
  type Step,
  TLB_CONTROL_NAMES,
  type VmcbChanges,
} from '../scenario.ts';
import { asid, flags, linearAddress, mode, rootOf, type Shape, space } from './shape.ts';
import { entryFor, type Slot, slotsOf, widthOf } from './slots.ts';

type Probe = Extract<Step, { do: 'probe' }>;
type StepArbitrary = fc.Arbitrary<Step>;

// biome-ignore format: table
/** The plain accesses come more often than the others. */
const COMMON: readonly ProbeFormName[] = ['read4', 'write4', 'fetch', 'read4', 'write4', 'rmw4'];
const CROSSING: readonly ProbeFormName[] = ['read4', 'write4', 'rmw4', 'read2', 'write2', 'read4.ss'];
const INJECTED: readonly NonNullable<VmcbChanges['inject']>[] = [
  { vector: 13, errorCode: 0x10 },
  { vector: 14, errorCode: 7 },
  { vector: 6 },
  { vector: 32 },
];

/** Steps on a shape. Whether one can stand where it comes is not looked at here; see `repair`. */
export function stepOn(ground: Shape): StepArbitrary {
  const { roots, tables, data, l2 } = ground;
  const at = fc.constantFrom(...ground.linear).map(linearAddress);
  const slot = fc.constantFrom(...slotsOf(ground));
  const root = fc.constantFrom(...roots).map(rootOf);
  const removable = [...tables, ...data];
  const step = <T extends Step>(weight: number, arbitrary: fc.Arbitrary<T>) => ({ weight, arbitrary });
  return fc.oneof(
    step<Step>(40, probe(at)),
    step<Step>(4, crossing(at)),
    step<Step>(5, aliasEdit(ground, at, slot)),
    step<Step>(13, edit(ground, slot)),
    step<Step>(2, partialEdit(slot)),
    step<Step>(
      8,
      slot.map((place) => ({
        do: 'read',
        page: place.page,
        offset: place.index * widthOf(place),
        width: widthOf(place),
      })),
    ),
    step<Step>(
      6,
      at.map((linear) => ({ do: 'invlpg', at: linear })),
    ),
    step<Step>(
      2,
      fc
        .tuple(at, fc.integer({ min: 0, max: 3 }))
        .map(([linear, of]) => ({ do: 'invlpga', at: linear, asid: of })),
    ),
    step<Step>(3, fc.constant({ do: 'reload-cr3' })),
    step<Step>(
      3,
      root.map((page) => ({ do: 'load-cr3', root: page })),
    ),
    step<Step>(
      9,
      fc.record({
        do: fc.constant('set' as const),
        flag: fc.constantFrom(...SETTABLE_FLAGS),
        value: fc.boolean(),
      }),
    ),
    step<Step>(
      3,
      space(roots).map((state) => ({ do: 'switch', ...state })),
    ),
    step<Step>(9, enter(Object.keys(l2), root)),
    step<Step>(6, fc.constant({ do: 'leave' })),
    step<Step>(
      3,
      fc
        .constantFrom(...roots, ...removable, ...ground.frames)
        .map((page) => ({ do: 'host', action: 'move', page })),
    ),
    step<Step>(
      1,
      fc.record({
        do: fc.constant('host' as const),
        action: fc.constantFrom(...HOST_MEMORY_ACTIONS),
        page: fc.constantFrom(...removable),
      }),
    ),
    step<Step>(2, fc.constant({ do: 'registers' })),
  );
}

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

/** A probe of the marker that lies in every page. */
const probe = (at: fc.Arbitrary<number>): fc.Arbitrary<Probe> =>
  fc
    .record({ form, at, cpl, value, ac })
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
const crossing = (at: fc.Arbitrary<number>): fc.Arbitrary<Probe> =>
  fc
    .record({ form: fc.constantFrom(...CROSSING), at, cpl, value })
    .map(({ form: name, at: page, cpl: ring, value: stored }) => {
      const kind = formOf(name);
      const stored1 = stores(kind) ? { value: stored } : {};
      return { do: 'probe', form: name, cpl: ring, at: page + 0x1000 - kind.size / 2, ...stored1 };
    });

/** A store of an entry through whatever the linear page maps: often a table. */
const aliasEdit = (ground: Shape, at: fc.Arbitrary<number>, slot: fc.Arbitrary<Slot>): fc.Arbitrary<Probe> =>
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

const enter = (names: readonly string[], root: fc.Arbitrary<string>): StepArbitrary => {
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
