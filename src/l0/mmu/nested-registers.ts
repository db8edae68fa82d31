/**
 * Registers of the MMU that shadows L1's nested tables: nCR3, and the paging mode that L1 was in at VMRUN. The processor keeps
 * those of its host in an internal copy (APM vol. 2 15.25.3), so L2 changes nothing by writing its own.
 */
import type { Rules } from '../rules.ts';
import type { GuestPagingRegisters } from './context.ts';

/** The registers that make a paging mode; low halves. */
export interface PagingRegisters {
  readonly cr0: number;
  readonly cr4: number;
  readonly efer: number;
}

export class NestedPagingRegisters implements GuestPagingRegisters {
  /** nCR3 of the VMCB that L1 runs: L1-physical address of its nested tables. To be set before `reconfigure`. */
  cr3 = 0;
  /** Unused: PAE nested tables have their PDPTEs read on use. */
  readonly pdptes = new Uint32Array(8);
  readonly #saved: PagingRegisters;
  readonly #current: PagingRegisters & { readonly guestMode: boolean };
  readonly #rules: Rules;

  /**
   * @param saved   L1's as VMRUN saved them; read anew whenever roles are computed
   * @param current those of whoever runs
   */
  constructor(
    saved: PagingRegisters,
    current: PagingRegisters & { readonly guestMode: boolean },
    rules: Rules,
  ) {
    this.#saved = saved;
    this.#current = current;
    this.#rules = rules;
  }

  get cr0(): number {
    return this.#rules.nestedRegisters(this.#saved, this.#current).cr0;
  }
  get cr4(): number {
    return this.#rules.nestedRegisters(this.#saved, this.#current).cr4;
  }
  get efer(): number {
    return this.#rules.nestedRegisters(this.#saved, this.#current).efer;
  }
  get guestMode(): boolean {
    return this.#current.guestMode;
  }
}
