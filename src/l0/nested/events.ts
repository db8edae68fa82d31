/** Events that come up while L2 runs and that L1 intercepts: they end L2 instead of being delivered (APM vol. 2 15.12, 15.13). */
import { VECTOR } from '../../arch/exceptions.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { INTERCEPT1, VMCB } from '../../arch/vmcb.ts';
import { deliverQueued } from '../delivery.ts';
import type { Vcpu } from '../vcpu.ts';
import { exitToL1, exitToL1Decoded } from './exit.ts';
import { exitForPageFault } from './nested-fault.ts';

/** INT n and its like, whose delivery the last exit met, L2 is still to execute; other events are in the queue. */
function exitBetweenInstructions(vcpu: Vcpu, code: number): void {
  vcpu.state.vmcb.write64(VMCB.EXITINTINFO, 0, 0);
  exitToL1(vcpu, code);
}

/** BOUND was emulated, and left its next rIP where the processor would (APM vol. 2 15.7.1). There are no instruction bytes. */
function exitForBound(vcpu: Vcpu): void {
  vcpu.state.vmcb.bytes[VMCB.INSTRUCTION_COUNT] = 0;
  exitToL1Decoded(vcpu, VMEXIT.EXCP + VECTOR.BR, [0, 0], [0, 0]);
}

/**
 * Called before each entry of L2. Afterwards L1 is current if it wanted one of the pending events. Those between two
 * instructions come behind what is in delivery, as an event that L1 injects, and find the flags of its handler.
 */
export function interceptEvents(vcpu: Vcpu): void {
  const { events, nested, vm, state } = vcpu;
  const interrupts = nested.interceptsInterrupts && vm.environment.interrupts.pending;
  if (interrupts || (events.initPending && nested.interceptsInit)) deliverQueued(vcpu);
  if (!state.guestMode) return;
  if (events.nestedVector === VECTOR.PF) {
    exitForPageFault(vcpu, events.nestedErrorCode, events.nestedAddress, events.fetching);
  } else if (events.nestedVector === VECTOR.BR) {
    exitForBound(vcpu);
  } else if (events.nestedVector >= 0) {
    exitToL1(vcpu, VMEXIT.EXCP + events.nestedVector, events.nestedErrorCode);
  } else if (events.tripleFault) {
    if ((nested.read12(VMCB.INTERCEPT_MISC1) & INTERCEPT1.SHUTDOWN) === 0) return;
    events.tripleFault = false;
    exitToL1(vcpu, VMEXIT.SHUTDOWN);
  } else if (events.initPending && nested.interceptsInit) {
    exitBetweenInstructions(vcpu, VMEXIT.INIT);
  } else if (events.nmiPending && !events.nmiBlocked && nested.interceptsNmi) {
    // The NMI stays pending for L1, which takes it after STGI.
    exitBetweenInstructions(vcpu, VMEXIT.NMI);
  } else if (interrupts && nested.interruptsOpen) {
    // Likewise: a physical interrupt is not acknowledged by the exit.
    exitBetweenInstructions(vcpu, VMEXIT.INTR);
  }
}
