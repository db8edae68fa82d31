import { InputError } from '../arch/input-error.ts';
import { type Placement, placeOf, resolve } from './placement.ts';
import { FLAG_BITS, type PagingRegisters, pagingModeOf, pagingRegisters } from './registers.ts';
import {
  FLAGS,
  type Flag,
  type PageReference,
  type Scenario,
  type SpaceState,
  type Step,
  type VmcbChanges,
} from './scenario.ts';

/** The registers of one level, and which page its CR3 names. */
export interface TrackedSpace {
  readonly registers: PagingRegisters;
  readonly root: PageReference | undefined;
}

/** Nested paging of an L2, as its VMCB has it. */
export interface TrackedNesting {
  readonly root: PageReference;
  /** nCR3: its low half is the physical address of the root. */
  readonly low: number;
  readonly high: number;
}

/** Name of L1 among the levels; the others are the names of L2s. */
export const L1 = 'L1';

/**
 * Follows a scenario's steps as they are meant: who runs, and with which paging registers if nothing faults. The
 * compiler needs that to know the tables in use, reports to say what the registers were.
 */
export class Tracker {
  readonly #scenario: Scenario;
  readonly #placement: Placement;
  readonly #spaces = new Map<string, TrackedSpace>();
  readonly #nestings = new Map<string, TrackedNesting>();
  #level = L1;

  constructor(scenario: Scenario, placement: Placement) {
    this.#scenario = scenario;
    this.#placement = placement;
    if (scenario.l2[L1] !== undefined)
      throw new InputError(`An L2 of "${scenario.name}" has the name "${L1}".`);
    this.#spaces.set(L1, this.spaceFor(scenario.l1));
    for (const [name, state] of Object.entries(scenario.l2)) {
      this.#spaces.set(name, this.spaceFor(state));
      const nesting = this.nestingAfter(name, state);
      if (nesting !== undefined) this.#nestings.set(name, nesting);
    }
  }

  /** Who runs the next step: `L1` or the name of an L2. */
  get level(): string {
    return this.#level;
  }

  /** The space of who runs. */
  get current(): TrackedSpace {
    return this.spaceOf(this.#level);
  }

  /** The space of a level by name. Throws an InputError if there is none. */
  spaceOf(level: string): TrackedSpace {
    const space = this.#spaces.get(level);
    if (space === undefined) {
      const known = Object.keys(this.#scenario.l2).join(', ');
      throw new InputError(`There is no L2 "${level}"; the scenario has ${known === '' ? 'none' : known}.`);
    }
    return space;
  }

  /** Every level's name. */
  get levels(): readonly string[] {
    return [...this.#spaces.keys()];
  }

  /** Registers that an L2 will have if L1 makes these changes to its VMCB; undefined if they touch none of them. */
  afterVmcbChanges(l2: string, changes: VmcbChanges): TrackedSpace | undefined {
    if (changes.mode === undefined && changes.root === undefined && changes.flags === undefined)
      return undefined;
    const before = this.spaceOf(l2);
    const root = changes.root ?? before.root;
    return this.spaceFor({
      mode: changes.mode ?? pagingModeOf(before.registers),
      flags: changes.flags ?? flagsOf(before.registers),
      ...(root === undefined ? {} : { root }),
    });
  }

  /** Nested paging of a level; undefined where there is none. */
  nestingOf(level: string): TrackedNesting | undefined {
    return this.#nestings.get(level);
  }

  /** Nested paging that an L2 will have if L1 makes these changes to its VMCB. */
  nestingAfter(
    l2: string,
    { nested, nestedHigh }: Pick<VmcbChanges, 'nested' | 'nestedHigh'>,
  ): TrackedNesting | undefined {
    const before = this.#nestings.get(l2);
    const root = nested ?? before?.root;
    if (root === undefined || root === false) return undefined;
    return { root, low: placeOf(this.#placement, root), high: nestedHigh ?? before?.high ?? 0 };
  }

  /** Goes past a step. Throws an InputError if the step cannot stand here. */
  apply(step: Step): void {
    const { registers, root } = this.current;
    switch (step.do) {
      case 'enter': {
        if (this.#level !== L1)
          throw new InputError(`${this.#level} cannot enter ${step.l2}: only L1 runs L2s.`);
        const after = this.afterVmcbChanges(step.l2, step.vmcb ?? {});
        this.#spaces.set(step.l2, after ?? this.spaceOf(step.l2));
        const nesting = this.nestingAfter(step.l2, step.vmcb ?? {});
        if (nesting === undefined) this.#nestings.delete(step.l2);
        else this.#nestings.set(step.l2, nesting);
        this.#level = step.l2;
        return;
      }
      case 'leave':
        if (this.#level === L1) throw new InputError('L1 cannot leave: it is where an L2 leaves to.');
        this.#level = L1;
        return;
      case 'switch':
        this.#become(this.spaceFor(step));
        return;
      case 'load-cr3':
        this.#become({
          registers: { ...registers, cr3: resolve(this.#placement, step.root) },
          root: step.root,
        });
        return;
      case 'set': {
        const { register, bit } = FLAG_BITS[step.flag];
        const value = step.value ? registers[register] | bit : registers[register] & ~bit;
        this.#become({ registers: { ...registers, [register]: value >>> 0 }, root });
        return;
      }
      default:
    }
  }

  #become(space: TrackedSpace): void {
    this.#spaces.set(this.#level, space);
  }

  /** The space that a state describes. Throws an InputError if it lacks a root. */
  spaceFor(state: SpaceState): TrackedSpace {
    if (state.root === undefined && state.mode !== 'off') {
      throw new InputError(`Paging mode ${state.mode} needs a root page.`);
    }
    const cr3 = state.root === undefined ? 0 : resolve(this.#placement, state.root);
    return { registers: pagingRegisters(state, cr3), root: state.root };
  }
}

/** The flags that are set in registers. */
export const flagsOf = (registers: PagingRegisters): Flag[] =>
  FLAGS.filter((flag) => (registers[FLAG_BITS[flag].register] & FLAG_BITS[flag].bit) !== 0);
