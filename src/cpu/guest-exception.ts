import { VECTOR } from '../arch/exceptions.ts';

/** Error codes of these name a selector, or none, and have the EXT bit (SDM vol. 3A 6.13). */
const WITH_EXT: readonly number[] = [VECTOR.TS, VECTOR.NP, VECTOR.SS, VECTOR.GP];
const EXT = 1;

/** What `vector` says of a nested page fault: no exception of the guest, but the end of it, #VMEXIT(NPF). */
export const NESTED_PAGE_FAULT = 0x400;

/** An exception to deliver, as the instruction that runs raises it. */
export class GuestException {
  vector = 0;
  /** -1: the vector has none. */
  errorCode = -1;
  /** The linear address of a page fault, for CR2. */
  linear = 0;
  /** Guest-physical address of a nested page fault. */
  guestAddress = 0;
  /** It is that of an entry in the guest's tables, not the final one. */
  inGuestTable = false;
  #taskEip = -1;

  /** @param errorCode EXITINFO1 bits 4:0 */
  setNestedPageFault(guestAddress: number, errorCode: number, inGuestTable: boolean): void {
    this.vector = NESTED_PAGE_FAULT;
    this.errorCode = errorCode;
    this.guestAddress = guestAddress;
    this.inGuestTable = inGuestTable;
  }

  /** It was met on the way to the handler of an event that no INT instruction made: EXT in its error code. */
  setExternal(): void {
    if (WITH_EXT.includes(this.vector)) this.errorCode |= EXT;
  }

  /** It was met behind the commit point of a task switch, and belongs to the new task's first instruction, at `eip`. */
  setTaskEip(eip: number): void {
    this.#taskEip = eip;
  }
  /** Where it leaves EIP: `eip`, unless a task switch was committed before it. To be asked once. */
  takeEip(eip: number): number {
    const taskEip = this.#taskEip;
    this.#taskEip = -1;
    return taskEip < 0 ? eip : taskEip;
  }
}

/** #VMEXIT happened inside an instruction: the instruction is over, and so is the guest. */
export class VmExit {}
