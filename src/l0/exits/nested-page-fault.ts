/**
 * #VMEXIT(NPF): the processor found no usable entry for a guest-physical address in the nested tables that L0 made
 * (APM vol. 2 15.25.6). EXITINFO1 is the error code, EXITINFO2 the address.
 */
import { VMEXIT } from '../../arch/svm-exits.ts';
import { VMCB } from '../../arch/vmcb.ts';
import { FAULT } from '../mmu/fault.ts';
import { exitToL1Decoded } from '../nested/exit.ts';
import type { Vcpu } from '../vcpu.ts';
import { emulateFaulting } from './exceptions.ts';

const TWO_TO_32 = 0x1_0000_0000;
const ERROR_CODE = 0x1f;

export function handleNestedPageFault(vcpu: Vcpu): void {
  const { mmu, state } = vcpu;
  const { vmcb } = state;
  const address = vmcb.readHigh(VMCB.EXITINFO2) * TWO_TO_32 + vmcb.read(VMCB.EXITINFO2);
  const errorCode = vmcb.read(VMCB.EXITINFO1) & ERROR_CODE;
  switch (mmu.handleNestedFault(address, errorCode)) {
    case FAULT.INJECT:
      reflect(vcpu);
      break;
    case FAULT.EMULATE:
      emulateFaulting(vcpu);
      break;
    case FAULT.SPURIOUS:
      // Which linear address it was is not known.
      vcpu.asid.flush();
      break;
    default:
  }
}

/** L1's own nested tables forbid it. Whose access it was, and the address, are as the processor says: they are L2's. */
function reflect(vcpu: Vcpu): void {
  const { vmcb } = vcpu.state;
  const info1 = [vcpu.mmu.errorCode, vmcb.readHigh(VMCB.EXITINFO1)] as const;
  exitToL1Decoded(vcpu, VMEXIT.NPF, info1, [vmcb.read(VMCB.EXITINFO2), vmcb.readHigh(VMCB.EXITINFO2)]);
}
