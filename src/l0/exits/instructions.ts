/** Exits of single instructions that need no room of their own. */
import { cpuid } from '../../arch/cpuid.ts';
import { APIC_BASE, MSR } from '../../arch/msrs.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { GPR } from '../../arch/registers.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { TASK_SWITCH_HI, VMCB, VMCB_SAVE, VMCB_SEGMENT_ORDER } from '../../arch/vmcb.ts';
import { eventInDelivery } from '../delivery.ts';
import type { Vcpu } from '../vcpu.ts';
import { instructionLength, readInstruction } from './instruction.ts';
import { readMsr } from './msr.ts';

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

/**
 * MONITOR: the line at EAX, in DS unless a prefix says otherwise; the processor has checked the access. MWAIT compares (SDM
 * vol. 2B "MONITOR").
 */
export function handleMonitor(vcpu: Vcpu): void {
  const { state, walk, vm, hardware } = vcpu;
  const instruction = readInstruction(vcpu);
  let host = NOWHERE;
  if (instruction !== null) {
    const segment = instruction.segment < 0 ? VMCB_SAVE.DS : VMCB_SEGMENT_ORDER[instruction.segment];
    const offset = state.register(GPR.EAX) & instruction.addressMask;
    const address = walk.probe((state.vmcb.base(segment) + offset) >>> 0, ACCESS.READ, state.alignmentCheck);
    if (address >= 0) host = vm.slots.hostAddress(address);
  }
  vcpu.monitor.arm(hardware.memory.u8, host);
  vcpu.skipInstruction();
}
const NOWHERE = -1;

/** MWAIT waits as HLT does, unless nothing is watched or the line was stored to since (SDM vol. 2B "MWAIT"). */
export function handleMwait(vcpu: Vcpu): void {
  const { monitor, hardware } = vcpu;
  const waits = monitor.waits(hardware.memory.u8);
  monitor.disarm();
  vcpu.skipInstruction();
  if (waits) vcpu.halted = true;
}

/** Caches are not modelled: INVD and WBINVD have nothing to do. */
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
  vcpu.emulation.run(VMEXIT.IRET);
  vcpu.events.nmiBlocked = false;
}

export const handleShutdown = (vcpu: Vcpu): void => vcpu.shutdown();

/** A VMCB of L0's own was refused: a bug. L1's are checked before. */
export function handleInvalid(vcpu: Vcpu): void {
  vcpu.fail('the processor refused a VMCB of its making (VMEXIT_INVALID)');
}

/**
 * RDTSC and RDTSCP: intercepted where the VM's CPU lacks them, and met by the emulator, which cannot tell the time.
 */
export function handleRdtsc(vcpu: Vcpu): void {
  const { state, msrs, vm } = vcpu;
  const rdtscp = state.vmcb.read(VMCB.EXITCODE) === VMEXIT.RDTSCP;
  if (!vm.model.features.has(rdtscp ? 'rdtscp' : 'tsc')) {
    vcpu.raiseUndefined();
    return;
  }
  const time = readMsr(vcpu, MSR.TSC);
  state.setRegister(GPR.EAX, time?.lo ?? 0);
  state.setRegister(GPR.EDX, time?.hi ?? 0);
  if (rdtscp) state.setRegister(GPR.ECX, msrs.get(MSR.TSC_AUX)?.lo ?? 0);
  vcpu.skipInstruction();
}

/**
 * Task switch (APM vol. 2 15.14.1): it loads CR3, which must not happen behind the shadow MMU's back. The processor's own
 * switch is run in the emulator; an event that caused it through a task gate is delivered by it.
 */
export function handleTaskSwitch(vcpu: Vcpu): void {
  const { state } = vcpu;
  const { vmcb } = state;
  const high = vmcb.readHigh(VMCB.EXITINFO2);
  const event = eventInDelivery(vcpu);
  vcpu.emulation.taskSwitch({
    selector: vmcb.read(VMCB.EXITINFO1) & 0xffff,
    source:
      (high & TASK_SWITCH_HI.IRET) !== 0 ? 'iret' : (high & TASK_SWITCH_HI.FAR_JUMP) !== 0 ? 'jump' : 'call',
    errorCode: (high & TASK_SWITCH_HI.ERROR_CODE) !== 0 ? vmcb.read(VMCB.EXITINFO2) : -1,
    external: event !== null && !event.software,
    // JMP, CALL and IRET are saved as done.
    savedRip: event !== null ? event.returnEip : (state.rip + instructionLength(vcpu)) >>> 0,
  });
}
