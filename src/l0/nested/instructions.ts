/** The SVM instructions as L1 executes them (APM vol. 2 15.5, 15.16.2, 15.17; APM vol. 3). */
import type { Gva, Hpa } from '../../arch/address.ts';
import { EFER, GPR } from '../../arch/registers.ts';
import { VMCB_SIZE } from '../../arch/vmcb.ts';
import { addressInRax } from '../exits/instruction.ts';
import { trackWrite } from '../mmu/write-track.ts';
import type { Vcpu } from '../vcpu.ts';
import { enterL2 } from './enter.ts';

/**
 * #UD while L1 has not set EFER.SVME. The other checks, protected mode and CPL 0, the processor makes before it looks for
 * intercepts.
 */
function isAllowed(vcpu: Vcpu): boolean {
  if ((vcpu.state.efer & EFER.SVME) !== 0) return true;
  vcpu.raiseUndefined();
  return false;
}

/** Guest-physical address of the VMCB in rAX; -1 after #GP for one that is no page below MAXPHYADDR. */
function vmcbOperand(vcpu: Vcpu): number {
  const address = addressInRax(vcpu);
  const limit = 2 ** vcpu.vm.model.maxPhysicalAddressBits;
  if (address % VMCB_SIZE === 0 && address < limit) return address;
  vcpu.raiseGeneralProtection();
  return -1;
}

export function handleVmrun(vcpu: Vcpu): void {
  const address = isAllowed(vcpu) ? vmcbOperand(vcpu) : -1;
  if (address < 0) return;
  vcpu.skipInstruction();
  enterL2(vcpu, address);
}

/** FS, GS, TR, LDTR and the rest go straight from L1's VMCB into the processor, where L1's own are. */
export function handleVmload(vcpu: Vcpu): void {
  const host = vmcbInMemory(vcpu);
  if (host < 0) return;
  vcpu.hardware.vmload(host as Hpa);
  vcpu.skipInstruction();
}

export function handleVmsave(vcpu: Vcpu): void {
  const host = vmcbInMemory(vcpu);
  if (host < 0) return;
  vcpu.hardware.vmsave(host as Hpa);
  vcpu.hardware.memory.written(host as Hpa, VMCB_SIZE);
  trackWrite(vcpu.vm.tables, addressInRax(vcpu), VMCB_SIZE);
  vcpu.skipInstruction();
}

/** Host address of the operand; a VMCB outside memory is refused like one outside the address space. */
function vmcbInMemory(vcpu: Vcpu): number {
  const address = isAllowed(vcpu) ? vmcbOperand(vcpu) : -1;
  if (address < 0) return -1;
  const host = vcpu.vm.slots.hostAddress(address);
  if (host < 0) vcpu.raiseGeneralProtection();
  return host;
}

export function handleStgi(vcpu: Vcpu): void {
  if (!isAllowed(vcpu)) return;
  vcpu.gif = true;
  vcpu.skipInstruction();
}

export function handleClgi(vcpu: Vcpu): void {
  if (!isAllowed(vcpu)) return;
  vcpu.gif = false;
  vcpu.skipInstruction();
}

/**
 * INVLPGA rAX, ECX: ASIDs are as L1 gives them, whoever executes it, and 0 is L1 itself (APM vol. 2 15.16.2). What L0 holds of
 * the tables of the level that is running is brought up to date; those of the other one are read again as it is entered.
 */
export function handleInvlpga(vcpu: Vcpu): void {
  if (!isAllowed(vcpu)) return;
  const linear = addressInRax(vcpu);
  const { hardware, asid01, nested, state, vm } = vcpu;
  const ofL1 = vm.rules.invlpgaIsForL1(state.register(GPR.ECX), state.guestMode);
  if (vm.rules.invlpgaSyncs(ofL1 !== state.guestMode)) vcpu.invalidatePage(linear);
  else if (ofL1) hardware.invlpga(linear as Gva, asid01.asid);
  else if (vm.rules.invlpgaReachesL2()) hardware.invlpga(linear as Gva, nested.asid02.asid);
  vcpu.skipInstruction();
}
