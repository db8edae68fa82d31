/** Exits of single instructions that need no room of their own. */
import { cpuid } from '../../arch/cpuid.ts';
import { APIC_BASE } from '../../arch/msrs.ts';
import { CR0, GPR } from '../../arch/registers.ts';
import { CLEAN, EVENT, EVENT_TYPE, TASK_SWITCH_HI, VMCB, VMCB_SAVE } from '../../arch/vmcb.ts';
import type { TaskSwitchRequest } from '../hardware.ts';
import type { Vcpu } from '../vcpu.ts';
import { instructionLength } from './instruction.ts';

/** CPUID answers for the VM's model. */
export function handleCpuid(vcpu: Vcpu): void {
  const { state, vm } = vcpu;
  const { apic } = vm.environment;
  const leaf = state.register(GPR.EAX);
  const subleaf = state.register(GPR.ECX);
  const shown = vcpu.msrs.cpuidState(vcpu.index, apic === undefined ? APIC_BASE.ENABLE : apic.baseLo);
  const answer = cpuid(vm.model, leaf, subleaf, shown);
  if (vm.trace !== null) vm.trace.cpuid(leaf, subleaf, answer.eax, answer.ebx, answer.ecx, answer.edx);
  state.setRegister(GPR.EAX, answer.eax);
  state.setRegister(GPR.EBX, answer.ebx);
  state.setRegister(GPR.ECX, answer.ecx);
  state.setRegister(GPR.EDX, answer.edx);
  vcpu.skipInstruction();
}

/** HLT: the vCPU waits for an event, behind the instruction. */
export function handleHlt(vcpu: Vcpu): void {
  vcpu.skipInstruction();
  vcpu.halted = true;
}

/** Caches are not modelled: INVD and WBINVD have nothing to do, MONITOR nothing to watch. */
export const handleNothing = (vcpu: Vcpu): void => vcpu.skipInstruction();

/** Instructions that the VM's CPU does not have. */
export const handleUndefined = (vcpu: Vcpu): void => vcpu.raiseUndefined();

/** RDPMC: the counters are MSRs that count nothing. */
export function handleRdpmc(vcpu: Vcpu): void {
  const { state, msrs } = vcpu;
  const value = msrs.performanceCounter(state.register(GPR.ECX));
  if (value === undefined) {
    vcpu.raiseGeneralProtection();
    return;
  }
  state.setRegister(GPR.EAX, value.lo);
  state.setRegister(GPR.EDX, value.hi);
  vcpu.skipInstruction();
}

/**
 * Physical interrupts, NMI, SMI and INIT are the host's: STGI has let it handle them. An open interrupt window needs nothing
 * either: the next entry injects.
 */
export const handleHostEvent = (_vcpu: Vcpu): void => {};

/** IRET ends the blocking of NMIs (SDM vol. 3A 6.7.1). It is run here, so that an NMI can follow right behind it. */
export function handleIret(vcpu: Vcpu): void {
  vcpu.intercepts.iret = false;
  vcpu.applyIntercepts();
  vcpu.emulation.run();
  vcpu.events.nmiBlocked = false;
}

export const handleShutdown = (vcpu: Vcpu): void => vcpu.shutdown();

/** A VMCB of L0's own was refused: a bug. L1's are checked before. */
export function handleInvalid(vcpu: Vcpu): void {
  vcpu.fail('the processor refused a VMCB of its making (VMEXIT_INVALID)');
}

/**
 * Task switch (APM vol. 2 15.14.1): it loads CR3, which must not happen behind the shadow MMU's back. The processor's own
 * switch is run in the emulator.
 */
export function handleTaskSwitch(vcpu: Vcpu): void {
  const { state } = vcpu;
  const { vmcb } = state;
  const request = taskSwitchRequest(vcpu);
  // The event that caused the switch through a task gate is delivered by the switch itself.
  vcpu.events.clear();
  if (!vcpu.emulation.taskSwitch(request)) {
    vcpu.fail('the emulator does not perform a task switch');
    return;
  }
  state.cr0 = (state.cr0 | CR0.TS) >>> 0;
  vmcb.write(VMCB_SAVE.CR0, vmcb.read(VMCB_SAVE.CR0) | CR0.TS);
  vmcb.dirty(CLEAN.CRX | CLEAN.SEG | CLEAN.DT | CLEAN.DRX);
  state.interruptShadow = false;
}

function taskSwitchRequest(vcpu: Vcpu): TaskSwitchRequest {
  const { state } = vcpu;
  const { vmcb } = state;
  const high = vmcb.readHigh(VMCB.EXITINFO2);
  const selector = vmcb.read(VMCB.EXITINFO1) & 0xffff;
  const errorCode = (high & TASK_SWITCH_HI.ERROR_CODE) !== 0 ? vmcb.read(VMCB.EXITINFO2) : -1;
  const source =
    (high & TASK_SWITCH_HI.IRET) !== 0 ? 'iret' : (high & TASK_SWITCH_HI.FAR_JUMP) !== 0 ? 'jump' : 'call';
  // Instructions are saved as done; exceptions and interrupts leave RIP where it is.
  const external = isExternalEvent(vmcb.read(VMCB.EXITINTINFO));
  const savedRip = external ? state.rip : (state.rip + instructionLength(vcpu)) >>> 0;
  return { selector, source, errorCode, savedRip, external };
}

/** Whether EXITINTINFO has an event other than those of INT n, INT3 and INTO. */
function isExternalEvent(info: number): boolean {
  const type = info & EVENT.TYPE;
  const vector = info & EVENT.VECTOR;
  const soft =
    type === EVENT_TYPE.SOFTWARE || (type === EVENT_TYPE.EXCEPTION && (vector === 3 || vector === 4));
  return (info & EVENT.VALID) !== 0 && !soft;
}
