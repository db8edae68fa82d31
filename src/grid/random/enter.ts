import fc from 'fast-check';
import { type EnterStep, type EntryEdit, TLB_CONTROL_NAMES, type VmcbChanges } from '../scenario.ts';
import { l2Root } from './nested-shape.ts';
import { asid, flags, mode, rootOf, type Shape } from './shape.ts';
import { entryFor, nestedSlotsOf, widthOf } from './slots.ts';

const INJECTED: readonly NonNullable<VmcbChanges['inject']>[] = [
  { vector: 13, errorCode: 0x10 },
  { vector: 14, errorCode: 7 },
  { vector: 6 },
  { vector: 32 },
];
/** Two with a reserved memory type, which VMRUN refuses (APM vol. 2 15.25.4), and two that differ. */
const PATS = ['0x0007040600070402', '0x0807040600070406', '0x0007040600070406', '0x0105040601050406'];
/** Bit 63 is beyond MAXPHYADDR. */
const NCR3_HIGH = [0, 0, 0, 0x8000_0000];

const change = <T>(arbitrary: fc.Arbitrary<T>, weight = 4): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

/** L1 enters an L2, perhaps with another VMCB than before. */
export function enterOn(ground: Shape): fc.Arbitrary<EnterStep> {
  const { roots, l2: states, nested } = ground;
  const root = nested === undefined ? fc.constantFrom(...roots).map(rootOf) : l2Root(roots, nested);
  const changes = fc.record({
    mode: change(mode),
    root: change(root),
    flags: change(flags),
    asid: change(asid),
    interceptPageFaults: change(fc.boolean()),
    tlbControl: change(fc.constantFrom(...TLB_CONTROL_NAMES)),
    inject: change(fc.constantFrom(...INJECTED), 9),
    ...(nested !== undefined && nestedChanges(nested.roots)),
  });
  return fc
    .record({
      l2: fc.constantFrom(...Object.keys(states)),
      changes,
      reflect: fc.boolean(),
      ...(nested !== undefined && { mend: change(mending(ground), 7) }),
    })
    .map(({ l2, changes: all, reflect, mend }: EnterParts): EnterStep => {
      const vmcb = Object.fromEntries(
        Object.entries(all).filter(([, to]) => to !== undefined),
      ) as VmcbChanges;
      return {
        do: 'enter',
        l2,
        ...(Object.keys(vmcb).length === 0 ? {} : { vmcb }),
        ...(reflect ? { reflect } : {}),
        ...(mend === undefined ? {} : { mend }),
      };
    });
}

interface EnterParts {
  readonly l2: string;
  readonly changes: object;
  readonly reflect: boolean;
  readonly mend?: EntryEdit | undefined;
}

const nestedChanges = (roots: readonly string[]) => ({
  nested: change(fc.constantFrom<string | false>(...roots.map(rootOf), ...roots.map(rootOf), false), 5),
  nestedHigh: change(fc.constantFrom(...NCR3_HIGH), 19),
  gPat: change(fc.constantFrom(...PATS), 19),
});

/** What L1 does about a nested page fault. */
const mending = (ground: Shape): fc.Arbitrary<EntryEdit> =>
  fc.constantFrom(...nestedSlotsOf(ground)).chain((slot) =>
    entryFor(slot, ground).map((entry) => ({
      page: slot.page,
      index: slot.index,
      width: widthOf(slot),
      entry,
    })),
  );
