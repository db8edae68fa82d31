import { EFER } from '../../arch/registers.ts';
import { RAX, RCX } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import type { Operation } from '../system/operations.ts';
import { requirePrivilege } from '../system/system-registers.ts';
import type { SimpleIntercept } from './simple-intercepts.ts';

const PAGE_OFFSET = 0xfff;

/** Protected mode with EFER.SVME, or #UD; CPL 0, or #GP(0) (APM vol. 2 15.4, 15.5.1; vol. 3 VMRUN). */
function checkUse(cpu: Cpu): void {
  if ((cpu.state.efer & EFER.SVME) === 0 || !cpu.isProtected) cpu.raiseUndefined();
  requirePrivilege(cpu);
}

/** rAX, as wide as the address size. */
const addressInRax = (cpu: Cpu, instruction: Instruction): number =>
  (cpu.state.gpr(RAX) & instruction.addressMask) >>> 0;

/** The VMCB's physical address: a page's, and one that the processor has, or #GP(0) (APM vol. 3 VMRUN). */
function vmcbAddress(cpu: Cpu, instruction: Instruction): number {
  const address = addressInRax(cpu, instruction);
  if ((address & PAGE_OFFSET) !== 0 || address >= 2 ** cpu.model.maxPhysicalAddressBits)
    cpu.raiseGeneralProtection();
  return address;
}

/** #VMEXIT if it is intercepted. All of these end their block, so that EIP alone says where to go on. */
function exits(cpu: Cpu, name: SimpleIntercept): boolean {
  if (!cpu.svm.exitForInstruction(name)) return false;
  cpu.nextEip = cpu.state.eip;
  return true;
}

/** What all of them check in front of their intercept (APM vol. 2 15.9). */
function withVmcb(name: SimpleIntercept, work: (cpu: Cpu, vmcb: number) => void): Operation {
  return (cpu, instruction) => {
    checkUse(cpu);
    const vmcb = vmcbAddress(cpu, instruction);
    if (!exits(cpu, name)) work(cpu, vmcb);
  };
}

function withoutVmcb(name: SimpleIntercept, work: Operation): Operation {
  return (cpu, instruction) => {
    checkUse(cpu);
    if (!exits(cpu, name)) work(cpu, instruction);
  };
}

export const SVM_OPERATIONS: Readonly<Record<string, Operation>> = {
  vmrun: withVmcb('VMRUN', (cpu, vmcb) => {
    // The instruction is over when the guest begins: time, shadow and RF count from there.
    cpu.chargedAhead -= 1;
    cpu.svm.vmrun(vmcb, cpu.nextEip);
    cpu.nextEip = cpu.state.eip;
  }),
  vmload: withVmcb('VMLOAD', (cpu, vmcb) => cpu.svm.vmload(vmcb)),
  vmsave: withVmcb('VMSAVE', (cpu, vmcb) => cpu.svm.vmsave(vmcb)),
  /** For anybody: the host alone says who may call it, and without its intercept there is no such instruction (15.18). */
  vmmcall: (cpu) => {
    if (!exits(cpu, 'VMMCALL')) cpu.raiseUndefined();
  },
  stgi: withoutVmcb('STGI', (cpu) => {
    cpu.svm.gif = true;
    cpu.endSlice();
  }),
  clgi: withoutVmcb('CLGI', (cpu) => {
    cpu.svm.gif = false;
  }),
  /** No model has secure initialization. */
  skinit: withoutVmcb('SKINIT', (cpu) => cpu.raiseUndefined()),
  /** The page at rAX in the address space ECX, global or not (15.16.2). */
  invlpga: withoutVmcb('INVLPGA', (cpu, instruction) => {
    cpu.svm.invalidatePage(addressInRax(cpu, instruction), cpu.state.gpr(RCX));
  }),
};
