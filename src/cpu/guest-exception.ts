/** An exception to deliver, as the instruction that runs raises it. */
export class GuestException {
  vector = 0;
  /** -1: the vector has none. */
  errorCode = -1;
  /** The linear address of a page fault, for CR2. */
  linear = 0;
}

/** #VMEXIT happened inside an instruction: the instruction is over, and so is the guest. */
export class VmExit {}
