import { pagingFeaturesOf } from '../../arch/cpu-models.ts';
import type { PagingFormat } from '../../arch/paging/format.ts';
import { PDPTE_COUNT, paeFormat, pdpteIsValid } from '../../arch/paging/pae.ts';
import { CR0, CR3, CR4 } from '../../arch/registers.ts';
import type { Cpu } from '../cpu.ts';
import { SYSTEM } from '../layout.ts';

/**
 * PDPTEs as VMRUN and #VMEXIT load them: a table with reserved bits set is no #GP but illegal state (APM vol. 2 15.5.1,
 * 15.6).
 */
export class PdpteLoader {
  readonly #cpu: Cpu;
  /** Reserved bits of a PDPTE do not depend on EFER.NXE. */
  readonly #format: PagingFormat;
  readonly #values = new Uint32Array(PDPTE_COUNT * 2);

  constructor(cpu: Cpu) {
    this.#cpu = cpu;
    this.#format = paeFormat(pagingFeaturesOf(cpu.model, false));
  }

  /** Reads the table that a PAE guest or host will use; true if it is legal, and under any other paging mode. */
  fetch(cr0: number, cr3: number, cr4: number): boolean {
    if ((cr0 & CR0.PG) === 0 || (cr4 & CR4.PAE) === 0) return true;
    const { physical, paging } = this.#cpu;
    const base = paging.behindA20((cr3 & CR3.PAE_BASE) >>> 0);
    let legal = true;
    for (let word = 0; word < PDPTE_COUNT * 2; word += 2) {
      const lo = physical.read32(base + word * 4);
      const hi = physical.read32(base + word * 4 + 4);
      if (!pdpteIsValid(this.#format, lo, hi)) legal = false;
      this.#values[word] = lo;
      this.#values[word + 1] = hi;
    }
    return legal;
  }

  /** Puts what was fetched into the processor's PDPTE registers. */
  commit(): void {
    this.#cpu.state.u32.set(this.#values, SYSTEM.PDPTES >> 2);
  }
}
