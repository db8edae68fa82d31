/**
 * #VMEXIT(NPF): the processor found no usable entry for a guest-physical address in the nested tables that L0 made
 * (APM vol. 2 15.25.6). EXITINFO1 is the error code, EXITINFO2 the address.
 */
import { PAGING_CONTROL } from '../../arch/paging/permissions.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { EVENT, NPF, VMCB } from '../../arch/vmcb.ts';
import { FAULT } from '../mmu/fault.ts';
import { exitToL1Decoded } from '../nested/exit.ts';
import type { Vcpu } from '../vcpu.ts';
import { emulateFaulting } from './exceptions.ts';

const TWO_TO_32 = 0x1_0000_0000;
const ERROR_CODE = 0x1f;
/** With one of these in L1's registers its processor tells of fetches (APM vol. 2 8.4.2, 15.25.6). */
const TELLS_FETCHES = PAGING_CONTROL.NX | PAGING_CONTROL.SMEP;

export function handleNestedPageFault(vcpu: Vcpu): void {
  const { mmu, state, guestMmu } = vcpu;
  const { vmcb } = state;
  const { rules } = vcpu.vm;
  const address = vmcb.readHigh(VMCB.EXITINFO2) * TWO_TO_32 + vmcb.read(VMCB.EXITINFO2);
  const errorCode = vmcb.read(VMCB.EXITINFO1) & ERROR_CODE;
  const access = rules.nestedFaultAccess(errorCode, vmcb.readHigh(VMCB.EXITINFO1));
  const outcome = mmu.handleNestedFault(address, access);
  if (mmu === guestMmu && rules.nestedFaultIsL1s(outcome === FAULT.INJECT)) {
    if (isOpen(vcpu, address)) emulateFaulting(vcpu);
    else reflect(vcpu, errorCode);
    return;
  }
  switch (outcome) {
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

/**
 * Whether the processor leaves something open that L1's own would have told. Then the access is made again in software, with
 * L1's features and registers, and ends L2 with all that there is to report.
 *
 * - A fetch or a read: the host has neither NX nor SMEP, and L1 has (APM vol. 2 15.25.6).
 * - An address beyond all tables: where L1's CPU has fewer address bits, they may be reserved bits of L2's entry, whose page
 *   fault is L2's own (APM vol. 2 5.3.1, SDM vol. 3A tables 4-4 and 4-11).
 */
function isOpen(vcpu: Vcpu, address: number): boolean {
  const { rules, hypervisor, model } = vcpu.vm;
  if (address >= TWO_TO_32) return hypervisor.hasMoreAddressBits(model);
  const { vmcb } = vcpu.state;
  const isFinal = (vmcb.readHigh(VMCB.EXITINFO1) & NPF.FINAL_HI) !== 0;
  const delivering = (vmcb.read(VMCB.EXITINTINFO) & EVENT.VALID) !== 0;
  if (!isFinal || delivering || (vcpu.mmu.context.control & TELLS_FETCHES) === 0) return false;
  return rules.looksForFetches(hypervisor.reportsFetches);
}

/** L1's own nested tables forbid it. Whose access it was, and the address, are as the processor says: they are L2's. */
function reflect(vcpu: Vcpu, reported: number): void {
  const { vmcb } = vcpu.state;
  const { rules } = vcpu.vm;
  const info1 = rules.nestedErrorCode(vcpu.mmu.errorCode, reported);
  const kind = rules.nestedFaultKind(vmcb.readHigh(VMCB.EXITINFO1));
  const info2 = [vmcb.read(VMCB.EXITINFO2), vmcb.readHigh(VMCB.EXITINFO2)] as const;
  exitToL1Decoded(vcpu, VMEXIT.NPF, [info1, kind], info2);
}
