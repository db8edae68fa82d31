/**
 * Registers of the guest that runs on a vCPU, L1 or L2. Three places hold them, each register in one:
 *
 * - here: what the guest believes CR0, CR3, CR4 and EFER to be, since under shadow paging the processor runs with other
 *   values, the cached PDPTEs, and the general registers;
 * - in the save area of the current VMCB: RIP, RFLAGS, segments, CPL, CR2, DR6, DR7;
 * - in the processor: FS, GS, TR, LDTR and the SYSENTER MSRs, which VMRUN does not switch, and DR0 to DR3, FPU.
 */
import { CR0, EFLAGS } from '../arch/registers.ts';
import { INTERRUPT_STATE, VMCB, VMCB_SAVE } from '../arch/vmcb.ts';
import type { GuestPagingRegisters } from './mmu/context.ts';
import type { Vmcb } from './svm/vmcb.ts';

const RAX = 0;
const RSP = 4;

export class GuestState implements GuestPagingRegisters {
  /** 16 pairs of unsigned halves in encoding order; RAX and RSP included between exit and entry. */
  readonly gpr = new Uint32Array(32);
  /** The guest's own, unsigned low halves. */
  cr0: number = CR0.ET;
  cr3 = 0;
  cr4 = 0;
  efer = 0;
  readonly pdptes = new Uint32Array(8);
  /** L2 runs. */
  guestMode = false;
  /** The VMCB that the next VMRUN takes: vmcb01 for L1, vmcb02 for L2. */
  vmcb: Vmcb;

  constructor(vmcb: Vmcb) {
    this.vmcb = vmcb;
  }

  /** Low half of a general register. */
  register(index: number): number {
    return this.gpr[index * 2];
  }

  /** Writes 32 bits; the upper half becomes zero, as in long mode's compatibility rules (APM vol. 1 3.1.2). */
  setRegister(index: number, value: number): void {
    this.gpr[index * 2] = value;
    this.gpr[index * 2 + 1] = 0;
  }

  get rip(): number {
    return this.vmcb.read(VMCB_SAVE.RIP);
  }
  set rip(value: number) {
    this.vmcb.write(VMCB_SAVE.RIP, value);
  }

  get rflags(): number {
    return this.vmcb.read(VMCB_SAVE.RFLAGS);
  }
  set rflags(value: number) {
    this.vmcb.write(VMCB_SAVE.RFLAGS, value);
  }

  get cpl(): number {
    return this.vmcb.bytes[VMCB_SAVE.CPL];
  }

  get alignmentCheck(): boolean {
    return (this.rflags & EFLAGS.AC) !== 0;
  }

  /** Interrupts are held back for one instruction after STI and MOV SS (APM vol. 2 15.21.5). */
  get interruptShadow(): boolean {
    return (this.vmcb.read(VMCB.INTERRUPT_STATE) & INTERRUPT_STATE.SHADOW) !== 0;
  }
  set interruptShadow(on: boolean) {
    const state = this.vmcb.read(VMCB.INTERRUPT_STATE) & ~INTERRUPT_STATE.SHADOW;
    this.vmcb.write(VMCB.INTERRUPT_STATE, on ? state | INTERRUPT_STATE.SHADOW : state);
  }

  /** RAX and RSP come out of the VMCB after an exit, the others out of the processor. */
  collectRegisters(processor: Uint32Array): void {
    const { gpr, vmcb } = this;
    gpr.set(processor);
    gpr[RAX * 2] = vmcb.read(VMCB_SAVE.RAX);
    gpr[RAX * 2 + 1] = vmcb.readHigh(VMCB_SAVE.RAX);
    gpr[RSP * 2] = vmcb.read(VMCB_SAVE.RSP);
    gpr[RSP * 2 + 1] = vmcb.readHigh(VMCB_SAVE.RSP);
  }

  /** The reverse before an entry. */
  deliverRegisters(processor: Uint32Array): void {
    const { gpr, vmcb } = this;
    vmcb.write64(VMCB_SAVE.RAX, gpr[RAX * 2], gpr[RAX * 2 + 1]);
    vmcb.write64(VMCB_SAVE.RSP, gpr[RSP * 2], gpr[RSP * 2 + 1]);
    processor.set(gpr);
  }
}
