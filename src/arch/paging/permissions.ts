/**
 * Access rights of a translated page, and the page-fault error code (SDM vol. 3A 4.6, 4.7; APM vol. 2 5.6,
 * 8.4.2). Pure functions on small bit sets, so that processor and hypervisor cannot differ in them.
 */
import { CR0, CR4, EFER, EFLAGS, PFERR } from '../registers.ts';
import { RIGHTS } from './format.ts';

/**
 * What an access asks for: an OR of these; zero is a supervisor-mode data read. WRITE, USER and FETCH have
 * the values of the page-fault error code. Reads for a read-modify-write instruction ask for WRITE.
 */
export const ACCESS = {
  READ: 0,
  WRITE: PFERR.W,
  /** User mode: CPL 3, unless the access is implicit. */
  USER: PFERR.U,
  FETCH: PFERR.F,
  /**
   * Implicit supervisor access, as to a descriptor table or TSS at any CPL: EFLAGS.AC does not lift SMAP.
   * Never with USER.
   */
  IMPLICIT: 0x100,
} as const;

/** What decides about rights besides the entries: an OR of these. */
export const PAGING_CONTROL = {
  /** CR0.WP */
  WP: 0x01,
  /** CR4.SMEP */
  SMEP: 0x02,
  /** CR4.SMAP */
  SMAP: 0x04,
  /** EFER.NXE with CR4.PAE: 2-level paging has no NX bit and reports no fetch for its sake. */
  NX: 0x08,
  /** EFLAGS.AC, which lifts SMAP for explicit accesses. */
  AC: 0x10,
} as const;

/**
 * Collects PAGING_CONTROL from the registers' low halves. Features that the CPU lacks must read as zero in
 * them.
 */
export function pagingControl(cr0: number, cr4: number, efer: number, eflags: number): number {
  let control = 0;
  if ((cr0 & CR0.WP) !== 0) control |= PAGING_CONTROL.WP;
  if ((cr4 & CR4.SMEP) !== 0) control |= PAGING_CONTROL.SMEP;
  if ((cr4 & CR4.SMAP) !== 0) control |= PAGING_CONTROL.SMAP;
  if ((cr4 & CR4.PAE) !== 0 && (efer & EFER.NXE) !== 0) control |= PAGING_CONTROL.NX;
  if ((eflags & EFLAGS.AC) !== 0) control |= PAGING_CONTROL.AC;
  return control;
}

/**
 * Whether an access is allowed to a page whose entries grant `rights` (RIGHTS, accumulated over all levels).
 * `access` is of ACCESS, `control` of PAGING_CONTROL. SDM vol. 3A 4.6.1.
 */
export function accessAllowed(rights: number, access: number, control: number): boolean {
  return (access & ACCESS.USER) !== 0
    ? userAccessAllowed(rights, access, control)
    : supervisorAccessAllowed(rights, access, control);
}

function userAccessAllowed(rights: number, access: number, control: number): boolean {
  if ((rights & RIGHTS.U) === 0) return false;
  if ((access & ACCESS.FETCH) !== 0) return (control & PAGING_CONTROL.NX) === 0 || (rights & RIGHTS.X) !== 0;
  return (access & ACCESS.WRITE) === 0 || (rights & RIGHTS.W) !== 0;
}

function supervisorAccessAllowed(rights: number, access: number, control: number): boolean {
  const userPage = (rights & RIGHTS.U) !== 0;
  if ((access & ACCESS.FETCH) !== 0) {
    if (userPage && (control & PAGING_CONTROL.SMEP) !== 0) return false;
    return (control & PAGING_CONTROL.NX) === 0 || (rights & RIGHTS.X) !== 0;
  }
  if (userPage && (control & PAGING_CONTROL.SMAP) !== 0) {
    const lifted = (control & PAGING_CONTROL.AC) !== 0 && (access & ACCESS.IMPLICIT) === 0;
    if (!lifted) return false;
  }
  if ((access & ACCESS.WRITE) === 0 || (rights & RIGHTS.W) !== 0) return true;
  return (control & PAGING_CONTROL.WP) === 0;
}

/**
 * The error code of a page fault. `cause`: 0 for an absent entry, PFERR.P for a violation of rights,
 * PFERR.P | PFERR.RSVD for a reserved bit. The fetch bit appears only with NX or SMEP (SDM vol. 3A 4.7).
 */
export function pageFaultErrorCode(cause: number, access: number, control: number): number {
  const reportsFetch = (control & (PAGING_CONTROL.NX | PAGING_CONTROL.SMEP)) !== 0;
  return cause | (access & (PFERR.W | PFERR.U | (reportsFetch ? PFERR.F : 0)));
}
