/** Nested page faults of L2 that are L1's: #VMEXIT(NPF) with what L1's processor would report (APM vol. 2 15.25.6). */
import { VMEXIT } from '../../arch/svm-exits.ts';
import { VMCB } from '../../arch/vmcb.ts';
import { readCodeBytes } from '../exits/instruction.ts';
import type { NestedFault } from '../mmu/nested-walk.ts';
import type { Vcpu } from '../vcpu.ts';
import { exitToL1Decoded } from './exit.ts';

const TWO_TO_32 = 0x1_0000_0000;

/** Most instruction bytes that a #VMEXIT reports (APM vol. 2 15.8.4). */
const MOST_BYTES = 15;

/**
 * Ends L2 with a nested page fault that L0 met in its place. The instruction at RIP is reported as the processor would: none
 * if it is that which could not be fetched.
 */
export function exitForNestedFault(vcpu: Vcpu, fault: NestedFault): void {
  const { info1, info1Hi, address, fetch } = fault;
  const { vmcb } = vcpu.state;
  vmcb.write64(VMCB.NRIP, 0, 0);
  const bytes = vmcb.bytes.subarray(VMCB.INSTRUCTION_BYTES, VMCB.INSTRUCTION_BYTES + MOST_BYTES);
  bytes.fill(0);
  vmcb.bytes[VMCB.INSTRUCTION_COUNT] = fetch ? 0 : readCodeBytes(vcpu, bytes);
  const address2 = [address % TWO_TO_32, Math.floor(address / TWO_TO_32)] as const;
  exitToL1Decoded(vcpu, VMEXIT.NPF, [info1, info1Hi], address2);
}

/** What a failed guest walk at `linear` comes to: the guest's page fault, or L1's nested one. */
export function raiseWalkFault(vcpu: Vcpu, linear: number): void {
  const { walk } = vcpu;
  if (walk.nestedFault) exitForNestedFault(vcpu, walk.nestedFault);
  else vcpu.raisePageFault(walk.errorCode, linear);
}
