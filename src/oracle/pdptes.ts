import { bits, CR0, CR4, ENTRY, has } from './bits.ts';
import { type OracleCpu, type Pdptes, pagingMode } from './cpu.ts';
import { paePdpteAddress, paePdpteReserved } from './formats/pae.ts';
import type { PhysicalMemory } from './memory.ts';

/**
 * Reads the four PDPTEs that a value of CR3 points to. Undefined: one of them has P = 1 and a reserved bit set, so the
 * instruction raises #GP(0) and loads none (SDM vol. 3A 4.4.1).
 */
export function loadPdptes(cpu: OracleCpu, memory: PhysicalMemory, cr3: bigint): Pdptes | undefined {
  const entry = (index: bigint): bigint => memory.read(paePdpteAddress(cr3, index), 8);
  const pdptes: Pdptes = [entry(0n), entry(1n), entry(2n), entry(3n)];
  const illegal = pdptes.some((pdpte) => has(pdpte, ENTRY.P) && has(pdpte, paePdpteReserved(cpu.maxPhyAddr)));
  return illegal ? undefined : pdptes;
}

/** The instruction, or event, that wrote a control register. */
export type ControlWrite = 'cr0' | 'cr3' | 'cr4' | 'task switch';

// SDM vol. 3A 4.4.1: a MOV to CR0 or CR4 loads the PDPTEs only if it modifies one of these.
const CR0_LOADS = CR0.CD | CR0.NW | CR0.PG;
const CR4_LOADS = CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP;

/**
 * Whether the PDPTE registers are loaded from memory when `before` becomes `after` (SDM vol. 3A 4.4.1). A processor
 * that reads PDPTEs on use never loads them.
 */
export function pdptesAreLoaded(before: OracleCpu, after: OracleCpu, write: ControlWrite): boolean {
  if (after.pdptesInMemory || pagingMode(after) !== 'pae') return false;
  switch (write) {
    case 'cr0':
      return has(before.cr0 ^ after.cr0, CR0_LOADS);
    case 'cr4':
      return has(before.cr4 ^ after.cr4, CR4_LOADS);
    case 'cr3':
      return true;
    case 'task switch':
      return has(before.cr3 ^ after.cr3, bits(63, 0));
  }
}
