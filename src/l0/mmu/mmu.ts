/**
 * An MMU of a vCPU: a root for the processor, and what it takes to fill it. Under shadow paging there is one, whoever runs on
 * the vCPU: L1 and L2 are told apart by the role alone. With nested paging one is direct, for L1 and for an L2 whose L1 uses
 * shadow paging, and another shadows L1's nested tables. It has the paging mode of the tables that it shadows (context), the
 * roots, and the fault handler; shadow pages belong to the VM and are shared by its vCPUs.
 *
 * When what changes: `reconfigure` after any change of CR0, CR4, EFER, guest mode; `load` before every VMRUN, which picks
 * the root for the present CR3, PDPTEs and role; `flush` where the guest invalidates everything; `invalidatePage` for
 * INVLPG; `handleFault` at #PF, `handleNestedFault` at #NPF; `trackWrite` (write-track.ts) after L0 wrote to guest memory.
 */
import type { HostPages } from '../pages.ts';
import type { Cause } from '../rules.ts';
import type { MmuStatistics } from '../statistics.ts';
import { type GuestFormats, type GuestPagingRegisters, MmuContext, type MmuKind } from './context.ts';
import { FaultHandler, type FaultOutcome } from './fault.ts';
import { type Root, Roots } from './roots.ts';
import { NONE } from './shadow-page.ts';
import type { ShadowTables } from './shadow-tables.ts';
import { guestTableWords, syncEntry } from './sync.ts';

/** Looks at the state of the MMU after an operation; throws when an invariant is broken (check.ts). */
export interface MmuChecker {
  check(mmu: Mmu, operation: string): void;
}

export class Mmu {
  readonly tables: ShadowTables;
  readonly context: MmuContext;
  readonly roots: Roots;
  checker: MmuChecker | null = null;
  readonly #faults: FaultHandler;
  readonly #statistics: MmuStatistics;
  #syncWanted = false;

  /**
   * @param registers of the tables to be walked: the guest's own; for `nested` those of nested-registers.ts
   */
  constructor(
    tables: ShadowTables,
    hostPages: HostPages,
    formats: GuestFormats,
    registers: GuestPagingRegisters,
    kind: MmuKind = 'shadow',
  ) {
    this.tables = tables;
    this.#statistics = tables.statistics;
    this.context = new MmuContext(formats, registers, tables.rules, kind, tables.format);
    this.roots = new Roots(tables, this.context, hostPages);
    this.#faults = new FaultHandler(tables, this.context, this.roots);
    this.context.update('RESET');
  }

  /**
   * Takes note of the guest's registers. Costs nothing while the roles stay the same; otherwise the next `load` finds or builds
   * roots for the new ones. Roots and shadow pages of other roles need not be dropped: they cannot be found.
   */
  reconfigure(cause: Cause): void {
    if (!this.context.update(cause)) return;
    this.#statistics.roleChanges += 1;
    const { trace } = this.tables;
    if (trace !== null) {
      trace.roleChange(this.context.cpuBase, this.context.cpuExtended, this.context.rootRole);
    }
  }

  /** The root to run the guest with. */
  load(): Root {
    const root = this.roots.load();
    if (this.#syncWanted) {
      this.#syncWanted = false;
      this.roots.sync();
      if (this.checker !== null) this.checker.check(this, 'sync');
    }
    return root;
  }

  /**
   * The guest invalidates all its translations: a CR3 load, a change of CR4.PGE, a nested transition. Takes effect with the
   * next `load`. The processor's TLB is the caller's business.
   */
  flush(): void {
    this.#syncWanted = true;
  }

  /**
   * INVLPG of a shadowed guest; with nested paging it is the processor's own business. Only an entry of an unsync page can differ from the guest's; previous roots need no look, because they are
   * synchronised as a whole before they are used again. The processor's TLB is the caller's business.
   */
  invalidatePage(address: number): void {
    const { format, kind } = this.context;
    if (kind !== 'shadow') return;
    const { pool } = this.tables;
    const reference = format === null ? NONE : this.#faults.mapper.leafReference(address);
    if (format === null || reference === NONE) return;
    const page = pool.owner(reference);
    const at = pool.wordOf(reference);
    const { u32 } = this.tables.memory;
    if (!this.tables.rules.invlpgSyncs(page) || (u32[at] | pool.high(at)) === 0) return;
    const guest = guestTableWords(this.tables, page);
    // Other linear addresses may be cached through this entry, so that one page's invalidation would not do.
    if (syncEntry(this.tables, format, page, pool.entryOf(reference), guest)) this.tables.requestFlush();
    if (this.checker !== null) this.checker.check(this, 'invlpg');
  }

  /** A #PF exit of a shadowed guest; see FaultHandler.handle. */
  handleFault(address: number, errorCode: number, cpl: number, alignmentCheck: boolean): FaultOutcome {
    const outcome = this.#faults.handle(address, errorCode, cpl, alignmentCheck);
    if (this.checker !== null) this.checker.check(this, 'fault');
    return outcome;
  }

  /**
   * A #NPF exit on the root of a `direct` or `nested` MMU. INJECT comes from `nested` only: L1's nested tables forbid the access,
   * and `errorCode` is bits 4:0 of EXITINFO1 for L1.
   *
   * Bit 4 for L1 can only come from bit 4 here, which the processor does not report on a host without NX and SMEP.
   *
   * @param address   guest-physical, up to 52 bits (EXITINFO2)
   * @param errorCode bits 4:0 of EXITINFO1
   */
  handleNestedFault(address: number, errorCode: number): FaultOutcome {
    const outcome = this.#faults.handleNested(address, errorCode);
    if (this.checker !== null) this.checker.check(this, 'nested fault');
    return outcome;
  }

  /**
   * Guest-physical address behind a linear one, through the guest's own tables; L1-physical behind an L2-physical one for
   * `nested`. -1 if the access faults, with `errorCode`. See GuestWalk.translate.
   */
  translate(address: number, access: number, alignmentCheck: boolean): number {
    return this.#faults.walk.translate(address, this.#accessOf(access), alignmentCheck);
  }

  /** Whether the access would fault, without setting A or D. As `translate` otherwise. */
  probe(address: number, access: number, alignmentCheck: boolean): number {
    return this.#faults.walk.probe(address, this.#accessOf(access), alignmentCheck);
  }

  #accessOf(access: number): number {
    return this.context.kind === 'nested' ? this.tables.rules.nestedAccess(access) : access;
  }

  /** Page-fault error code behind the last INJECT, or -1 of `translate` or `probe`. */
  get errorCode(): number {
    return this.#faults.walk.errorCode;
  }
}
