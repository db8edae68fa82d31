/**
 * #VMEXIT(NPF): the processor found no usable entry for a guest-physical address in the nested tables that L0 made
 * (APM vol. 2 15.25.6). EXITINFO1 is the error code, EXITINFO2 the address.
 */
import { PAGE_OFFSET_MASK } from '../../arch/address.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { EVENT, NPF, VMCB, VMCB_SAVE } from '../../arch/vmcb.ts';
import { FAULT } from '../mmu/fault.ts';
import { exitToL1Decoded } from '../nested/exit.ts';
import type { Vcpu } from '../vcpu.ts';
import { emulateFaulting } from './exceptions.ts';

const TWO_TO_32 = 0x1_0000_0000;
const ERROR_CODE = 0x1f;
/** Bytes of an instruction at most (SDM vol. 2A 2.3.11). */
const LONGEST = 15;

export function handleNestedPageFault(vcpu: Vcpu): void {
  const { mmu, state, guestMmu } = vcpu;
  const { vmcb } = state;
  const { rules } = vcpu.vm;
  const address = vmcb.readHigh(VMCB.EXITINFO2) * TWO_TO_32 + vmcb.read(VMCB.EXITINFO2);
  const errorCode = vmcb.read(VMCB.EXITINFO1) & ERROR_CODE;
  const access = rules.nestedFaultAccess(errorCode, vmcb.readHigh(VMCB.EXITINFO1));
  const outcome = mmu.handleNestedFault(address, access);
  if (mmu === guestMmu && rules.nestedFaultIsL1s(outcome === FAULT.INJECT)) {
    reflect(vcpu, errorCode);
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

/** L1's own nested tables forbid it. Whose access it was, and the address, are as the processor says: they are L2's. */
function reflect(vcpu: Vcpu, reported: number): void {
  const { vmcb } = vcpu.state;
  const { rules, hypervisor } = vcpu.vm;
  const kind = vmcb.readHigh(VMCB.EXITINFO1);
  const info2 = [vmcb.read(VMCB.EXITINFO2), vmcb.readHigh(VMCB.EXITINFO2)] as const;
  const errorCode = rules.nestedErrorCode(vcpu.mmu.errorCode, reported);
  const unsaid = (kind & NPF.FINAL_HI) !== 0 && rules.looksForFetches(hypervisor.reportsFetches);
  const info1 = unsaid && isFetch(vcpu, info2) ? (vcpu.walk.nestedFault?.info1 ?? errorCode) : errorCode;
  exitToL1Decoded(vcpu, VMEXIT.NPF, [info1, rules.nestedFaultKind(kind)], info2);
}

/**
 * Whether it was a fetch, where the host has neither NX nor SMEP and its processor does not tell (APM vol. 2 15.25.6), but L1's
 * would. The fetch comes before all else that an instruction does: it was one if it still ends there.
 */
function isFetch(vcpu: Vcpu, [lo, hi]: readonly [number, number]): boolean {
  const { state, walk } = vcpu;
  const { vmcb } = state;
  if ((vmcb.read(VMCB.EXITINTINFO) & EVENT.VALID) !== 0) return false;
  const start = (vmcb.base(VMCB_SAVE.CS) + state.rip) >>> 0;
  const user = state.cpl === 3 ? ACCESS.USER : 0;
  const nextPage = ((start | PAGE_OFFSET_MASK) + 1) >>> 0;
  const places = PAGE_OFFSET_MASK - (start & PAGE_OFFSET_MASK) < LONGEST - 1 ? [start, nextPage] : [start];
  return places.some((linear) => {
    if (walk.probe(linear, ACCESS.FETCH | user, state.alignmentCheck) >= 0) return false;
    return walk.nestedFault?.address === hi * TWO_TO_32 + lo;
  });
}
