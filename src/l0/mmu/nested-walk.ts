/**
 * From a linear address of the guest to a physical one of L1, in software, for whatever L0 does in the guest's place: emulated
 * instructions, events delivered, operands read.
 *
 * For L1, and for an L2 whose paging L1 shadows, that is a walk of the guest's own tables, which every Mmu can do. For an L2
 * with nested paging there are two stages: L2's tables hold L2-physical addresses, each of which goes through L1's nested
 * tables, as on the processor (APM vol. 2 15.25.5). What fails may then be L2's page fault or L1's nested page fault.
 */
import { ACCESS } from '../../arch/paging/permissions.ts';
import { TranslatedEntries } from '../../arch/paging/translated-entries.ts';
import { WALK } from '../../arch/paging/walker.ts';
import { NPF } from '../../arch/vmcb.ts';
import type { Rules } from '../rules.ts';
import type { MmuContext } from './context.ts';
import { GuestTables } from './guest-tables.ts';
import { GuestWalk } from './guest-walk.ts';
import type { ShadowTables } from './shadow-tables.ts';

/** What #VMEXIT(NPF) reports (APM vol. 2 15.25.6). */
export interface NestedFault {
  /** EXITINFO1: the error code, and in the high half which access it was. */
  readonly info1: number;
  readonly info1Hi: number;
  /** EXITINFO2: L2-physical address. */
  readonly address: number;
  /** An instruction was being fetched, which EXITINFO1 does not tell on every host. */
  readonly fetch: boolean;
}

/** Translation of linear addresses in software; every Mmu has it. */
export interface LinearWalk {
  /**
   * L1-physical address behind a linear one, walked as the guest's processor would, A and D set. -1 if the access faults.
   *
   * @param access         ACCESS bits
   * @param alignmentCheck EFLAGS.AC, which lifts SMAP for explicit supervisor accesses
   */
  translate(address: number, access: number, alignmentCheck: boolean): number;
  /** Whether the access would fault. Otherwise as `translate`; A and D are set at most on the way to a fault. */
  probe(address: number, access: number, alignmentCheck: boolean): number;
  /** Page-fault error code behind the last -1, unless that is a nested fault. */
  readonly errorCode: number;
  /** The nested page fault behind the last -1; null or absent if it is the guest's page fault. */
  readonly nestedFault?: NestedFault | null;
}

/** The second stage: L1's nested tables, as the Mmu that shadows them walks them. */
class SecondStage implements NestedFault {
  info1 = 0;
  info1Hi = 0;
  address = 0;
  fetch = false;
  readonly #tables: LinearWalk;
  readonly #rules: Rules;

  /** @param tables takes L2-physical addresses to L1-physical ones */
  constructor(tables: LinearWalk, rules: Rules) {
    this.#tables = tables;
    this.#rules = rules;
  }

  /**
   * L1-physical address; -1 with the fault filled in if L1's nested tables forbid the access.
   *
   * @param access WRITE, FETCH or nothing: all nested accesses are user accesses
   * @param kind   NPF bit: of an entry of L2's tables, or the final one
   * @param marks  whether A and D are set in the nested tables
   */
  translate(address: number, access: number, kind: number, marks: boolean): number {
    const wanted = (access & (ACCESS.WRITE | ACCESS.FETCH)) | ACCESS.USER;
    const tables = this.#tables;
    const place = marks ? tables.translate(address, wanted, false) : tables.probe(address, wanted, false);
    if (place >= 0) return place;
    this.info1 = tables.errorCode;
    this.info1Hi = this.#rules.nestedFaultKind(kind);
    this.address = address;
    return -1;
  }
}

/** Entries of L2's tables: their L2-physical addresses go through L1's nested tables first, as user writes (15.25.5). */
class NestedEntries extends TranslatedEntries {
  /** Whether A and D are set in the nested tables. */
  marks = false;
  readonly #stage: SecondStage;
  readonly #rules: Rules;

  constructor(entries: GuestTables, stage: SecondStage, rules: Rules) {
    super(entries);
    this.#stage = stage;
    this.#rules = rules;
  }

  protected override place(address: number): number {
    return this.#stage.translate(address, this.#rules.nestedTableAccess(), NPF.TABLE_HI, this.marks);
  }
}

/** The walk of an L2 with nested paging. */
export class NestedWalk implements LinearWalk {
  nestedFault: NestedFault | null = null;
  readonly #context: MmuContext;
  readonly #stage: SecondStage;
  readonly #entries: NestedEntries;
  readonly #own: GuestWalk;

  /**
   * @param context of L2's own paging: cpu role, format and permission rules; brought up to date before each walk, since L2 may
   *                write its control registers without an exit
   * @param nested  L1's nested tables, from L2-physical to L1-physical addresses
   */
  constructor(tables: ShadowTables, context: MmuContext, nested: LinearWalk) {
    this.#context = context;
    const { rules } = tables;
    this.#stage = new SecondStage(nested, rules);
    this.#entries = new NestedEntries(new GuestTables(tables, tables.guards), this.#stage, rules);
    this.#own = new GuestWalk(context, this.#entries, tables);
  }

  /** Page-fault error code of L2's own fault. */
  get errorCode(): number {
    return this.#own.errorCode;
  }

  translate(address: number, access: number, alignmentCheck: boolean): number {
    const middle = this.#first(address, access, alignmentCheck, true);
    return middle < 0 ? -1 : this.#final(middle, access, true);
  }

  /**
   * A walk that fails is made once more as the processor makes it: by the time that it faults it has set A and D of the nested
   * entries that led to L2's tables, and where only the final access fails, of L2's own.
   */
  probe(address: number, access: number, alignmentCheck: boolean): number {
    const middle = this.#first(address, access, alignmentCheck, false);
    const place = middle < 0 ? -1 : this.#final(middle, access, false);
    return place < 0 ? this.translate(address, access, alignmentCheck) : place;
  }

  /** L2-physical address; -1 if L2's tables forbid the access, or the nested ones the way through them. */
  #first(address: number, access: number, alignmentCheck: boolean, marks: boolean): number {
    this.#context.update('guest walk');
    this.nestedFault = null;
    this.#stage.fetch = (access & ACCESS.FETCH) !== 0;
    this.#entries.marks = marks;
    const own = this.#own;
    const middle = marks
      ? own.translate(address, access, alignmentCheck)
      : own.probe(address, access, alignmentCheck);
    if (middle < 0 && own.result.status === WALK.TABLE_ABSENT) this.nestedFault = this.#stage;
    return middle;
  }

  #final(address: number, access: number, marks: boolean): number {
    const place = this.#stage.translate(address, access, NPF.FINAL_HI, marks);
    if (place < 0) this.nestedFault = this.#stage;
    return place;
  }
}
