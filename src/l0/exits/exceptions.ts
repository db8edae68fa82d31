/** Intercepted exceptions (APM vol. 2 15.12). #PF is the heart of shadow paging: EXITINFO1 is the error code, EXITINFO2 the address. */
import { EFER, EFLAGS } from '../../arch/registers.ts';
import { EVENT, VMCB } from '../../arch/vmcb.ts';
import { deliverInSoftware } from '../delivery.ts';
import { FAULT } from '../mmu/fault.ts';
import type { Vcpu } from '../vcpu.ts';
import { readInstruction } from './instruction.ts';

export function handlePageFault(vcpu: Vcpu): void {
  const { state, mmu } = vcpu;
  const address = state.vmcb.read(VMCB.EXITINFO2);
  const outcome = mmu.handleFault(address, state.vmcb.read(VMCB.EXITINFO1), state.cpl, state.alignmentCheck);
  switch (outcome) {
    case FAULT.INJECT:
      vcpu.raisePageFault(mmu.errorCode, address, isFetch(vcpu));
      break;
    case FAULT.EMULATE:
      emulateFaulting(vcpu);
      break;
    case FAULT.SPURIOUS:
      vcpu.hardware.invlpga(address as never, vcpu.asid.asid);
      break;
    default:
  }
}

/** No bytes were read of an instruction that no event was in front of (APM vol. 2 15.8.4). Without decode assists nobody asks. */
function isFetch({ state: { vmcb } }: Vcpu): boolean {
  const delivering = (vmcb.read(VMCB.EXITINTINFO) & EVENT.VALID) !== 0;
  return !delivering && vmcb.bytes[VMCB.INSTRUCTION_COUNT] === 0;
}

/** A device, nothing at all or a protected table is behind the address: the access is carried out in software. */
export function emulateFaulting(vcpu: Vcpu): void {
  const delivering = (vcpu.state.vmcb.read(VMCB.EXITINTINFO) & EVENT.VALID) !== 0;
  if (delivering) deliverInSoftware(vcpu);
  else vcpu.emulation.run();
  if (vcpu.mmu.checker !== null) vcpu.mmu.checker.check(vcpu.mmu, 'emulation');
}

/** Exceptions that L0 intercepts only so that the guest leaves the processor, or for its own sake: they are the guest's. */
export function handleReflectedException(vcpu: Vcpu): void {
  const { vmcb } = vcpu.state;
  const vector = vmcb.read(VMCB.EXITCODE) & 0x1f;
  vcpu.events.raise(vector, vmcb.read(VMCB.EXITINFO1));
}

/**
 * #GP: intercepted while the guest has not turned SVM on, since the processor itself runs with EFER.SVME = 1 and checks
 * privilege before it looks for intercepts. The guest's own would not know the instruction at all (APM vol. 2 15.4).
 */
export function handleGeneralProtection(vcpu: Vcpu): void {
  const { state } = vcpu;
  if ((state.efer & EFER.SVME) === 0 && state.vmcb.read(VMCB.EXITINFO1) === 0 && isSvmInstruction(vcpu)) {
    vcpu.raiseUndefined();
  } else handleReflectedException(vcpu);
}

/** 0F 01 D8 to DF: VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, INVLPGA (APM vol. 3). */
function isSvmInstruction(vcpu: Vcpu): boolean {
  // A fault while an event is delivered is no instruction's.
  if ((vcpu.state.vmcb.read(VMCB.EXITINTINFO) & EVENT.VALID) !== 0) return false;
  if ((vcpu.state.rflags & EFLAGS.VM) !== 0) return false;
  const instruction = readInstruction(vcpu);
  return instruction !== null && instruction.opcode === 0x01 && (instruction.modrm & 0xf8) === 0xd8;
}
