/**
 * What L0 keeps for the guests that L1 runs. L1's VMCB is called vmcb12, the one that the processor runs for it vmcb02, L1's
 * own vmcb01. Where L1 shadows L2's paging by itself, vmcb12's CR3 points to tables that L0 takes for L2's own: one MMU serves L1
 * and L2, and its role alone says for whom. Where L1 uses nested paging, a second MMU shadows its nested tables.
 */
import type { Hpa } from '../../arch/address.ts';
import { PAGE_SIZE } from '../../arch/address.ts';
import { EFLAGS } from '../../arch/registers.ts';
import {
  INTERCEPT1,
  MSRPM_SIZE,
  NESTED_CTL,
  V_INTR,
  V_INTR_PRIORITY_SHIFT,
  VMCB,
  VMCB_SAVE,
} from '../../arch/vmcb.ts';
import { NestedPagingRegisters } from '../mmu/nested-registers.ts';
import { AsidContext } from '../svm/asid.ts';
import { Vmcb } from '../svm/vmcb.ts';
import type { Vcpu } from '../vcpu.ts';
import { interceptEvents } from './events.ts';

/** The four bits of V_TPR that count (APM vol. 2 table B-1). */
const TASK_PRIORITY = 0xf;

/** Words of a VMCB that L0 reads from L1: the control area and the save area up to the last field it uses. */
export const VMCB12_WORDS = 0x6a0 >>> 2;

/** L1's control registers while L2 runs; everything else of L1 is in the save area of vmcb01. */
export class SavedControlRegisters {
  cr0 = 0;
  cr3 = 0;
  cr4 = 0;
  efer = 0;
}

export class Nested {
  readonly vmcb02: Vmcb;
  readonly msrpm02: Hpa;
  readonly asid02 = new AsidContext();
  readonly l1 = new SavedControlRegisters();
  /** Copy of vmcb12 as VMRUN found it: checks and use must see the same values whatever L1's memory does since. */
  readonly vmcb12 = new Uint32Array(VMCB12_WORDS);
  /** L1's intercept words. */
  readonly interceptWords = this.vmcb12.subarray(0, 6);
  /** Of the MMU that shadows L1's nested tables. */
  readonly pagingRegisters: NestedPagingRegisters;
  /** Guest-physical address of vmcb12. */
  vmcb12Address = 0;
  /** ASID under which L1 last ran its guest, -1 before. */
  asid12 = -1;
  /** Whether that guest had paging on when it exited. */
  wasPaged = false;
  readonly #vcpu: Vcpu;

  constructor(vcpu: Vcpu) {
    const { hardware, vm } = vcpu;
    const { pages, msrpm, iopm } = vm.hypervisor;
    this.#vcpu = vcpu;
    this.pagingRegisters = new NestedPagingRegisters(this.l1, vcpu.state, vm.rules);
    this.vmcb02 = new Vmcb(hardware.memory, pages.allocate(1));
    this.vmcb02.write64(VMCB.IOPM_BASE_PA, iopm, 0);
    if (vm.nestedPaging) this.vmcb02.write(VMCB.NESTED_CTL, NESTED_CTL.NP_ENABLE);
    this.msrpm02 = pages.allocate(MSRPM_SIZE / PAGE_SIZE);
    hardware.memory.u8.copyWithin(this.msrpm02, msrpm, msrpm + MSRPM_SIZE);
  }

  /** A control or save-area field of vmcb12, low half. */
  read12(offset: number): number {
    return this.vmcb12[offset >>> 2];
  }

  readHigh12(offset: number): number {
    return this.vmcb12[(offset >>> 2) + 1];
  }

  /** L1 runs L2 with nested paging (vmcb12's NP_ENABLE). */
  get nestedPaging(): boolean {
    return (this.read12(VMCB.NESTED_CTL) & NESTED_CTL.NP_ENABLE) !== 0;
  }

  /** Interrupts end L2 with VMEXIT_INTR. */
  get interceptsInterrupts(): boolean {
    return (this.read12(VMCB.INTERCEPT_MISC1) & INTERCEPT1.INTR) !== 0;
  }

  get interceptsInit(): boolean {
    return (this.read12(VMCB.INTERCEPT_MISC1) & INTERCEPT1.INIT) !== 0;
  }

  get interceptsNmi(): boolean {
    return (this.read12(VMCB.INTERCEPT_MISC1) & INTERCEPT1.NMI) !== 0;
  }

  /** L1's own virtual interrupt for L2, as it must stand in vmcb02 while L0 needs no window (APM vol. 2 15.21.1). */
  get virtualInterrupt(): number {
    return this.read12(VMCB.V_INTR) & (V_INTR.IRQ | V_INTR.PRIORITY | V_INTR.IGNORE_TPR);
  }

  /** L1's virtual interrupt for L2 is pending and open: L2 does not wait in HLT (APM vol. 2 15.21.4). */
  get virtualInterruptOpen(): boolean {
    const { intercepts, state } = this.#vcpu;
    const word = intercepts.interruptWindow ? this.virtualInterrupt : this.vmcb02.read(VMCB.V_INTR);
    if ((word & V_INTR.IRQ) === 0 || (state.rflags & EFLAGS.IF) === 0) return false;
    if ((word & V_INTR.IGNORE_TPR) !== 0) return true;
    const priority = (word & V_INTR.PRIORITY) >>> V_INTR_PRIORITY_SHIFT;
    return priority > (this.vmcb02.read(VMCB.V_INTR) & TASK_PRIORITY);
  }

  /**
   * Whether an interrupt for L1 is looked at while L2 runs: with V_INTR_MASKING by L1's IF at VMRUN, else by L2's own
   * (APM vol. 2 15.21.2).
   */
  get interruptsOpen(): boolean {
    const masking = (this.read12(VMCB.V_INTR) & V_INTR.INTR_MASKING) !== 0;
    const flags = masking ? this.#vcpu.vmcb01.read(VMCB_SAVE.RFLAGS) : this.#vcpu.state.rflags;
    return (flags & EFLAGS.IF) !== 0;
  }

  /** Before an entry of L2: events that L1 wants instead take it there. */
  interceptEvents(): void {
    interceptEvents(this.#vcpu);
  }
}
