/**
 * Where L0 reports what it does. A VM has one sink or null; every report is behind a null check, so that tracing costs
 * nothing while it is off. Names and meaning follow KVM's kvm and kvmmmu trace events.
 */
import type { ExtendedRole, PageRole } from './mmu/role.ts';
import type { ShadowPage } from './mmu/shadow-page.ts';

/** What a walk of guest tables ended with (kvm_mmu_pagetable_walk, kvm_mmu_walker_error). */
export interface WalkReport {
  readonly address: number;
  /** ACCESS bits asked for (src/arch/paging/permissions.ts). */
  readonly access: number;
  /** Frame found, -1 on a fault. */
  readonly frame: number;
  readonly errorCode: number;
}

export interface TraceSink {
  /** Before VMRUN (kvm_entry). `nested`: the guest is L2. */
  entry(rip: number, nested: boolean): void;
  /** After #VMEXIT (kvm_exit), fields of the VMCB that ran: low half of EXITCODE signed, halves of EXITINFO1 and 2. */
  exit(
    code: number,
    rip: number,
    info1: number,
    info1Hi: number,
    info2: number,
    info2Hi: number,
    nested: boolean,
  ): void;
  /** An event goes into the guest with the next VMRUN: EVENTINJ (kvm_inj_exception, kvm_inj_virq). */
  inject(event: number, errorCode: number, nested: boolean): void;
  /** L1's VMRUN was accepted (kvm_nested_vmenter); `vmcb12` is its guest-physical address. */
  nestedEntry(rip: number, vmcb12: number): void;
  /** An exit of L2 is handed to L1 (kvm_nested_vmexit_inject). */
  nestedExit(code: number, info1: number, info2: number): void;
  /** The MMU was set up anew because a role changed. */
  roleChange(cpuBase: PageRole, extended: ExtendedRole, root: PageRole): void;
  /** kvm_mmu_get_page */
  getPage(page: ShadowPage, created: boolean): void;
  /** kvm_mmu_sync_page, kvm_mmu_unsync_page, kvm_mmu_prepare_zap_page */
  syncPage(page: ShadowPage): void;
  unsyncPage(page: ShadowPage): void;
  zapPage(page: ShadowPage): void;
  /** kvm_mmu_set_spte: entry of a shadow page, its new halves. */
  setSpte(page: ShadowPage, entry: number, lo: number, hi: number): void;
  walk(report: WalkReport): void;
  /** #PF exit: linear address and hardware error code (kvm_page_fault). */
  pageFault(address: number, errorCode: number): void;
}
