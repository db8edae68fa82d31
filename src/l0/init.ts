/** INIT of a vCPU (SDM vol. 3A 9.1, table 9-1), which L1 may have redirected (APM vol. 2 15.30.1). */
import { VECTOR } from '../arch/exceptions.ts';
import { MSR, VM_CR } from '../arch/msrs.ts';
import { CR0 } from '../arch/registers.ts';
import type { Vcpu } from './vcpu.ts';
import { resetVcpu } from './vcpu-registers.ts';

/** Error code of #SX (APM vol. 2 8.2.22). */
const REDIRECTED_INIT = 1;

/** Takes a pending INIT: GIF is set, and L1 does not intercept it. Called between exit and entry. */
export function takeInit(vcpu: Vcpu): void {
  const { events, hardware, vm, vmcb01, msrs } = vcpu;
  const redirects = ((msrs.get(MSR.VM_CR)?.lo ?? 0) & VM_CR.R_INIT) !== 0;
  // An event in delivery reaches its handler first.
  if (redirects && !events.empty) return;
  events.initPending = false;
  vcpu.halted = false;
  if (redirects) {
    events.raise(VECTOR.SX, REDIRECTED_INIT);
    return;
  }
  // The SYSENTER MSRs, which stay, and the segments, which do not, are in the processor.
  hardware.vmsave(vmcb01.address);
  resetVcpu(vcpu, ((vcpu.state.cr0 & (CR0.CD | CR0.NW)) | CR0.ET) >>> 0);
  events.nmiPending = false;
  events.nmiBlocked = false;
  vcpu.intercepts.iret = false;
  vcpu.applyIntercepts();
  vcpu.loadUnswitched();
  vm.environment.apic?.init?.();
  vm.environment.initialized?.();
}
