/** Nested page faults of L2 that are L1's: #VMEXIT(NPF) with what L1's processor would report (APM vol. 2 15.25.6). */

import { VECTOR } from '../../arch/exceptions.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { VMCB } from '../../arch/vmcb.ts';
import { fillInstructionBytes } from '../exits/instruction.ts';
import type { NestedFault } from '../mmu/nested-walk.ts';
import type { Vcpu } from '../vcpu.ts';
import { exitToL1Decoded } from './exit.ts';

const TWO_TO_32 = 0x1_0000_0000;

/**
 * Ends L2 with a nested page fault that L0 met in its place. The instruction at RIP is reported as the processor would: none
 * if it is that which could not be fetched.
 */
export function exitForNestedFault(vcpu: Vcpu, fault: NestedFault): void {
  const { info1, info1Hi, address, fetch } = fault;
  reportInstruction(vcpu, fetch);
  exitToL1Decoded(vcpu, VMEXIT.NPF, [info1, info1Hi], [address % TWO_TO_32, Math.floor(address / TWO_TO_32)]);
}

/** Ends L2 with a page fault of its own that L1 intercepts, and that L0 judged or met. The rest as above. */
export function exitForPageFault(vcpu: Vcpu, errorCode: number, linear: number, fetch: boolean): void {
  reportInstruction(vcpu, fetch);
  exitToL1Decoded(vcpu, VMEXIT.EXCP + VECTOR.PF, [errorCode, 0], [linear, 0]);
}

/** Next rIP and instruction bytes of a page fault in the current VMCB: none, and those at RIP (APM vol. 2 15.7.1, 15.8.4). */
function reportInstruction(vcpu: Vcpu, fetch: boolean): void {
  const { vmcb } = vcpu.state;
  vmcb.write64(VMCB.NRIP, 0, 0);
  vmcb.bytes[VMCB.INSTRUCTION_COUNT] = 0;
  if (!fetch && vcpu.vm.model.features.has('decodeassists')) fillInstructionBytes(vcpu);
}

/** What a failed guest walk at `linear` comes to: the guest's page fault, or L1's nested one. */
export function raiseWalkFault(vcpu: Vcpu, linear: number): void {
  const { walk } = vcpu;
  if (walk.nestedFault) exitForNestedFault(vcpu, walk.nestedFault);
  else vcpu.raisePageFault(walk.errorCode, linear);
}
