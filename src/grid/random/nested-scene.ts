import fc from 'fast-check';
import type { EnterStep, EntryFlags, PagingMode, Step, VmcbChanges } from '../scenario.ts';
import { edit, oneOf } from './edits.ts';
import { lead, SETTLED, type Way, wayTo, write } from './nested-ways.ts';
import { probe } from './probes.ts';
import { type LinearPage, linearAddress, type NestedGround, rootOf, type Shape } from './shape.ts';
import { nestedSlotsOf } from './slots.ts';

export type Steps = fc.Arbitrary<Step[]>;

const LEAVES: readonly EntryFlags[] = [SETTLED, SETTLED, 'P W U', 'P W U A', 'P U A D', 'P U', 'P W A D', ''];
const WIDE_LEAVES: readonly EntryFlags[] = [...LEAVES, 'P W U A D NX', 'P W U A D NX', 'P W U A D 51'];
const DIRECTORIES: readonly EntryFlags[] = ['P W U A', 'P W U A', 'P W U', 'P U A', 'P W A', ''];
const WIDE_DIRECTORIES: readonly EntryFlags[] = [...DIRECTORIES, 'P W U A NX'];

export const leave: Step = { do: 'leave' };

/** What the motifs of one place have in common. */
export interface Setting {
  readonly linear: LinearPage;
  readonly behind: LinearPage;
  readonly mode: Exclude<PagingMode, 'off'>;
  readonly root: string;
  readonly nestedRoot: string;
  readonly other: string;
  readonly data: string;
  readonly otherData: string;
  readonly visit: EnterStep;
}

/** The place that a motif is about: a linear page, an L2-physical one, and the entries of both stages on the way to them. */
export class NestedScene {
  readonly ground: Shape;
  readonly nested: NestedGround;
  readonly drawn: Setting;
  readonly look: fc.Arbitrary<Step>;
  readonly fetch: fc.Arbitrary<Step>;
  /** L2's own tables, and those that L1 has for it in the mode that it begins with. */
  readonly guest: Way;
  readonly host: Way;

  constructor(ground: Shape, nested: NestedGround, drawn: Setting) {
    this.ground = ground;
    this.nested = nested;
    this.drawn = drawn;
    const at = fc.constant(linearAddress(drawn.linear));
    this.look = probe(at);
    this.fetch = probe(at, fc.constant('fetch'));
    const [one, two] = ground.tables;
    this.guest = wayTo(drawn.linear, drawn.mode === 'PAE', drawn.root, two, one);
    this.host = this.hostWay(drawn.behind, drawn.nestedRoot);
  }

  hostWay(page: LinearPage, root: string): Way {
    const [one, two] = this.ground.tables;
    return wayTo(page, this.ground.l1.mode === 'PAE', root, one, two);
  }

  /** L1 enters the L2 in the mode and with the tables that the motif is about. */
  enter(changes: VmcbChanges = {}): Step {
    const { mode, root, nestedRoot, visit } = this.drawn;
    return {
      do: 'enter',
      l2: visit.l2,
      vmcb: { mode, root: rootOf(root), nested: rootOf(nestedRoot), ...changes },
    };
  }

  /** Both stages lead to a page of L1. */
  leadBoth(to: string, flags?: EntryFlags, above?: EntryFlags): Step[] {
    return [...lead(this.guest, this.drawn.behind), ...lead(this.host, to, flags, above)];
  }

  get leaf(): fc.Arbitrary<EntryFlags> {
    return fc.constantFrom(...(this.host.wide ? WIDE_LEAVES : LEAVES));
  }
  get directory(): fc.Arbitrary<EntryFlags> {
    return fc.constantFrom(...(this.host.wide ? WIDE_DIRECTORIES : DIRECTORIES));
  }

  /** Other rights for the entries on the way, or anything anywhere on it. */
  get nestedEdit(): fc.Arbitrary<Step> {
    const { behind, linear, data, otherData, nestedRoot } = this.drawn;
    const { leaf, directory } = this.host;
    const nested = { roots: [nestedRoot], pages: [behind] };
    const slots = nestedSlotsOf({ ...this.ground, linear: [linear], nested });
    return oneOf<Step>([
      [
        2,
        fc
          .tuple(this.leaf, fc.constantFrom(data, otherData))
          .map(([flags, to]) => write(leaf, { to, flags })),
      ],
      [1, this.directory.map((flags) => write(directory, { to: leaf.page, flags }))],
      [2, edit(this.ground, fc.constantFrom(...slots))],
    ]);
  }

  /** The same L2 again. */
  get back(): fc.Arbitrary<Step> {
    const { l2 } = this.drawn.visit;
    return fc.constantFrom<Step>(
      { do: 'enter', l2 },
      { do: 'enter', l2 },
      { do: 'enter', l2, vmcb: { tlbControl: 'asid' } },
      { do: 'enter', l2, vmcb: { tlbControl: 'asid-non-global' } },
      { do: 'enter', l2, vmcb: { tlbControl: 'all' } },
    );
  }
}
