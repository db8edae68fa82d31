/**
 * Events on their way into the guest: an exception that L0 raises, an event whose delivery an exit interrupted, NMI. What
 * L0 injects goes through EVENTINJ (APM vol. 2 15.20); what an exit found half delivered comes back in EXITINTINFO (15.7.2).
 */
import {
  COMBINATION,
  combineExceptions,
  EXCEPTION_KIND,
  exceptionOf,
  pushesErrorCode,
  VECTOR,
} from '../arch/exceptions.ts';
import { EVENT, EVENT_TYPE, eventInjection } from '../arch/vmcb.ts';

/** No event. */
export const NO_EVENT = 0;

export class EventQueue {
  /** Exception to inject, -1 for none, with its error code (0 if it has none). */
  vector = -1;
  errorCode = 0;
  /** Linear address of a #PF that CR2 does not have yet, -1 for none: it changes only when the fault is delivered. */
  pageFaultAddress = -1;
  /** Of the exceptions raised, one is a fault that RF does not show yet. */
  faulted = false;
  /** The exception as EVENTINJ has it, where it is delivered again; its CR2 and DR6 are in place already. Else 0. */
  redelivered: number = NO_EVENT;
  /** INTR, NMI or INT n to deliver again, as in EVENTINJ; NO_EVENT if there is none. */
  event: number = NO_EVENT;
  /** Vectors that L1 intercepts, one bit each, while L2 runs; 0 for L1. */
  interceptedByL1 = 0;
  /** An exception of L2 that L1 intercepts: it ends L2 instead of being delivered. -1 for none. */
  nestedVector = -1;
  nestedErrorCode = 0;
  nestedAddress = 0;
  /** The last page fault raised was met by a fetch, between two instructions. */
  fetching = false;
  /** INIT was signalled and not taken. */
  initPending = false;
  nmiPending = false;
  /** An NMI was accepted and its IRET has not been seen. */
  nmiBlocked = false;
  /** A fault while delivering #DF. */
  tripleFault = false;

  get empty(): boolean {
    return this.vector < 0 && this.nestedVector < 0 && this.event === NO_EVENT;
  }

  /** Forgets what was to be injected; NMI state stays. */
  clear(): void {
    this.pageFaultAddress = -1;
    this.faulted = false;
    this.vector = -1;
    this.nestedVector = -1;
    this.event = NO_EVENT;
    this.redelivered = NO_EVENT;
  }

  /** The event in delivery has reached its handler, without the processor. */
  arrived(): void {
    this.clear();
  }

  /**
   * Raises an exception on the guest's behalf. Combined with one that is in delivery by the double-fault rule
   * (SDM vol. 3A 6.15, APM vol. 2 8.2.9). `errorCode` is ignored for vectors without one.
   */
  raise(vector: number, errorCode = 0, address = 0): void {
    // An intercept is looked for before the exception is combined with one in delivery (APM vol. 2 15.12).
    if (this.#endsL2(vector, errorCode, address)) return;
    if (vector === VECTOR.PF) this.pageFaultAddress = address;
    if (exceptionOf(vector)?.kind === EXCEPTION_KIND.FAULT) this.faulted = true;
    // An interrupt whose delivery faults is lost: it was acknowledged.
    this.event = NO_EVENT;
    if (this.vector >= 0) {
      const combination = combineExceptions(this.vector, vector);
      if (combination === COMBINATION.SHUTDOWN) {
        this.tripleFault = true;
        return;
      }
      if (combination === COMBINATION.DOUBLE_FAULT) {
        if (!this.#endsL2(VECTOR.DF, 0, 0)) this.#set(VECTOR.DF, 0, NO_EVENT);
        return;
      }
      // Otherwise the second one is delivered; the instruction that raised the first will raise it again.
    }
    this.#set(vector, pushesErrorCode(vector) ? errorCode >>> 0 : 0, NO_EVENT);
  }

  #endsL2(vector: number, errorCode: number, address: number): boolean {
    if (((this.interceptedByL1 >>> vector) & 1) === 0) return false;
    this.nestedVector = vector;
    this.nestedErrorCode = pushesErrorCode(vector) ? errorCode >>> 0 : 0;
    this.nestedAddress = address;
    return true;
  }

  /** Takes over EXITINTINFO: the event must be delivered again, unless its instruction will raise it again. */
  redeliver(info: number, errorCode: number, injectedByL0: boolean): void {
    const type = info & EVENT.TYPE;
    const vector = info & EVENT.VECTOR;
    if (type === EVENT_TYPE.EXCEPTION) {
      // INT3, INTO and INT1 are executed once more: RIP still points to them. Any other #DB would have exited.
      if (!injectedByL0 && (vector === VECTOR.BP || vector === VECTOR.OF || vector === VECTOR.DB)) return;
      this.#set(vector, errorCode, info);
    } else if (type !== EVENT_TYPE.SOFTWARE || injectedByL0) this.event = info;
  }

  /** An event given as in EVENTINJ (L1's for L2) is to be injected as it stands. */
  inject(info: number, errorCode: number): void {
    if ((info & EVENT.TYPE) === EVENT_TYPE.EXCEPTION) this.#set(info & EVENT.VECTOR, errorCode, info);
    else this.event = info;
  }

  #set(vector: number, errorCode: number, redelivered: number): void {
    this.vector = vector;
    this.errorCode = errorCode;
    this.redelivered = redelivered;
  }

  /**
   * The pending exception as EVENTINJ has it.
   *
   * @param protectedMode CR0.PE: in real mode no exception pushes an error code (SDM vol. 3A 20.1.4)
   */
  injection(protectedMode: boolean): number {
    if (this.redelivered !== NO_EVENT) return this.redelivered;
    const hasErrorCode = protectedMode && pushesErrorCode(this.vector);
    return eventInjection(EVENT_TYPE.EXCEPTION, this.vector, hasErrorCode);
  }
}
