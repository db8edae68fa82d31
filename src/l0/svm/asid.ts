/**
 * Address space identifiers (APM vol. 2 15.16). L1 and L2 of a vCPU have one each, so that a nested transition flushes
 * nothing by itself. A TLB entry never outlives the SPTE it came from: whoever takes something away in the shadow tables raises
 * `flushEpoch`, and an ASID that was flushed at an older epoch is flushed at its next VMRUN.
 */
import { CLEAN, TLB_CONTROL, VMCB } from '../../arch/vmcb.ts';
import type { Root } from '../mmu/roots.ts';
import type { ShadowTables } from '../mmu/shadow-tables.ts';
import type { Vmcb } from './vmcb.ts';

/** The ASIDs of a processor. When they run out all are taken back and the whole TLB is flushed. */
export class AsidPool {
  /** CPUID Fn8000_000A_EDX[FlushByAsid]: TLB_CONTROL 3 is there; without it a flush takes a new ASID. */
  readonly flushByAsid: boolean;
  generation = 1;
  readonly #count: number;
  /** ASID 0 is the host's. */
  #next = 1;

  /** @param count CPUID Fn8000_000A_EBX */
  constructor(count: number, flushByAsid: boolean) {
    this.#count = count;
    this.flushByAsid = flushByAsid;
  }

  /** A fresh ASID for `context`. True if it is fresh only after a flush of the whole TLB. */
  assign(context: AsidContext): boolean {
    const wrapped = this.#next >= this.#count;
    if (wrapped) {
      this.#next = 1;
      this.generation += 1;
    }
    context.asid = this.#next;
    context.generation = this.generation;
    this.#next += 1;
    return wrapped;
  }
}

/** One address space on a vCPU: its ASID and what its TLB entries were made under. */
export class AsidContext {
  asid = 0;
  generation = 0;
  #flushed = -1;
  #root: Root | null = null;
  #rootKey = -1;

  /** Drops all translations with the next VMRUN. */
  flush(): void {
    this.#flushed = -1;
  }

  /** Sets ASID and TLB_CONTROL of a VMCB that is about to run on `root`. */
  prepare(pool: AsidPool, tables: ShadowTables, vmcb: Vmcb, root: Root): void {
    let control: number = TLB_CONTROL.NOTHING;
    const sameRoot = this.#root === root && this.#rootKey === root.serial;
    const stale = tables.rules.tlbIsStale(this.#flushed, tables.flushEpoch, sameRoot);
    if (this.generation !== pool.generation || (stale && !pool.flushByAsid)) {
      if (pool.assign(this)) control = TLB_CONTROL.FLUSH_ALL;
    } else if (stale) control = TLB_CONTROL.FLUSH_ASID;
    if (stale) {
      this.#flushed = tables.flushEpoch;
      this.#root = root;
      this.#rootKey = root.serial;
      tables.statistics.tlbFlushes += 1;
    }
    vmcb.bytes[VMCB.TLB_CONTROL] = control;
    if (vmcb.read(VMCB.GUEST_ASID) !== this.asid) {
      vmcb.write(VMCB.GUEST_ASID, this.asid);
      vmcb.dirty(CLEAN.ASID);
    }
  }
}
