/**
 * Where L0 reports what it does. A VM has one sink or null; every report is behind a null check, so that tracing costs
 * nothing while it is off. Names and meaning follow KVM's kvm and kvmmmu trace events.
 */
import type { WalkResult } from '../arch/paging/walker.ts';
import type { ExtendedRole, PageRole } from './mmu/role.ts';
import type { ShadowPage } from './mmu/shadow-page.ts';

/** What the VMCB that ran says of an exit (APM vol. 2 15.7). */
export interface ExitReport {
  /** Low half of EXITCODE, signed. */
  readonly code: number;
  readonly rip: number;
  readonly info1: bigint;
  readonly info2: bigint;
  /** EXITINTINFO: the event whose delivery was under way, 0 for none, and its error code. */
  readonly event: number;
  readonly eventErrorCode: number;
  /** The guest is L2. */
  readonly nested: boolean;
}

export interface TraceSink {
  /** Before VMRUN (kvm_entry). `nested`: the guest is L2. */
  entry(rip: number, nested: boolean): void;
  /** After #VMEXIT (kvm_exit). */
  exit(report: ExitReport): void;
  /** L0 carries out a MOV to or from a control register, LMSW, SMSW or CLTS (kvm_cr). */
  controlRegister(register: number, value: number, write: boolean): void;
  /** An IN or OUT of `size` bytes (kvm_pio). */
  portAccess(port: number, size: number, value: number, write: boolean): void;
  /** A RDMSR or WRMSR (kvm_msr); `legal` is false where it raises #GP. */
  msr(index: number, lo: number, hi: number, write: boolean, legal: boolean): void;
  /** A CPUID and its answer (kvm_cpuid). */
  cpuid(leaf: number, subleaf: number, eax: number, ebx: number, ecx: number, edx: number): void;
  /** L0 emulates the instruction at this place (kvm_emulate_insn). */
  emulate(codeBase: number, rip: number): void;
  /**
   * An event goes into the guest with the next VMRUN: EVENTINJ (kvm_inj_exception, kvm_inj_virq). `again`: its delivery was
   * under way before and an exit of L0's own came between.
   */
  inject(event: number, errorCode: number, nested: boolean, again: boolean): void;
  /**
   * L1's VMRUN is accepted (kvm_nested_vmenter): RIP behind it, guest-physical address of L1's VMCB, L2's RIP and the event
   * that L1 injects (EVENTINJ).
   */
  nestedEntry(rip: number, vmcb12: number, nestedRip: number, event: number): void;
  /** An exit of L2 is handed to L1 (kvm_nested_vmexit_inject), with both halves of EXITINFO1 and EXITINFO2. */
  nestedExit(
    code: number,
    info1: readonly [lo: number, hi: number],
    info2: readonly [lo: number, hi: number],
  ): void;
  /** The MMU was set up anew because a role changed. */
  roleChange(cpuBase: PageRole, extended: ExtendedRole, root: PageRole): void;
  /** kvm_mmu_get_page */
  getPage(page: ShadowPage, created: boolean): void;
  /** kvm_mmu_sync_page, kvm_mmu_unsync_page, kvm_mmu_prepare_zap_page */
  syncPage(page: ShadowPage): void;
  unsyncPage(page: ShadowPage): void;
  zapPage(page: ShadowPage): void;
  /**
   * A leaf, or an MMIO entry, has been written (kvm_mmu_set_spte, mark_mmio_spte): the first guest frame that a leaf maps,
   * and the new halves.
   */
  setSpte(page: ShadowPage, entry: number, gfn: number, lo: number, hi: number): void;
  /** An entry has been pointed to the table that shadows a guest table. */
  linkPage(page: ShadowPage, entry: number, child: ShadowPage): void;
  /** An entry has been emptied. */
  dropSpte(page: ShadowPage, entry: number): void;
  /**
   * L0 has walked the guest's tables (kvm_mmu_pagetable_walk, one kvm_mmu_paging_element for each entry read,
   * kvm_mmu_walker_error). `access`: the ACCESS bits asked for; `result` is valid during the call only.
   */
  walk(address: number, access: number, result: WalkResult): void;
  /** #PF exit: linear address and hardware error code (kvm_page_fault). */
  pageFault(address: number, errorCode: number): void;
}
