import type { PagingRegisters } from '../../src/grid/registers.ts';
import type { PageReference, Scenario, Step, VmcbChanges } from '../../src/grid/scenario.ts';

/** Nested paging that an L2 is entered with, or runs with. */
export interface Nesting {
  /** L1's registers at VMRUN, which give the nested tables their format (APM vol. 2 15.25.3). */
  readonly host: PagingRegisters;
  /** What nCR3 points to. */
  readonly root: PageReference;
  /** Bits 63:32 of nCR3. */
  readonly rootHigh: number;
  /** As in VmcbChanges; undefined is legal. */
  readonly gPat: string | undefined;
  /** CPUID has nested paging. */
  readonly offered: boolean;
}

interface Fields {
  readonly nested?: VmcbChanges['nested'] | undefined;
  readonly nestedHigh?: number;
  readonly gPat?: string;
}

/** Follows a scenario's steps, and answers with which nested paging each is taken. */
export class NestingTracker {
  readonly #vmcbs: Map<string, Fields>;
  readonly #offered: boolean;
  #entered: Nesting | undefined;

  constructor({ l2, absent = [] }: Scenario) {
    this.#offered = !absent.includes('npt');
    this.#vmcbs = new Map(Object.entries(l2).map(([name, { nested }]) => [name, { nested }]));
  }

  /**
   * Undefined without nested paging, and for steps of L1 but those that enter an L2.
   * @param inL1 L1 takes the step
   */
  at(step: Step, inL1: boolean, registers: PagingRegisters): Nesting | undefined {
    if (step.do === 'enter') {
      const fields = { ...this.#vmcbs.get(step.l2), ...step.vmcb };
      this.#vmcbs.set(step.l2, fields);
      const { nested: root = false, nestedHigh: rootHigh = 0, gPat } = fields;
      this.#entered =
        root === false ? undefined : { host: registers, root, rootHigh, gPat, offered: this.#offered };
      return this.#entered;
    }
    return inL1 ? undefined : this.#entered;
  }
}
