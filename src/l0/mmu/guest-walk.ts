/**
 * Walks of guest tables in software: what the guest's own processor would make of an access. For #PF of a shadowed guest, for
 * nested faults through L1's nested tables, and for every address that L0's emulation uses.
 */
import type { PagingFormat } from '../../arch/paging/format.ts';
import { pdpteIndex } from '../../arch/paging/pae.ts';
import { accessAllowed, PAGING_CONTROL, pageFaultErrorCode } from '../../arch/paging/permissions.ts';
import {
  type EntryMemory,
  translate,
  WALK,
  WalkResult,
  type WalkStatus,
  walk,
} from '../../arch/paging/walker.ts';
import { PFERR } from '../../arch/registers.ts';
import type { TraceSink } from '../trace.ts';
import type { MmuContext } from './context.ts';

const PAGE = 4096;
/** The first address that no 32-bit format translates. */
const FOUR_GIB = 0x1_0000_0000;

export class GuestWalk {
  /** Of the last walk. */
  readonly result = new WalkResult();
  /** Page-fault error code after `translate` or `probe` returned -1. */
  errorCode = 0;
  readonly #context: MmuContext;
  readonly #entries: EntryMemory;
  readonly #reports: { readonly trace: TraceSink | null };
  #rootLo = 0;
  #rootHi = 0;

  /**
   * @param entries where the tables are: L1-physical memory, or L2's through L1's nested tables. Where it answers that an entry
   *                cannot be reached, a walk ends with WALK.TABLE_ABSENT and error code 0
   */
  constructor(context: MmuContext, entries: EntryMemory, reports: { readonly trace: TraceSink | null }) {
    this.#context = context;
    this.#entries = entries;
    this.#reports = reports;
  }

  /**
   * Physical address behind a linear one (behind a guest-physical one, for nested tables), walked as the guest's processor
   * would, A and D set. -1 if the access faults.
   *
   * @param access ACCESS bits
   * @param alignmentCheck EFLAGS.AC, which lifts SMAP for explicit supervisor accesses
   */
  translate(address: number, access: number, alignmentCheck: boolean): number {
    const { format } = this.#context;
    if (format === null) return address;
    const control = this.#control(alignmentCheck);
    if (address >= FOUR_GIB) return this.#beyond(access, control);
    this.#chooseRoot(format, address);
    const { result } = this;
    translate(format, this.#rootLo, this.#rootHi, address >>> 12, access, control, this.#entries, result);
    return this.#found(address, access);
  }

  /** The same without setting A or D: whether the access would fault. */
  probe(address: number, access: number, alignmentCheck: boolean): number {
    const { format } = this.#context;
    if (format === null) return address;
    const control = this.#control(alignmentCheck);
    if (address >= FOUR_GIB) return this.#beyond(access, control);
    this.#chooseRoot(format, address);
    const { result } = this;
    const status = walk(format, this.#rootLo, this.#rootHi, address >>> 12, this.#entries, result);
    if (status === WALK.OK && !accessAllowed(result.rights, access, control)) result.status = WALK.DENIED;
    result.errorCode = walkErrorCode(result.status, access, control);
    return this.#found(address, access);
  }

  #control(alignmentCheck: boolean): number {
    return this.#context.control | (alignmentCheck ? PAGING_CONTROL.AC : 0);
  }

  /** CR3, or the cached PDPTE of the address. */
  #chooseRoot(format: PagingFormat, address: number): void {
    const { pdptes, cr3 } = this.#context.registers;
    const index = format.rootIsEntry ? pdpteIndex(address >>> 12) * 2 : -1;
    this.#rootLo = index < 0 ? cr3 : pdptes[index];
    this.#rootHi = index < 0 ? 0 : pdptes[index + 1];
  }

  /** Nothing is present above 4 GiB: nested tables in a 32-bit format have no entry for it (docs/findings.md). */
  #beyond(access: number, control: number): number {
    this.result.status = WALK.NOT_PRESENT;
    this.errorCode = pageFaultErrorCode(0, access, control);
    return -1;
  }

  #found(address: number, access: number): number {
    const { result } = this;
    const { trace } = this.#reports;
    if (trace !== null) trace.walk(address, access, result);
    if (result.status === WALK.OK) return result.frame * PAGE + (address & (PAGE - 1));
    this.errorCode = result.errorCode;
    return -1;
  }
}

/** Error code of a walk that judged an access without making it. */
function walkErrorCode(status: WalkStatus, access: number, control: number): number {
  if (status === WALK.OK || status === WALK.TABLE_ABSENT) return 0;
  const present = status === WALK.NOT_PRESENT ? 0 : PFERR.P;
  return pageFaultErrorCode(present | (status === WALK.RESERVED ? PFERR.RSVD : 0), access, control);
}
