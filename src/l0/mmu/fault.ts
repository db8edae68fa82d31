/**
 * Faults on L0's tables. A page fault of a shadowed guest: walk its tables, judge the access as its own processor would, and
 * either pass the fault on, or enter what is missing, or have the instruction emulated. A nested page fault: the same with L1's
 * nested tables, or with none, where guest-physical memory is mapped as it is.
 */
import { ENTRY, RIGHTS } from '../../arch/paging/format.ts';
import { ACCESS, accessAllowed } from '../../arch/paging/permissions.ts';
import { PFERR } from '../../arch/registers.ts';
import type { MmuContext } from './context.ts';
import { GuestTables } from './guest-tables.ts';
import { GuestWalk } from './guest-walk.ts';
import { ENTERED, type Entered, Mapper } from './mapping.ts';
import type { Roots } from './roots.ts';
import type { ShadowTables } from './shadow-tables.ts';

/** What the vCPU does after a fault. */
export const FAULT = {
  /** L0's tables were mended: run the guest again. */
  RETRY: 0,
  /** It is the guest's: inject #PF with `errorCode`; a nested fault is L1's, with `errorCode` in EXITINFO1. */
  INJECT: 1,
  /** Run the one instruction in the emulator: a device, or a protected page table, is behind the address. */
  EMULATE: 2,
  /** The tables were right already: drop the processor's cached translation of the page and run again. */
  SPURIOUS: 3,
} as const;
export type FaultOutcome = (typeof FAULT)[keyof typeof FAULT];

/** The first address that no format of L0's own translates. */
const FOUR_GIB = 0x1_0000_0000;

export class FaultHandler {
  /** Has the error code after INJECT. */
  readonly walk: GuestWalk;
  readonly mapper: Mapper;
  readonly #tables: ShadowTables;
  readonly #context: MmuContext;
  readonly #guestTables: GuestTables;

  constructor(tables: ShadowTables, context: MmuContext, roots: Roots) {
    this.#tables = tables;
    this.#context = context;
    this.#guestTables = new GuestTables(tables, context.kind === 'nested' ? null : tables.guards);
    this.walk = new GuestWalk(context, this.#guestTables, tables);
    this.mapper = new Mapper(tables, context, roots, this.walk.result);
  }

  /**
   * A #PF exit of a shadowed guest.
   *
   * @param address   linear address (EXITINFO2)
   * @param errorCode as the processor reported it for the shadow tables (EXITINFO1)
   * @param cpl       of the guest; a supervisor access at CPL 3 is an implicit one
   */
  handle(address: number, errorCode: number, cpl: number, alignmentCheck: boolean): FaultOutcome {
    this.#begin(address, errorCode);
    return this.#count(this.#handle(address, errorCode, cpl, alignmentCheck));
  }

  /**
   * A nested page fault on the tables of a `direct` or `nested` MMU.
   *
   * @param address   guest-physical, up to 52 bits (EXITINFO2)
   * @param errorCode bits 4:0 of EXITINFO1
   */
  handleNested(address: number, errorCode: number): FaultOutcome {
    this.#begin(address, errorCode);
    const nested = this.#context.kind === 'nested';
    return this.#count(
      nested ? this.#handleNested(address, errorCode) : this.#handleDirect(address, errorCode),
    );
  }

  #begin(address: number, errorCode: number): void {
    this.#tables.statistics.faults += 1;
    if (this.#tables.trace !== null) this.#tables.trace.pageFault(address, errorCode);
    this.#guestTables.unbacked = false;
  }

  #count(outcome: FaultOutcome): FaultOutcome {
    const { statistics } = this.#tables;
    if (outcome === FAULT.INJECT) statistics.injected += 1;
    else if (outcome === FAULT.EMULATE) statistics.emulated += 1;
    else statistics.fixed += 1;
    return outcome;
  }

  #handle(address: number, errorCode: number, cpl: number, alignmentCheck: boolean): FaultOutcome {
    if ((errorCode & PFERR.RSVD) !== 0 && this.mapper.isKnownMmio(address)) return FAULT.EMULATE;
    const context = this.#context;
    const user = (errorCode & PFERR.U) !== 0;
    const write = (errorCode & PFERR.W) !== 0;
    let access = errorCode & (PFERR.W | PFERR.U | PFERR.F);
    if (!user && cpl === 3) access |= ACCESS.IMPLICIT;

    if (this.walk.translate(address, access, alignmentCheck) < 0) return FAULT.INJECT;
    if (this.#guestTables.unbacked && !context.direct) return FAULT.EMULATE;
    const frame = context.direct ? address >>> 12 : this.walk.result.frame;
    const { rules } = this.#tables;
    const granted: number = context.direct ? RIGHTS.ALL : this.#leafRights(write);
    let rights = granted;
    if (write && (granted & RIGHTS.W) === 0) {
      // Only CR0.WP = 0 lets a supervisor get here; the hardware runs with WP = 1.
      if (rules.emulatesWithoutWriteProtect(granted, context.control)) return FAULT.EMULATE;
      rights = rules.rightsWithoutWriteProtect(granted, context.control);
    }
    const entered = this.mapper.map(address, frame, granted, rights, write);
    if (entered === ENTERED.SAME && this.#isImplicitSmapFault(access, rights)) return this.#denied(access);
    return outcomeOf(entered);
  }

  #handleDirect(address: number, errorCode: number): FaultOutcome {
    // No memory slot is beyond what L0's own format reaches.
    if (address >= FOUR_GIB) return FAULT.EMULATE;
    if ((errorCode & PFERR.RSVD) !== 0 && this.mapper.isKnownMmio(address)) return FAULT.EMULATE;
    const write = (errorCode & PFERR.W) !== 0;
    return outcomeOf(this.mapper.map(address, address >>> 12, RIGHTS.ALL, RIGHTS.ALL, write));
  }

  #handleNested(address: number, errorCode: number): FaultOutcome {
    const write = (errorCode & PFERR.W) !== 0;
    const access = this.#tables.rules.nestedAccess(errorCode & (PFERR.W | PFERR.F));
    if (this.walk.translate(address, access, false) < 0) return FAULT.INJECT;
    if (this.#guestTables.unbacked) return FAULT.EMULATE;
    const rights = this.#leafRights(write);
    return outcomeOf(this.mapper.map(address, this.walk.result.frame, rights, rights, write));
  }

  /**
   * Nothing was missing and yet the processor faulted. With SMAP and EFLAGS.AC = 1 that was an implicit supervisor access, to a
   * descriptor in a user page, which AC does not lift (SDM vol. 3A 4.6.1); the error code cannot tell it.
   */
  #isImplicitSmapFault(access: number, rights: number): boolean {
    if ((access & (ACCESS.USER | ACCESS.FETCH)) !== 0) return false;
    return !accessAllowed(rights, access | ACCESS.IMPLICIT, this.#context.control);
  }

  #denied(access: number): FaultOutcome {
    this.walk.errorCode = PFERR.P | (access & PFERR.W);
    return FAULT.INJECT;
  }

  /** Rights for a leaf SPTE after a walk for an access. A clean page stays read-only until the write that sets D. */
  #leafRights(write: boolean): number {
    const { result } = this.walk;
    const { format } = this.#context;
    const dirtyBit = format === null ? 0 : format.levels[result.level].dirtyBit;
    const clean = !write && dirtyBit !== 0 && (result.entryLo[result.level] & ENTRY.D) === 0;
    return clean ? this.#tables.rules.rightsWhileClean(result.rights) : result.rights;
  }
}

function outcomeOf(entered: Entered): FaultOutcome {
  if (entered === ENTERED.PROTECTED) return FAULT.EMULATE;
  return entered === ENTERED.CHANGED ? FAULT.RETRY : FAULT.SPURIOUS;
}
