/**
 * Writes of CR0, CR3, CR4 and EFER on the guest's behalf: the checks of the instructions, the PDPTE loads, what the shadow MMU
 * must hear, and the values with which the processor really runs the guest.
 */
import type { Hpa } from '../arch/address.ts';
import { MSR, VM_CR } from '../arch/msrs.ts';
import { PDPTE_COUNT, pdpteIsValid } from '../arch/paging/pae.ts';
import { CR0, CR0_DEFINED, CR3, CR4, EFER } from '../arch/registers.ts';
import { CLEAN, VMCB_SAVE } from '../arch/vmcb.ts';
import type { GuestState } from './guest-state.ts';
import type { Vcpu } from './vcpu.ts';

/** A change of these loads the PDPTEs under PAE paging (SDM vol. 3A 4.4.1). SMAP and PKE do not. */
const CR0_LOADS_PDPTES = CR0.PG | CR0.CD | CR0.NW;
const CR4_LOADS_PDPTES = CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP;
/** A change of these invalidates all translations (SDM vol. 3A 4.10.4.1, APM vol. 2 5.5.3). */
const CR4_FLUSHES = CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP;

const pagingIsPae = (cr0: number, cr4: number, efer: number): boolean =>
  (cr0 & CR0.PG) !== 0 && (cr4 & CR4.PAE) !== 0 && (efer & EFER.LMA) === 0;

export const isPaePaging = (state: GuestState): boolean => pagingIsPae(state.cr0, state.cr4, state.efer);

/** MOV to CR0. False: #GP(0), nothing changed (SDM vol. 3A 2.5, vol. 2B MOV). */
export function writeCr0(vcpu: Vcpu, value: number): boolean {
  const { state } = vcpu;
  const cr0 = ((value & CR0_DEFINED) | CR0.ET) >>> 0;
  if ((cr0 & CR0.PG) !== 0 && (cr0 & CR0.PE) === 0) return false;
  if ((cr0 & CR0.NW) !== 0 && (cr0 & CR0.CD) === 0) return false;
  const changed = state.cr0 ^ cr0;
  if (pagingIsPae(cr0, state.cr4, state.efer) && (changed & CR0_LOADS_PDPTES) !== 0) {
    if (!loadPdptes(vcpu, state.cr3)) return false;
  }
  state.cr0 = cr0;
  if ((changed & CR0.PG) !== 0) vcpu.flushGuestTlb();
  vcpu.mmu.reconfigure();
  applyCr0(vcpu);
  // With paging off the hardware must not enforce SMEP and SMAP on the shadow tables.
  if ((changed & CR0.PG) !== 0) applyCr4(vcpu);
  return true;
}

/** MOV to CR3; 32 bits outside long mode, none of which is reserved. False: #GP(0) for the PDPTEs (SDM vol. 3A 4.4.1). */
export function writeCr3(vcpu: Vcpu, value: number): boolean {
  const { state } = vcpu;
  // Always, even for the same value: the guest may have changed the table.
  if (isPaePaging(state) && !loadPdptes(vcpu, value)) return false;
  state.cr3 = value >>> 0;
  vcpu.flushGuestTlb();
  return true;
}

/** MOV to CR4. False: #GP(0), nothing changed. */
export function writeCr4(vcpu: Vcpu, value: number): boolean {
  const { state } = vcpu;
  const cr4 = value >>> 0;
  if ((cr4 & ~vcpu.vm.cr4Writable) !== 0) return false;
  const changed = state.cr4 ^ cr4;
  if (pagingIsPae(state.cr0, cr4, state.efer) && (changed & CR4_LOADS_PDPTES) !== 0) {
    if (!loadPdptes(vcpu, state.cr3)) return false;
  }
  state.cr4 = cr4;
  if ((changed & CR4_FLUSHES) !== 0) vcpu.flushGuestTlb();
  vcpu.mmu.reconfigure();
  applyCr4(vcpu);
  return true;
}

/** WRMSR to EFER. False: #GP(0), nothing changed (APM vol. 2 3.1.7). */
export function writeEfer(vcpu: Vcpu, lo: number, hi: number): boolean {
  const { state } = vcpu;
  if (hi !== 0 || (lo & ~(vcpu.vm.eferWritable | EFER.LMA)) !== 0) return false;
  // VM_CR.SVMDIS makes SVME reserved (APM vol. 2 15.30.1).
  if ((lo & EFER.SVME) !== 0 && ((vcpu.msrs.get(MSR.VM_CR)?.lo ?? 0) & VM_CR.SVMDIS) !== 0) return false;
  const efer = ((lo & ~EFER.LMA) | (state.efer & EFER.LMA)) >>> 0;
  state.efer = efer;
  vcpu.mmu.reconfigure();
  applyEfer(vcpu);
  return true;
}

/**
 * Loads the PDPTE registers from the table at `cr3`. False if a present one has a reserved bit set; then none is changed.
 * Bits 11:5 of CR3 count: the table is 32-byte aligned.
 */
export function loadPdptes(vcpu: Vcpu, cr3: number): boolean {
  const { pdptes } = vcpu.state;
  const table = (cr3 & CR3.PAE_BASE) >>> 0;
  const format = vcpu.vm.formats.pae;
  const loaded = vcpu.pdpteScratch;
  const at = vcpu.vm.slots.hostAddress(table);
  const { u32 } = vcpu.hardware.memory;
  for (let i = 0; i < 2 * PDPTE_COUNT; i += 1)
    loaded[i] = at < 0 ? vcpu.vm.mmio.read((table + 4 * i) as Hpa, 4) : u32[(at >>> 2) + i];
  for (let i = 0; i < PDPTE_COUNT; i += 1) {
    if (!pdpteIsValid(format, loaded[2 * i], loaded[2 * i + 1])) return false;
  }
  pdptes.set(loaded);
  return true;
}

// --- what runs in the processor ----------------------------------------------------------------------------------

/** All of the above, after the guest's registers were set as a whole. */
export function applyControlRegisters(vcpu: Vcpu): void {
  applyCr0(vcpu);
  applyCr4(vcpu);
  applyEfer(vcpu);
}

/**
 * CR0 in force: paging is always on, since L0's tables translate even for a guest without paging (in real mode, as paged real
 * mode, APM vol. 2 15.19), and write protection too, since L0's own rests on it. Caches stay on. Where the guest's value
 * happens to be the same, its reads and its writes of TS need no exit.
 */
function applyCr0(vcpu: Vcpu): void {
  const { state, intercepts } = vcpu;
  const real = ((state.cr0 | CR0.PG | CR0.WP) & ~(CR0.CD | CR0.NW)) >>> 0;
  state.vmcb.write64(VMCB_SAVE.CR0, real, 0);
  state.vmcb.dirty(CLEAN.CRX);
  const differs = real !== state.cr0;
  if (differs !== intercepts.cr0) {
    intercepts.cr0 = differs;
    vcpu.applyIntercepts();
  }
}

/** CR4 in force: PAE paging; no SMEP and SMAP for a guest without paging, whose pages are all user pages to the tables. */
function applyCr4(vcpu: Vcpu): void {
  const { state } = vcpu;
  let real = state.cr4 | CR4.PAE;
  if ((state.cr0 & CR0.PG) === 0) real &= ~(CR4.SMEP | CR4.SMAP | CR4.PKE);
  state.vmcb.write64(VMCB_SAVE.CR4, real >>> 0, 0);
  state.vmcb.dirty(CLEAN.CRX);
}

/** EFER in force: NX for L0's own use, SVME as VMRUN demands, and no LME without LMA, which would turn PAE into long mode. */
function applyEfer(vcpu: Vcpu): void {
  const { state, intercepts } = vcpu;
  let real = state.efer | EFER.NXE | EFER.SVME;
  if ((state.efer & EFER.LMA) === 0) real &= ~EFER.LME;
  state.vmcb.write64(VMCB_SAVE.EFER, real >>> 0, 0);
  state.vmcb.dirty(CLEAN.CRX);
  const noSvm = (state.efer & EFER.SVME) === 0;
  if (noSvm !== intercepts.generalProtection) {
    intercepts.generalProtection = noSvm;
    vcpu.applyIntercepts();
  }
}

/** After an exit: TS and MP may have changed without one, where CR0 writes were let through. */
export function collectCr0(vcpu: Vcpu): void {
  if (vcpu.intercepts.cr0) return;
  const { state } = vcpu;
  const free = CR0.TS | CR0.MP;
  state.cr0 = ((state.cr0 & ~free) | (state.vmcb.read(VMCB_SAVE.CR0) & free)) >>> 0;
}
