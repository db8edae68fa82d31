/** The registers of a vCPU as a VMM sees them: RESET, a loader's initial state, reading them back. */
import { signatureOf } from '../arch/cpuid.ts';
import { ATTRIBUTE, SYSTEM_TYPE } from '../arch/descriptors.ts';
import { CR0_RESET, DR6_FIXED_ONE, DR7_FIXED_ONE, EFLAGS, GPR } from '../arch/registers.ts';
import { VMCB_SAVE } from '../arch/vmcb.ts';
import type { InitialState } from '../machine/loaders/initial-state.ts';
import { applyControlRegisters } from './control-registers.ts';
import type { Vcpu } from './vcpu.ts';

const REAL_DATA = ATTRIBUTE.P | ATTRIBUTE.S | ATTRIBUTE.WRITABLE | ATTRIBUTE.ACCESSED;
const REAL_CODE = ATTRIBUTE.P | ATTRIBUTE.S | ATTRIBUTE.CODE | ATTRIBUTE.READABLE | ATTRIBUTE.ACCESSED;
const LIMIT_64K = 0xffff;
const DATA_SEGMENTS = [VMCB_SAVE.ES, VMCB_SAVE.SS, VMCB_SAVE.DS, VMCB_SAVE.FS, VMCB_SAVE.GS] as const;

/** All registers but MSRs and FPU as after RESET (SDM vol. 3A table 9-1, APM vol. 2 table 14-1). */
export function resetVcpu(vcpu: Vcpu, cr0: number = CR0_RESET): void {
  vcpu.leaveGuest();
  vcpu.exit = null;
  const { state, vmcb01 } = vcpu;
  state.vmcb = vmcb01;
  state.guestMode = false;
  vcpu.useMmu(vcpu.rootMmu);
  state.gpr.fill(0);
  state.setRegister(GPR.EDX, signatureOf(vcpu.vm.model));
  state.cr0 = cr0;
  state.cr3 = 0;
  state.cr4 = 0;
  state.efer = 0;
  state.pdptes.fill(0);
  vmcb01.writeSegment(VMCB_SAVE.CS, 0xf000, REAL_CODE, LIMIT_64K, 0xffff_0000);
  for (const segment of DATA_SEGMENTS) vmcb01.writeSegment(segment, 0, REAL_DATA, LIMIT_64K, 0);
  vmcb01.writeSegment(VMCB_SAVE.LDTR, 0, ATTRIBUTE.P | SYSTEM_TYPE.LDT, LIMIT_64K, 0);
  vmcb01.writeSegment(VMCB_SAVE.TR, 0, ATTRIBUTE.P | SYSTEM_TYPE.TSS_32_BUSY, LIMIT_64K, 0);
  vmcb01.writeSegment(VMCB_SAVE.GDTR, 0, 0, LIMIT_64K, 0);
  vmcb01.writeSegment(VMCB_SAVE.IDTR, 0, 0, LIMIT_64K, 0);
  vmcb01.bytes[VMCB_SAVE.CPL] = 0;
  state.rip = 0xfff0;
  state.rflags = EFLAGS.ONE;
  vmcb01.write64(VMCB_SAVE.CR2, 0, 0);
  vmcb01.write64(VMCB_SAVE.DR6, DR6_FIXED_ONE, 0);
  vmcb01.write64(VMCB_SAVE.DR7, DR7_FIXED_ONE, 0);
  vcpu.halted = false;
  vcpu.monitor.disarm();
  vcpu.gif = true;
  vcpu.events.clear();
  vcpu.events.initPending = false;
  vcpu.events.interceptedByL1 = 0;
  vcpu.intercepts.interruptWindow = false;
  vcpu.debugAddresses.fill(0);
  finish(vcpu);
}

/** The state in which a loader (src/machine/loaders) wants its image started; what it does not name is as after RESET. */
export function setInitialState(vcpu: Vcpu, initial: InitialState): void {
  resetVcpu(vcpu);
  const { state, vmcb01 } = vcpu;
  for (const [index, value] of initial.gprs.entries()) state.setRegister(index, value);
  const { es, cs, ss, ds, fs, gs } = initial.segments;
  for (const [i, segment] of [es, cs, ss, ds, fs, gs].entries()) {
    const offset = VMCB_SAVE.ES + 16 * i;
    vmcb01.writeSegment(offset, segment.selector, segment.attributes, segment.limit, segment.base);
  }
  vmcb01.writeSegment(VMCB_SAVE.GDTR, 0, 0, initial.gdtr.limit, initial.gdtr.base);
  vmcb01.writeSegment(VMCB_SAVE.IDTR, 0, 0, initial.idtr.limit, initial.idtr.base);
  state.rip = initial.eip;
  state.rflags = initial.eflags;
  state.cr0 = initial.cr0;
  finish(vcpu);
}

function finish(vcpu: Vcpu): void {
  vcpu.vmcb01.dirty(~0);
  applyControlRegisters(vcpu);
  vcpu.applyIntercepts();
  vcpu.mmu.reconfigure('RESET');
  vcpu.flushGuestTlb();
}
