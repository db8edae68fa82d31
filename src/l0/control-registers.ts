/**
 * Writes of CR0, CR3, CR4 and EFER on the guest's behalf: the checks of the instructions, the PDPTE loads, what the MMU must
 * hear, and the values with which the processor really runs the guest: its own with nested paging, L0's under shadow paging.
 */
import type { Hpa } from '../arch/address.ts';
import { PDPTE_COUNT } from '../arch/paging/pae.ts';
import { CR0, CR0_DEFINED, CR3, EFER } from '../arch/registers.ts';
import { CLEAN, VMCB_SAVE } from '../arch/vmcb.ts';
import type { Cause } from './rules.ts';
import type { Vcpu } from './vcpu.ts';

/** MOV to CR0. False: #GP(0), nothing changed (SDM vol. 3A 2.5, vol. 2B MOV). */
export function writeCr0(vcpu: Vcpu, value: number): boolean {
  const { state } = vcpu;
  const cr0 = ((value & CR0_DEFINED) | CR0.ET) >>> 0;
  if ((cr0 & CR0.PG) !== 0 && (cr0 & CR0.PE) === 0) return false;
  if ((cr0 & CR0.NW) !== 0 && (cr0 & CR0.CD) === 0) return false;
  const changed = state.cr0 ^ cr0;
  if (!reloadPdptes(vcpu, 'MOV CR0', changed, cr0, state.cr4, state.cr3)) return false;
  state.cr0 = cr0;
  if (vcpu.vm.rules.flushes('MOV CR0', changed)) vcpu.flushGuestTlb();
  vcpu.mmu.reconfigure('MOV CR0');
  applyCr0(vcpu);
  // With paging off the hardware must not enforce SMEP and SMAP on the shadow tables.
  if ((changed & CR0.PG) !== 0) applyCr4(vcpu);
  return true;
}

/**
 * MOV to CR3; 32 bits outside long mode, none of which is reserved. False: #GP(0) for the PDPTEs (SDM vol. 3A 4.4.1), which
 * cannot be where nested paging has them read on use.
 */
export function writeCr3(vcpu: Vcpu, value: number): boolean {
  const { state } = vcpu;
  const changed = state.cr3 ^ value;
  if (!reloadPdptes(vcpu, 'MOV CR3', changed, state.cr0, state.cr4, value)) return false;
  state.cr3 = value >>> 0;
  applyCr3(vcpu);
  if (vcpu.vm.rules.flushes('MOV CR3', changed)) vcpu.flushGuestTlb();
  return true;
}

/** MOV to CR4. False: #GP(0), nothing changed. */
export function writeCr4(vcpu: Vcpu, value: number): boolean {
  const { state, vm } = vcpu;
  const cr4 = value >>> 0;
  if (!vm.rules.cr4IsLegal(cr4, vm.cr4Writable, 'MOV CR4')) return false;
  const changed = state.cr4 ^ cr4;
  if (!reloadPdptes(vcpu, 'MOV CR4', changed, state.cr0, cr4, state.cr3)) return false;
  state.cr4 = cr4;
  if (vm.rules.flushes('MOV CR4', changed)) vcpu.flushGuestTlb();
  vcpu.mmu.reconfigure('MOV CR4');
  applyCr4(vcpu);
  return true;
}

/** WRMSR to EFER. False: #GP(0), nothing changed (APM vol. 2 3.1.7). */
export function writeEfer(vcpu: Vcpu, lo: number, hi: number): boolean {
  const { state } = vcpu;
  if (hi !== 0 || (lo & ~(vcpu.vm.eferWritable | EFER.LMA)) !== 0) return false;
  if ((lo & vcpu.msrs.eferReserved) !== 0) return false;
  const efer = ((lo & ~EFER.LMA) | (state.efer & EFER.LMA)) >>> 0;
  state.efer = efer;
  vcpu.mmu.reconfigure('WRMSR EFER');
  applyEfer(vcpu);
  return true;
}

/**
 * Loads the PDPTE registers if the change of a register, which is about to happen, does that. False if they are illegal.
 *
 * @param changed bits that change in the register that `cause` names
 * @param cr0     CR0, CR4 and CR3 as they will be
 */
export function reloadPdptes(
  vcpu: Vcpu,
  cause: Cause,
  changed: number,
  cr0: number,
  cr4: number,
  cr3: number,
): boolean {
  const { rules, nestedPaging } = vcpu.vm;
  if (nestedPaging && !rules.checksUncachedPdptes(cause)) return true;
  if (!rules.isPaePaging(cr0, cr4, vcpu.state.efer) || !rules.loadsPdptes(cause, changed)) return true;
  return loadPdptes(vcpu, cr3);
}

/**
 * Loads the PDPTE registers from the table at `cr3`. False if a present one has a reserved bit set; then none is changed.
 * Bits 11:5 of CR3 count: the table is 32-byte aligned.
 */
function loadPdptes(vcpu: Vcpu, cr3: number): boolean {
  const { pdptes } = vcpu.state;
  const table = (cr3 & CR3.PAE_BASE) >>> 0;
  const format = vcpu.vm.formats.pae;
  const loaded = vcpu.pdpteScratch;
  const at = vcpu.vm.slots.hostAddress(table);
  const { u32 } = vcpu.hardware.memory;
  for (let i = 0; i < 2 * PDPTE_COUNT; i += 1)
    loaded[i] = at < 0 ? vcpu.vm.mmio.read((table + 4 * i) as Hpa, 4) : u32[(at >>> 2) + i];
  for (let i = 0; i < PDPTE_COUNT; i += 1) {
    if (!vcpu.vm.rules.pdpteIsValid(format, loaded[2 * i], loaded[2 * i + 1])) return false;
  }
  pdptes.set(loaded);
  return true;
}

// --- what runs in the processor ----------------------------------------------------------------------------------

/** All of the above, after the guest's registers were set as a whole. */
export function applyControlRegisters(vcpu: Vcpu): void {
  applyCr0(vcpu);
  applyCr3(vcpu);
  applyCr4(vcpu);
  applyEfer(vcpu);
}

/** Where the guest's CR0 happens to be the one in force, its reads and its writes of TS need no exit. */
function applyCr0(vcpu: Vcpu): void {
  const { state, intercepts, vm } = vcpu;
  const real = vm.nestedPaging ? state.cr0 : vm.rules.cr0InForce(state.cr0);
  state.vmcb.write64(VMCB_SAVE.CR0, real, 0);
  state.vmcb.dirty(CLEAN.CRX);
  const differs = real !== state.cr0;
  if (differs !== intercepts.cr0) {
    intercepts.cr0 = differs;
    vcpu.applyIntercepts();
  }
}

/** Under shadow paging CR3 is the root's, and set at each entry. */
function applyCr3(vcpu: Vcpu): void {
  const { state, vm } = vcpu;
  if (!vm.nestedPaging) return;
  state.vmcb.write64(VMCB_SAVE.CR3, state.cr3, 0);
  state.vmcb.dirty(CLEAN.CRX);
}

function applyCr4(vcpu: Vcpu): void {
  const { state, vm } = vcpu;
  const real = vm.nestedPaging ? state.cr4 : vm.rules.cr4InForce(state.cr0, state.cr4);
  state.vmcb.write64(VMCB_SAVE.CR4, real, 0);
  state.vmcb.dirty(CLEAN.CRX);
}

function applyEfer(vcpu: Vcpu): void {
  const { state, intercepts, vm } = vcpu;
  const real = vm.nestedPaging ? (state.efer | EFER.SVME) >>> 0 : vm.rules.eferInForce(state.efer);
  state.vmcb.write64(VMCB_SAVE.EFER, real, 0);
  state.vmcb.dirty(CLEAN.CRX);
  const noSvm = (state.efer & EFER.SVME) === 0;
  if (noSvm !== intercepts.generalProtection) {
    intercepts.generalProtection = noSvm;
    vcpu.applyIntercepts();
  }
}

/**
 * After an exit: what the guest may have changed without one. Under shadow paging that is TS and MP, where CR0 writes were let
 * through; with nested paging all but EFER, as far as its writes are not intercepted.
 */
export function collectControlRegisters(vcpu: Vcpu): void {
  const { state, vm } = vcpu;
  const { vmcb } = state;
  if (vm.nestedPaging) {
    state.cr0 = vmcb.read(VMCB_SAVE.CR0);
    state.cr3 = vmcb.read(VMCB_SAVE.CR3);
    state.cr4 = vmcb.read(VMCB_SAVE.CR4);
  } else if (!vcpu.intercepts.cr0) {
    const free = CR0.TS | CR0.MP;
    state.cr0 = ((state.cr0 & ~free) | (vmcb.read(VMCB_SAVE.CR0) & free)) >>> 0;
  }
}
