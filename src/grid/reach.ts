import { InputError } from '../arch/input-error.ts';
import { CR0, CR4 } from '../arch/registers.ts';
import { type Placement, placeOf } from './placement.ts';
import type { PageReference, Scenario, Step } from './scenario.ts';
import { L1, type Tracker } from './tracker.ts';

const pageOf = (place: number): number => place - (place % 0x1000);

/**
 * Watches that each level keeps the tables that every walk reads: a level whose root the host has removed cannot fetch its
 * next instruction, nor its handler of the fault.
 */
export class RootKeeper {
  readonly #placement: Placement;
  readonly #tracker: Tracker;
  readonly #removed = new Set<number>();
  /** L2s whose page faults L1 hears of. */
  readonly #heard = new Map<string, boolean>();

  /** @param tracker goes past each step before `follow` is told of it */
  constructor(scenario: Scenario, placement: Placement, tracker: Tracker) {
    this.#placement = placement;
    this.#tracker = tracker;
    for (const [name, { interceptPageFaults }] of Object.entries(scenario.l2))
      this.#heard.set(name, interceptPageFaults ?? false);
  }

  /** Throws an InputError if nobody could run behind the step. */
  follow(step: Step): void {
    if (step.do === 'host') {
      const page = pageOf(placeOf(this.#placement, step.page));
      if (step.action === 'remove') this.#removed.add(page);
      if (step.action === 'return') this.#removed.delete(page);
    }
    if (step.do === 'enter' && step.vmcb?.interceptPageFaults !== undefined)
      this.#heard.set(step.l2, step.vmcb.interceptPageFaults);
    if (this.#removed.size === 0) return;
    const { level } = this.#tracker;
    this.#check(level);
    const mayExit = this.#heard.get(level) === true || this.#tracker.nestingOf(level) !== undefined;
    if (level !== L1 && mayExit) this.#check(L1);
  }

  #check(level: string): void {
    const gone = this.#roots(level).find((root) => this.#removed.has(pageOf(placeOf(this.#placement, root))));
    if (gone === undefined) return;
    throw new InputError(
      `${level} cannot go on here: the host has removed "${gone}", the root of its tables, without which it fetches no instruction. Return the page before.`,
    );
  }

  /**
   * Roots that every walk of a level reads. PDPTEs are in registers, unless the level has nested paging (APM vol. 2 5.4,
   * 15.25.10).
   */
  #roots(level: string): PageReference[] {
    const { registers, root } = this.#tracker.spaceOf(level);
    const nesting = this.#tracker.nestingOf(level);
    const paged = (registers.cr0 & CR0.PG) !== 0;
    const read = paged && (nesting !== undefined || (registers.cr4 & CR4.PAE) === 0);
    return [...(read && root !== undefined ? [root] : []), ...(nesting === undefined ? [] : [nesting.root])];
  }
}
