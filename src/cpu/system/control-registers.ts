import { pagingFeaturesOf } from '../../arch/cpu-models.ts';
import { paeFormat, pdpteIsValid } from '../../arch/paging/pae.ts';
import { CR0, CR0_DEFINED, CR3, CR4, EFER } from '../../arch/registers.ts';
import { cr4Writable, eferWritable } from '../../arch/writable-bits.ts';
import type { Cpu } from '../cpu.ts';
import { SYSTEM } from '../layout.ts';

const PAGING_BITS_CR0 = CR0.PG | CR0.WP | CR0.PE;
const PAGING_BITS_CR4 = CR4.PSE | CR4.PAE | CR4.PGE | CR4.SMEP | CR4.SMAP;

/** Loads the four PDPTEs from memory (SDM vol. 3A 4.4.1); raises #GP(0) if one is present with reserved bits. */
export function loadPdptes(cpu: Cpu, cr3: number): void {
  const base = cpu.paging.behindA20((cr3 & CR3.PAE_BASE) >>> 0);
  const format = paeFormat(pagingFeaturesOf(cpu.model, (cpu.state.efer & EFER.NXE) !== 0));
  const loaded: number[] = [];
  for (let n = 0; n < 4; n++) {
    const lo = cpu.physical.read32(base + n * 8);
    const hi = cpu.physical.read32(base + n * 8 + 4);
    if (!pdpteIsValid(format, lo, hi)) cpu.raiseGeneralProtection();
    loaded.push(lo, hi);
  }
  loaded.forEach((value, n) => {
    cpu.state.u32[(SYSTEM.PDPTES >> 2) + n] = value;
  });
}

/** PDPTEs are registers under PAE paging, but for a guest's under nested paging (APM vol. 2 15.25.10). */
const hasPdptes = (cpu: Cpu, cr0: number, cr4: number): boolean =>
  (cr0 & CR0.PG) !== 0 && (cr4 & CR4.PAE) !== 0 && !cpu.paging.isNested;

/** MOV CR3 without intercepts: loads PDPTEs under PAE paging, then drops all but global translations (SDM vol. 3A 4.10.4.1). */
export function loadCr3(cpu: Cpu, value: number): void {
  const { state } = cpu;
  if (hasPdptes(cpu, state.cr0, state.cr4)) loadPdptes(cpu, value);
  state.setSystem(SYSTEM.CR3, value);
  cpu.paging.tlb.flushLocal(cpu.paging.asid);
  cpu.paging.dropCopies();
  cpu.updateContext();
}

/** Raises #GP(0) for combinations of bits that CR0 never has (SDM vol. 2B "MOV control registers"). */
export function checkCr0(cpu: Cpu, wanted: number): void {
  if ((wanted & CR0.PG) !== 0 && (wanted & CR0.PE) === 0) cpu.raiseGeneralProtection();
  if ((wanted & CR0.NW) !== 0 && (wanted & CR0.CD) === 0) cpu.raiseGeneralProtection();
}

/** MOV CR0 (SDM vol. 2B "MOV control registers"). */
export function loadCr0(cpu: Cpu, wanted: number): void {
  const { state } = cpu;
  const before = state.cr0;
  const value = ((wanted & CR0_DEFINED) | CR0.ET) >>> 0;
  checkCr0(cpu, value);
  const changed = (before ^ value) >>> 0;
  if ((changed & (CR0.PG | CR0.CD | CR0.NW)) !== 0 && hasPdptes(cpu, value, state.cr4))
    loadPdptes(cpu, state.cr3);
  setCr0(cpu, value);
}

/** Takes a checked value over, with what follows from it. */
export function setCr0(cpu: Cpu, value: number): void {
  const before = cpu.state.cr0;
  cpu.state.setSystem(SYSTEM.CR0, value);
  if (((before ^ value) & PAGING_BITS_CR0) === 0) return;
  // Turning paging on or off drops everything, global entries too (SDM vol. 3A 4.10.4.1).
  if (((before ^ value) & CR0.PG) !== 0) cpu.paging.tlb.flush(cpu.paging.asid);
  cpu.paging.modeChanged();
  cpu.updateContext();
}

/** Raises #GP(0) for bits of CR4 that this CPU model reserves. */
export function checkCr4(cpu: Cpu, wanted: number): void {
  if ((wanted & ~cr4Writable(cpu.model)) !== 0) cpu.raiseGeneralProtection();
}

/** MOV CR4. */
export function loadCr4(cpu: Cpu, wanted: number): void {
  const { state } = cpu;
  const before = state.cr4;
  checkCr4(cpu, wanted);
  const changed = (before ^ wanted) >>> 0;
  const reload = CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP;
  if ((changed & reload) !== 0 && hasPdptes(cpu, state.cr0, wanted)) loadPdptes(cpu, state.cr3);
  setCr4(cpu, wanted >>> 0);
}

export function setCr4(cpu: Cpu, value: number): void {
  const before = cpu.state.cr4;
  cpu.state.setSystem(SYSTEM.CR4, value);
  const changed = before ^ value;
  if ((changed & PAGING_BITS_CR4) === 0) return;
  // PGE, PAE, PSE in any direction and SMEP 0 -> 1 invalidate (SDM vol. 3A 4.10.4.1; APM vol. 2 5.5.2).
  const flushes = (changed & (CR4.PGE | CR4.PAE | CR4.PSE)) !== 0 || (changed & value & CR4.SMEP) !== 0;
  if (flushes) cpu.paging.tlb.flush(cpu.paging.asid);
  cpu.paging.modeChanged();
  cpu.updateContext();
}

/** WRMSR to EFER: bits of features that the CPU lacks, or that other registers turned off, are reserved. */
export function loadEfer(cpu: Cpu, lo: number, hi: number): void {
  if (hi !== 0 || (lo & (cpu.msrs.eferReserved | ~eferWritable(cpu.model))) !== 0)
    cpu.raiseGeneralProtection();
  setEfer(cpu, lo >>> 0);
}

export function setEfer(cpu: Cpu, value: number): void {
  const before = cpu.state.efer;
  cpu.state.setSystem(SYSTEM.EFER, value);
  if (((before ^ value) & EFER.NXE) === 0) return;
  cpu.paging.modeChanged();
  cpu.updateContext();
}
