import { CR0, CR4, has, PFERR } from './bits.ts';
import { executeDisableCounts, type OracleCpu, pagingMode } from './cpu.ts';
import type { Page, Rights } from './formats/entry.ts';

/** One access to a linear address. */
export interface Access {
  readonly kind: 'read' | 'write' | 'fetch';
  /** An access to a system structure (GDT, IDT, LDT, TSS): a supervisor access at any CPL (SDM vol. 3A 4.6.1). */
  readonly implicit?: boolean;
}

/** SDM vol. 3A 4.6.1: user-mode accesses are the explicit ones at CPL 3. */
export const isUserAccess = (cpu: OracleCpu, access: Access): boolean =>
  cpu.cpl === 3 && access.implicit !== true;

/**
 * Whether the access rights of a translation permit the access (SDM vol. 3A 4.6.1, APM vol. 2 5.6). Protection keys
 * apart: see `protectionKeyForbids`.
 */
export function rightsPermit(cpu: OracleCpu, rights: Rights, access: Access): boolean {
  const user = isUserAccess(cpu, access);
  // A user-mode access never reaches a supervisor-mode address.
  if (user && !rights.user) return false;
  switch (access.kind) {
    case 'fetch':
      // SMEP: no supervisor fetch from a user-mode address.
      if (!user && rights.user && has(cpu.cr4, CR4.SMEP)) return false;
      return rights.executable;
    case 'read':
      return user || !smapForbids(cpu, rights, access);
    case 'write':
      if (!user && smapForbids(cpu, rights, access)) return false;
      return rights.writable || (!user && !has(cpu.cr0, CR0.WP));
  }
}

/** SMAP: supervisor data access to a user-mode address, unless explicit with EFLAGS.AC set (SDM vol. 3A 4.6.1). */
function smapForbids(cpu: OracleCpu, rights: Rights, access: Access): boolean {
  if (!has(cpu.cr4, CR4.SMAP) || !rights.user) return false;
  return access.implicit === true || !cpu.eflagsAc;
}

/** Protection keys for user-mode addresses: SDM vol. 3A 4.6.2, APM vol. 2 5.6.7. Data accesses in long mode only. */
export function protectionKeyForbids(cpu: OracleCpu, page: Page, rights: Rights, access: Access): boolean {
  const mode = pagingMode(cpu);
  if (mode !== '4-level' && mode !== '5-level') return false;
  if (!has(cpu.cr4, CR4.PKE) || !rights.user || access.kind === 'fetch') return false;
  const accessDisable = ((cpu.pkru >>> (2 * page.protectionKey)) & 1) === 1;
  const writeDisable = ((cpu.pkru >>> (2 * page.protectionKey + 1)) & 1) === 1;
  if (accessDisable) return true;
  return writeDisable && access.kind === 'write' && (isUserAccess(cpu, access) || has(cpu.cr0, CR0.WP));
}

/** Why there was a fault, as far as the error code tells. */
export interface FaultCause {
  /** A translation was found, or ended at a reserved bit; false: it ended at P = 0. */
  readonly present: boolean;
  readonly reserved: boolean;
  readonly protectionKey: boolean;
}

/** Page-fault error code (SDM vol. 3A 4.7, APM vol. 2 8.4.2). */
export function pageFaultErrorCode(cpu: OracleCpu, access: Access, cause: FaultCause): number {
  let code = 0;
  if (cause.present) code |= PFERR.P;
  if (access.kind === 'write') code |= PFERR.W;
  if (isUserAccess(cpu, access)) code |= PFERR.U;
  if (cause.reserved) code |= PFERR.RSVD;
  if (access.kind === 'fetch' && reportsFetches(cpu)) code |= PFERR.ID;
  if (cause.protectionKey) code |= PFERR.PK;
  return code;
}

/** Whether error codes tell instruction fetches apart: CR4.SMEP, or CR4.PAE with EFER.NXE (SDM vol. 3A 4.7). */
const reportsFetches = (cpu: OracleCpu): boolean => has(cpu.cr4, CR4.SMEP) || executeDisableCounts(cpu);
