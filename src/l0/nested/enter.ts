/** L1's VMRUN: from vmcb01 and vmcb12 to vmcb02 (APM vol. 2 15.5). */
import type { Hpa } from '../../arch/address.ts';
import { MSR } from '../../arch/msrs.ts';
import { CR0, EFER } from '../../arch/registers.ts';
import { CLEAN, EVENT, INTERCEPT1, INTERRUPT_STATE, V_INTR, VMCB, VMCB_SAVE } from '../../arch/vmcb.ts';
import { applyControlRegisters, reloadPdptes } from '../control-registers.ts';
import { setGuestPat } from '../svm/guest-pat.ts';
import { mergeMsrMaps } from '../svm/permission-maps.ts';
import type { Vcpu } from '../vcpu.ts';
import { isLegalVmcb } from './checks.ts';
import { reportInvalid } from './exit.ts';
import { VMCB12_WORDS } from './nested.ts';

const FLOATING = 0xffff_ffff;
const TWO_TO_32 = 0x1_0000_0000;
const RAX = 0;
const RSP = 4;

/** Save-area words that VMRUN loads and L0 takes over as they are: segments, tables, debug registers, CR2. */
const ES_TO_DS = [VMCB_SAVE.ES >>> 2, (VMCB_SAVE.DS + 16) >>> 2] as const;
// biome-ignore format: table
const COPIED_64 = [
  VMCB_SAVE.GDTR, VMCB_SAVE.GDTR + 8, VMCB_SAVE.IDTR, VMCB_SAVE.IDTR + 8,
  VMCB_SAVE.DR6, VMCB_SAVE.DR7, VMCB_SAVE.RFLAGS, VMCB_SAVE.RIP, VMCB_SAVE.CR2,
] as const;

/** VMRUN at guest-physical `address` (rAX of L1). RIP is behind the instruction already. */
export function enterL2(vcpu: Vcpu, address: number): void {
  const { nested } = vcpu;
  nested.vmcb12Address = address;
  readVmcb12(vcpu, address);
  // A failed VMRUN is a #VMEXIT as well, and those clear GIF (APM vol. 2 15.17).
  if (!isLegalVmcb(vcpu.vm, nested.vmcb12, vcpu.state.cr0) || !loadGuestPdptes(vcpu)) {
    vcpu.gif = false;
    reportInvalid(vcpu);
    return;
  }
  vcpu.statistics.nestedEntries += 1;
  const { trace } = vcpu.vm;
  if (trace !== null) {
    const injected = nested.read12(VMCB.EVENTINJ);
    trace.nestedEntry(vcpu.state.rip, address, nested.read12(VMCB_SAVE.RIP), injected);
  }
  // The single-step trap on VMRUN itself is L1's, after #VMEXIT.
  vcpu.events.clear();
  saveL1(vcpu);
  prepareControl(vcpu);
  prepareTlb(vcpu);
  loadL2(vcpu);
  const event = nested.read12(VMCB.EVENTINJ);
  if ((event & EVENT.VALID) !== 0) vcpu.events.inject(event, nested.readHigh12(VMCB.EVENTINJ));
  vcpu.events.interceptedByL1 = nested.read12(VMCB.INTERCEPT_EXCEPTION);
  vcpu.gif = true;
  if (vcpu.mmu.checker !== null) vcpu.mmu.checker.check(vcpu.mmu, 'nested entry');
}

/** One copy, once: what is checked is what is used. Behind no memory the bus floats, and the checks fail. */
function readVmcb12(vcpu: Vcpu, address: number): void {
  const { nested, vm, hardware } = vcpu;
  const at = vm.slots.hostAddress(address);
  if (at < 0) nested.vmcb12.fill(FLOATING);
  else nested.vmcb12.set(hardware.memory.u32.subarray(at >>> 2, (at >>> 2) + VMCB12_WORDS));
}

/** PAE without nested paging: VMRUN loads the PDPTEs, and fails on reserved bits (APM vol. 2 15.25.10). */
function loadGuestPdptes(vcpu: Vcpu): boolean {
  const { nested, state } = vcpu;
  if (nested.nestedPaging) return true;
  const cr3 = nested.read12(VMCB_SAVE.CR3);
  const cr0 = nested.read12(VMCB_SAVE.CR0);
  return reloadPdptes(vcpu, 'VMRUN', state.cr3 ^ cr3, cr0, nested.read12(VMCB_SAVE.CR4), cr3);
}

function saveL1(vcpu: Vcpu): void {
  const { nested, state, vmcb01 } = vcpu;
  const { l1 } = nested;
  l1.cr0 = state.cr0;
  l1.cr3 = state.cr3;
  l1.cr4 = state.cr4;
  l1.efer = state.efer;
  vmcb01.write64(VMCB_SAVE.RAX, state.gpr[RAX * 2], state.gpr[RAX * 2 + 1]);
  vmcb01.write64(VMCB_SAVE.RSP, state.gpr[RSP * 2], state.gpr[RSP * 2 + 1]);
}

function prepareControl(vcpu: Vcpu): void {
  const { nested, vm, vmcb01, intercepts, hardware } = vcpu;
  const { vmcb02 } = nested;
  const msrs = (nested.read12(VMCB.INTERCEPT_MISC1) & INTERCEPT1.MSR) !== 0;
  const map12 = msrs ? msrMapAddress(vcpu) : -1;
  const { msrpm } = vm.hypervisor;
  if (msrs) {
    mergeMsrMaps(hardware.memory, nested.msrpm02, msrpm as Hpa, (offset) =>
      vm.slots.hostAddress(map12 + offset),
    );
  }
  vmcb02.write64(VMCB.MSRPM_BASE_PA, msrs ? nested.msrpm02 : msrpm, 0);
  writeTscOffset(vcpu);
  // L0 keeps the physical interrupts to itself; L1's V_TPR and virtual interrupt are L2's.
  intercepts.interruptWindow = false;
  const vIntr = nested.read12(VMCB.V_INTR);
  vmcb02.write(VMCB.V_INTR, V_INTR.INTR_MASKING | (vIntr & V_INTR.TPR) | nested.virtualInterrupt);
  vmcb02.write(VMCB.V_INTR_VECTOR, nested.read12(VMCB.V_INTR_VECTOR) & 0xff);
  vmcb02.write64(VMCB.INTERRUPT_STATE, nested.read12(VMCB.INTERRUPT_STATE) & INTERRUPT_STATE.SHADOW, 0);
  vmcb02.write64(VMCB.EXITINTINFO, 0, 0);
  vmcb02.dirty(~0);
  // vmcb01 goes on without a window when L1 is back.
  vmcb01.write(VMCB.V_INTR, V_INTR.INTR_MASKING);
}

const msrMapAddress = (vcpu: Vcpu): number => {
  const { nested } = vcpu;
  return (
    nested.readHigh12(VMCB.MSRPM_BASE_PA) * TWO_TO_32 + ((nested.read12(VMCB.MSRPM_BASE_PA) & ~0xfff) >>> 0)
  );
};

/** What L2 reads is offset by L1's TSC_OFFSET from what L1 reads. */
export function writeTscOffset(vcpu: Vcpu): void {
  const { nested, vmcb01 } = vcpu;
  const lo = vmcb01.read(VMCB.TSC_OFFSET) + nested.read12(VMCB.TSC_OFFSET);
  const carry = lo >= TWO_TO_32 ? 1 : 0;
  const hi = vmcb01.readHigh(VMCB.TSC_OFFSET) + nested.readHigh12(VMCB.TSC_OFFSET) + carry;
  nested.vmcb02.write64(VMCB.TSC_OFFSET, lo >>> 0, hi >>> 0);
}

/**
 * All of L1's guests share one ASID of the processor. Its entries go when L1 asks, and when L1 changes to another ASID, under
 * which it may rely on finding none of this one.
 */
function prepareTlb(vcpu: Vcpu): void {
  const { nested } = vcpu;
  const { rules, nestedPaging } = vcpu.vm;
  const asid = nested.read12(VMCB.GUEST_ASID);
  const control = nested.read12(VMCB.TLB_CONTROL) & 0xff;
  if (rules.flushesL2(nested.asid12, asid, control)) nested.asid02.flush();
  const isPaged = (nested.read12(VMCB_SAVE.CR0) & CR0.PG) !== 0;
  if (rules.flushesFlatL2(nestedPaging, nested.wasPaged, isPaged)) nested.asid02.flush();
  if (rules.flushesL1(control)) vcpu.asid01.flush();
  nested.asid12 = asid;
}

/** The guest's state, in this order: guest mode, EFER, CR0, CR4, CR3, and only then the roles that follow from them. */
function loadL2(vcpu: Vcpu): void {
  const { nested, state } = vcpu;
  const { vmcb02, vmcb12 } = nested;
  vmcb02.words.set(vmcb12.subarray(ES_TO_DS[0], ES_TO_DS[1]), ES_TO_DS[0]);
  for (const offset of COPIED_64) vmcb02.write64(offset, nested.read12(offset), nested.readHigh12(offset));
  vmcb02.bytes[VMCB_SAVE.CPL] = nested.read12(VMCB_SAVE.CPL & ~3) >>> (8 * (VMCB_SAVE.CPL & 3));
  state.vmcb = vmcb02;
  state.guestMode = true;
  state.efer = nested.read12(VMCB_SAVE.EFER) & ~EFER.LMA;
  state.cr0 = (nested.read12(VMCB_SAVE.CR0) | CR0.ET) >>> 0;
  state.cr4 = nested.read12(VMCB_SAVE.CR4);
  state.cr3 = nested.read12(VMCB_SAVE.CR3);
  state.gpr[RAX * 2] = nested.read12(VMCB_SAVE.RAX);
  state.gpr[RAX * 2 + 1] = nested.readHigh12(VMCB_SAVE.RAX);
  state.gpr[RSP * 2] = nested.read12(VMCB_SAVE.RSP);
  state.gpr[RSP * 2 + 1] = nested.readHigh12(VMCB_SAVE.RSP);
  applyControlRegisters(vcpu);
  vcpu.applyIntercepts();
  vmcb02.dirty(CLEAN.CRX | CLEAN.SEG | CLEAN.DT | CLEAN.DRX | CLEAN.CR2);
  prepareNestedPaging(vcpu);
  vcpu.mmu.reconfigure('VMRUN');
  // L1 may have edited the tables of its guest: whatever went unsync is looked at before L2 uses it.
  if (vcpu.vm.rules.flushes('VMRUN', state.cr3 ^ nested.l1.cr3)) vcpu.mmu.flush();
}

/** Whose tables the next entry uses, after guest mode was set: a root made before would be taken for one of L1's. */
function prepareNestedPaging(vcpu: Vcpu): void {
  const { nested, guestMmu, msrs } = vcpu;
  const { rules } = vcpu.vm;
  if (guestMmu === null) return;
  // Without nested paging L2 has the PAT of its host (APM vol. 2 15.25.4).
  const own = { lo: nested.read12(VMCB_SAVE.G_PAT), hi: nested.readHigh12(VMCB_SAVE.G_PAT) };
  setGuestPat(nested.vmcb02, rules.runsWithGuestPat(nested.nestedPaging) ? own : msrs.get(MSR.PAT));
  if (!rules.usesNestedTables(nested.nestedPaging)) return;
  nested.pagingRegisters.cr3 = nested.read12(VMCB.N_CR3);
  vcpu.useMmu(guestMmu);
}
