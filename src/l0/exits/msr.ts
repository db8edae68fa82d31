/** RDMSR and WRMSR (APM vol. 2 15.11): registers with effects here, the rest in the vCPU's MsrFile. */
import { MSR, VM_CR } from '../../arch/msrs.ts';
import { EFER, GPR } from '../../arch/registers.ts';
import { CLEAN, VMCB, VMCB_SAVE } from '../../arch/vmcb.ts';
import { hasEfer } from '../../arch/writable-bits.ts';
import { hasApicBase, isApicBase, isPat } from '../../cpu/register-values.ts';
import { writeEfer } from '../control-registers.ts';
import type { Halves } from '../hardware.ts';
import { writeTscOffset } from '../nested/enter.ts';
import { setGuestPat } from '../svm/guest-pat.ts';
import type { Vcpu } from '../vcpu.ts';

const TWO_TO_32 = 0x1_0000_0000;

/** Where VMSAVE puts MSRs that VMRUN does not switch. */
const IN_SAVE_AREA: ReadonlyMap<number, number> = new Map([
  [MSR.SYSENTER_CS, VMCB_SAVE.SYSENTER_CS],
  [MSR.SYSENTER_ESP, VMCB_SAVE.SYSENTER_ESP],
  [MSR.SYSENTER_EIP, VMCB_SAVE.SYSENTER_EIP],
]);

const has = (vcpu: Vcpu, feature: string): boolean =>
  (vcpu.vm.model.features as ReadonlySet<string>).has(feature);

/** Value of an MSR as the guest reads it; null: #GP(0). */
export function readMsr(vcpu: Vcpu, index: number): Halves | null {
  const { state, vm, hardware } = vcpu;
  switch (index) {
    case MSR.EFER:
      return hasEfer(vcpu.vm.model) ? { lo: state.efer, hi: 0 } : null;
    case MSR.TSC:
      return has(vcpu, 'tsc') ? guestTime(vcpu) : null;
    case MSR.PAT:
      if (!hasOwnPat(vcpu)) break;
      return { lo: state.vmcb.read(VMCB_SAVE.G_PAT), hi: state.vmcb.readHigh(VMCB_SAVE.G_PAT) };
    case MSR.APIC_BASE: {
      const { apic } = vm.environment;
      return apic === undefined || !hasApicBase(vm.model) ? null : { lo: apic.baseLo, hi: apic.baseHi };
    }
  }
  const field = IN_SAVE_AREA.get(index);
  if (field === undefined) return vcpu.msrs.read(index) ?? null;
  if (!has(vcpu, 'sep')) return null;
  hardware.vmsave(state.vmcb.address);
  return { lo: state.vmcb.read(field), hi: state.vmcb.readHigh(field) };
}

/** Writes an MSR for the guest. False: #GP(0), nothing changed. */
export function writeMsr(vcpu: Vcpu, index: number, lo: number, hi: number): boolean {
  const { state, vm, hardware } = vcpu;
  switch (index) {
    case MSR.EFER:
      return hasEfer(vcpu.vm.model) && writeEfer(vcpu, lo, hi);
    case MSR.TSC:
      if (!has(vcpu, 'tsc')) return false;
      setGuestTime(vcpu, lo, hi);
      return true;
    case MSR.APIC_BASE: {
      const { apic } = vm.environment;
      if (apic === undefined || !hasApicBase(vm.model) || !isApicBase(vm.model, lo, hi)) return false;
      apic.baseLo = lo;
      apic.baseHi = hi;
      return true;
    }
    case MSR.PAT:
      return writePat(vcpu, lo, hi);
    case MSR.VM_CR:
      return vmCrAllowed(vcpu, lo) && vcpu.msrs.write(index, lo, hi);
    case MSR.MISC_ENABLE:
      if (!vcpu.msrs.write(index, lo, hi)) return false;
      // NX turned off while it is in use ends, as on the processor.
      return writeEfer(vcpu, state.efer & ~vcpu.msrs.eferReserved, 0);
    case MSR.TSC_AUX:
      if (!vcpu.msrs.write(index, lo, hi)) return false;
      // RDTSCP is not intercepted and reads the processor's own.
      hardware.wrmsr(index, lo, hi);
      return true;
  }
  const field = IN_SAVE_AREA.get(index);
  if (field === undefined) return vcpu.msrs.write(index, lo, hi);
  if (!has(vcpu, 'sep')) return false;
  hardware.vmsave(state.vmcb.address);
  state.vmcb.write64(field, lo, hi);
  hardware.vmload(state.vmcb.address);
  return true;
}

/** An L2 with nested paging has a PAT of its own, any other guest that of L1 (APM vol. 2 15.25.4). */
const hasOwnPat = ({ state, nested, vm }: Vcpu): boolean =>
  state.guestMode && vm.rules.reachesGuestPat(nested.nestedPaging) && vm.model.features.has('pat');

function writePat(vcpu: Vcpu, lo: number, hi: number): boolean {
  const { state, vmcb01, vm } = vcpu;
  if (hasOwnPat(vcpu)) {
    if (!isPat(lo, hi)) return false;
    setGuestPat(state.vmcb, { lo, hi });
    return true;
  }
  if (!vcpu.msrs.write(MSR.PAT, lo, hi)) return false;
  if (vm.nestedPaging) for (const vmcb of [vmcb01, state.vmcb]) setGuestPat(vmcb, { lo, hi });
  return true;
}

/** SVMDIS cannot be set under EFER.SVME (APM vol. 2 15.30.1). */
const vmCrAllowed = (vcpu: Vcpu, lo: number): boolean =>
  (lo & VM_CR.SVMDIS) === 0 || (vcpu.state.efer & EFER.SVME) === 0;

/** The TSC as the guest would read it now: TSC_OFFSET of the VMCB that runs covers all levels. */
function guestTime(vcpu: Vcpu): Halves {
  const { lo, hi } = vcpu.hardware.rdtsc();
  const { vmcb } = vcpu.state;
  const low = lo + vmcb.read(VMCB.TSC_OFFSET);
  const carry = low >= TWO_TO_32 ? 1 : 0;
  return { lo: low >>> 0, hi: (hi + vmcb.readHigh(VMCB.TSC_OFFSET) + carry) >>> 0 };
}

/**
 * Sets TSC_OFFSET so that L1's TSC is {lo, hi} now. A write by L2 is one of the same register: TSC_OFFSET of L1's VMCB is
 * added to what L2 reads, and not taken from what it writes (APM vol. 2 appendix B).
 */
function setGuestTime(vcpu: Vcpu, lo: number, hi: number): void {
  const now = vcpu.hardware.rdtsc();
  const low = lo - now.lo;
  const borrow = low < 0 ? 1 : 0;
  const { vmcb01, state } = vcpu;
  vmcb01.write64(VMCB.TSC_OFFSET, low >>> 0, (hi - now.hi - borrow) >>> 0);
  vmcb01.dirty(CLEAN.INTERCEPTS);
  if (!state.guestMode) return;
  writeTscOffset(vcpu);
  state.vmcb.dirty(CLEAN.INTERCEPTS);
}

/** VMEXIT_MSR: EXITINFO1 is 0 for RDMSR, 1 for WRMSR. */
export function handleMsr(vcpu: Vcpu): void {
  const { state, vm } = vcpu;
  const index = state.register(GPR.ECX);
  if ((state.vmcb.read(VMCB.EXITINFO1) & 1) !== 0) {
    const lo = state.register(GPR.EAX);
    const hi = state.register(GPR.EDX);
    const legal = writeMsr(vcpu, index, lo, hi);
    if (vm.trace !== null) vm.trace.msr(index, lo, hi, true, legal);
    if (!legal) {
      vcpu.raiseGeneralProtection();
      return;
    }
  } else {
    const value = readMsr(vcpu, index);
    if (vm.trace !== null) vm.trace.msr(index, value?.lo ?? 0, value?.hi ?? 0, false, value !== null);
    if (value === null) {
      vcpu.raiseGeneralProtection();
      return;
    }
    state.setRegister(GPR.EAX, value.lo);
    state.setRegister(GPR.EDX, value.hi);
  }
  vcpu.skipInstruction();
}
