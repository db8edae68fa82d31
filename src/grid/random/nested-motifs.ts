import fc from 'fast-check';
import type { EnterStep, Entry, Step, VmcbChanges } from '../scenario.ts';
import { edit, oneOf, readOf } from './edits.ts';
import { seenAt } from './nested-shape.ts';
import { probe, storeAt } from './probes.ts';
import {
  type LinearPage,
  linearAddress,
  type NestedGround,
  PDPT_OFFSET,
  rootOf,
  type Shape,
} from './shape.ts';
import { nestedSlotsOf, type Slot, slotsOf, widthOf } from './slots.ts';

type Steps = fc.Arbitrary<Step[]>;

/** Registers of L1 whose bits VMRUN keeps for the nested walk, or must not let it see (APM vol. 2 15.25.4). */
const HOST_FLAGS = ['CR4.PSE', 'CR4.PAE', 'CR4.PGE', 'CR4.SMEP', 'CR4.SMAP', 'EFER.NX', 'CR0.WP'] as const;
const SETTLED = 'P W U A D';

const place = (slot: Slot, entry: Entry): Step => ({
  do: 'edit',
  page: slot.page,
  index: slot.index,
  width: widthOf(slot),
  entry,
});

const leave: Step = { do: 'leave' };

/**
 * A few steps that belong together, about one linear page, one L2-physical page and the entries of both stages on the way to
 * them.
 */
export function nestedMotifsAt(ground: Shape, nested: NestedGround, enter: fc.Arbitrary<EnterStep>): Steps {
  return fc
    .record({
      linear: fc.constantFrom(...ground.linear),
      behind: fc.constantFrom(...nested.pages),
      visit: enter,
    })
    .chain(({ linear, behind, visit }) => {
      const motifs = new NestedMotifs(ground, nested, linear, behind, visit);
      return oneOf<Step[]>([
        [4, motifs.edited],
        [2, motifs.editedInside],
        [2, motifs.tableBehind],
        [2, motifs.dirty],
        [2, motifs.way],
        [2, motifs.pdptes],
        [2, motifs.quadrants],
        [2, motifs.hostFlag],
        [1, motifs.unpaged],
        [1, motifs.rootBehind],
      ]);
    });
}

class NestedMotifs {
  readonly #ground: Shape;
  readonly #nested: NestedGround;
  readonly #linear: LinearPage;
  readonly #behind: LinearPage;
  readonly #visit: EnterStep;
  readonly #look: fc.Arbitrary<Step>;
  readonly #guestSlots: readonly Slot[];
  readonly #nestedSlots: readonly Slot[];

  constructor(ground: Shape, nested: NestedGround, linear: LinearPage, behind: LinearPage, visit: EnterStep) {
    this.#ground = ground;
    this.#nested = nested;
    this.#linear = linear;
    this.#behind = behind;
    this.#visit = visit;
    this.#look = probe(fc.constant(linearAddress(linear)));
    const { nested: _, ...withoutNested } = ground;
    this.#guestSlots = slotsOf({ ...withoutNested, linear: [linear] });
    this.#nestedSlots = nestedSlotsOf({
      ...ground,
      linear: [linear],
      nested: { ...nested, pages: [behind] },
    });
  }

  /** L1 edits nested tables between two visits, with a flush or without. */
  get edited(): Steps {
    return fc
      .record({ first: this.#look, change: this.#nestedEdit, back: this.#back, second: this.#look })
      .map(({ first, change, back, second }) => [this.#visit, first, leave, change, back, second, leave]);
  }

  /** L2 edits them, which it knows where to find, and perhaps invalidates, which reaches its own tables alone. */
  get editedInside(): Steps {
    const at = linearAddress(this.#linear);
    const drop = fc.constantFrom<Step[]>([], [{ do: 'invlpg', at }], [{ do: 'reload-cr3' }]);
    return fc
      .record({
        first: this.#look,
        change: this.#nestedEdit,
        drop,
        second: this.#look,
        back: this.#back,
        third: this.#look,
      })
      .map(({ first, change, drop: dropped, second, back, third }) => [
        this.#visit,
        first,
        change,
        ...dropped,
        second,
        leave,
        back,
        third,
        leave,
      ]);
  }

  /** A table of L2 behind a nested entry that is read-only at first, or not even that: every walk is a write to it. */
  get tableBehind(): Steps {
    const directories = this.#guestSlots.filter(({ kind }) => !kind.startsWith('PT'));
    return fc
      .record({
        slot: fc.constantFrom(...directories),
        table: fc.constantFrom(...this.#ground.tables),
        before: fc.constantFrom('P U A D', 'P U', 'P W U', ''),
        first: this.#look,
        back: this.#back,
        second: this.#look,
        read: fc.constantFrom(...this.#leavesBehind).map(readOf),
      })
      .map(({ slot, table, before, first, back, second, read }) => [
        ...this.#chainTo(table, before),
        place(slot, { to: linearAddress(this.#behind), flags: slot.kind === 'PDPTE' ? 'P' : 'P W U A' }),
        this.#visit,
        first,
        leave,
        ...this.#leavesBehind.map((leaf) => place(leaf, { to: table, flags: SETTLED })),
        back,
        second,
        leave,
        read,
      ]);
  }

  /** Dirty flags of nested entries: set by a store, cleared by L1, and perhaps set again. */
  get dirty(): Steps {
    const at = linearAddress(this.#linear);
    const leaf = fc.constantFrom(...this.#leavesBehind);
    return fc
      .record({
        data: fc.constantFrom(...this.#ground.data),
        first: storeAt(at),
        back: this.#back,
        second: storeAt(at),
        leaf,
        third: this.#look,
      })
      .map(({ data, first, back, second, leaf: slot, third }) => [
        ...this.#chainTo(data, 'P W U A'),
        ...this.#guestLeaves.map((own) => place(own, { to: linearAddress(this.#behind), flags: SETTLED })),
        this.#visit,
        third,
        first,
        leave,
        readOf(slot),
        ...this.#leavesBehind.map((other) => place(other, { to: data, flags: 'P W U A' })),
        back,
        second,
        leave,
        readOf(slot),
      ]);
  }

  /** The same L2 with nested tables and with L1's own, under one ASID or another. */
  get way(): Steps {
    const root = fc.constantFrom(...this.#nested.roots).map(rootOf);
    const asids = fc.constantFrom<VmcbChanges>(
      {},
      { asid: 2 },
      { tlbControl: 'asid' },
      { tlbControl: 'all' },
    );
    return fc
      .record({
        root,
        asids,
        first: this.#look,
        second: this.#look,
        third: this.#look,
        nestedFirst: fc.boolean(),
      })
      .map(({ root: tables, asids: change, first, second, third, nestedFirst }) => {
        const go = (nested: string | false, vmcb: VmcbChanges = {}): Step => ({
          do: 'enter',
          l2: this.#visit.l2,
          vmcb: { ...vmcb, nested },
        });
        const [one, other] = nestedFirst ? ([tables, false] as const) : ([false, tables] as const);
        return [go(one), first, leave, go(other, change), second, leave, go(one), third, leave];
      });
  }

  /** PDPTEs of either stage: nested walks read both from memory (APM vol. 2 15.25.10). */
  get pdptes(): Steps {
    const isPdpte = ({ kind }: Slot): boolean => kind === 'PDPTE';
    const slots = [...this.#guestSlots, ...this.#nestedSlots].filter(isPdpte);
    if (slots.length === 0) return this.edited;
    return fc
      .record({
        change: edit(this.#ground, fc.constantFrom(...slots)),
        inside: fc.boolean(),
        first: this.#look,
        second: this.#look,
        back: this.#back,
      })
      .map(({ change, inside, first, second, back }) =>
        inside
          ? [this.#visit, first, change, second, { do: 'reload-cr3' }, second, leave]
          : [this.#visit, first, leave, change, back, second, leave],
      );
  }

  /** One linear page leads to one L2-physical page after another: other quarters and halves of the nested tables. */
  get quadrants(): Steps {
    const at = linearAddress(this.#linear);
    const others = fc.constantFrom(...this.#nested.pages, ...this.#ground.linear);
    return fc
      .record({ one: others, other: others, first: this.#look, second: this.#look })
      .map(({ one, other, first, second }) => {
        const aim = (page: LinearPage): Step[] =>
          this.#guestLeaves.map((own) => place(own, { to: linearAddress(page), flags: SETTLED }));
        return [...aim(one), this.#visit, first, ...aim(other), { do: 'invlpg', at }, second, leave];
      });
  }

  /** A register of L1 changes between two visits, and back. */
  get hostFlag(): Steps {
    return fc
      .record({
        flag: fc.constantFrom(...HOST_FLAGS),
        value: fc.boolean(),
        first: this.#look,
        second: this.#look,
        third: this.#look,
        back: this.#back,
        again: this.#back,
      })
      .map(({ flag, value, first, second, third, back, again }) => [
        this.#visit,
        first,
        leave,
        { do: 'set', flag, value },
        back,
        second,
        leave,
        { do: 'set', flag, value: !value },
        again,
        third,
        leave,
      ]);
  }

  /** L2 turns its paging off and on: its linear addresses are then physical ones, translated all the same. */
  get unpaged(): Steps {
    return fc
      .record({
        first: this.#look,
        second: this.#look,
        third: probe(fc.constant(linearAddress(this.#behind))),
      })
      .map(({ first, second, third }) => [
        this.#visit,
        { do: 'set', flag: 'CR0.PG', value: false },
        first,
        third,
        { do: 'set', flag: 'CR0.PG', value: true },
        second,
        leave,
      ]);
  }

  /** L2's root itself is behind a nested entry, which has to let the agent through. */
  get rootBehind(): Steps {
    return fc
      .record({
        root: fc.constantFrom(...this.#ground.roots),
        nested: fc.constantFrom(...this.#nested.roots).map(rootOf),
        first: this.#look,
        change: edit(this.#ground, fc.constantFrom(...this.#guestSlots)),
        second: this.#look,
      })
      .map(({ root, nested, first, change, second }) => [
        ...this.#chainTo(root, SETTLED),
        {
          ...this.#visit,
          vmcb: { ...this.#visit.vmcb, nested, root: rootOf(seenAt(root, this.#behind)), tlbControl: 'all' },
        },
        first,
        change,
        second,
        { do: 'load-cr3', root: rootOf(root) },
        second,
        leave,
      ]);
  }

  get #nestedEdit(): fc.Arbitrary<Step> {
    return edit(this.#ground, fc.constantFrom(...this.#nestedSlots));
  }

  /** The same L2 again. */
  get #back(): fc.Arbitrary<Step> {
    const { l2 } = this.#visit;
    return fc.constantFrom<Step>(
      { do: 'enter', l2 },
      { do: 'enter', l2 },
      { do: 'enter', l2, vmcb: { tlbControl: 'asid' } },
      { do: 'enter', l2, vmcb: { tlbControl: 'asid-non-global' } },
      { do: 'enter', l2, vmcb: { tlbControl: 'all' } },
    );
  }

  /** Entries of both formats that map the linear page, and those that map the L2-physical one. */
  get #guestLeaves(): Slot[] {
    return this.#guestSlots.filter(
      ({ kind, page }) => kind.startsWith('PT') && page === this.#ground.tables[0],
    );
  }
  get #leavesBehind(): Slot[] {
    const { tables } = this.#ground;
    const { gib, span, page } = this.#behind;
    const slots = nestedSlotsOf({
      ...this.#ground,
      linear: [{ gib, span, page }],
      nested: { roots: [], pages: [this.#behind] },
    });
    return slots.filter(({ kind, page: table }) => kind.startsWith('PT') && table === tables[0]);
  }

  /** Edits that lead nested walks of the L2-physical page to a page of L1, in both formats. */
  #chainTo(page: string, flags: string): Step[] {
    const { tables } = this.#ground;
    const [first] = tables;
    const directory = tables.at(-1) as string;
    const { gib, span, page: number } = this.#behind;
    const above = this.#nested.roots.flatMap((root): Step[] => [
      place({ kind: 'PDE4', page: root, index: gib * 256 + span }, { to: first, flags: 'P W U A' }),
      ...(gib === 0
        ? []
        : [
            place({ kind: 'PDPTE', page: root, index: PDPT_OFFSET / 8 + gib }, { to: directory, flags: 'P' }),
          ]),
    ]);
    const pde: Slot = { kind: 'PDE8', page: directory, index: span * 2 + (number >>> 9) };
    return [
      ...above,
      place(pde, { to: first, flags: 'P W U A' }),
      ...this.#leavesBehind.map((leaf) => place(leaf, { to: page, flags })),
    ];
  }
}
