import { VECTOR } from '../../arch/exceptions.ts';
import { EFLAGS } from '../../arch/registers.ts';
import { EVENT_TYPE, type EventType } from '../../arch/vmcb.ts';
import type { Cpu } from '../cpu.ts';
import { pushReal, redirectsToV86 } from '../events/deliver.ts';
import { deliverInterrupt } from '../events/exceptions.ts';
import { CS } from '../layout.ts';
import { interruptReturn } from '../segmentation/interrupt-return.ts';
import { loadReal } from '../segmentation/load.ts';
import type { Operation } from './operations.ts';

/** INT n, INT3 and INTO arrive at their handler with EIP behind the instruction (SDM vol. 2A "INT n"). */
function software(cpu: Cpu, type: EventType, vector: number): void {
  cpu.state.systemFlags &= ~EFLAGS.RF;
  deliverInterrupt(cpu, {
    type,
    vector,
    errorCode: -1,
    software: true,
    returnEip: cpu.nextEip,
    faultEip: cpu.instructionEip,
  });
  cpu.nextEip = cpu.state.eip;
}

/** In virtual-8086 mode INT n needs IOPL 3, or goes through the TSS's bitmap with VME (SDM vol. 3B 20.3). */
function softwareInterrupt(cpu: Cpu, vector: number): void {
  if (cpu.isVirtual8086) {
    const iopl3 = (cpu.state.systemFlags & EFLAGS.IOPL) === EFLAGS.IOPL;
    if (redirectsToV86(cpu, vector)) {
      redirect(cpu, vector, iopl3);
      return;
    }
    if (!iopl3) cpu.raiseGeneralProtection();
  }
  software(cpu, EVENT_TYPE.SOFTWARE, vector);
}

/** To the 8086 program's own handler: VIF stands for IF where IOPL is below 3 (SDM vol. 3B table 20-2). */
function redirect(cpu: Cpu, vector: number, iopl3: boolean): void {
  const { state } = cpu;
  const flags = state.eflags;
  let image = flags & 0xffff;
  if (!iopl3) image = (image & ~EFLAGS.IF) | EFLAGS.IOPL | ((flags & EFLAGS.VIF) !== 0 ? EFLAGS.IF : 0);
  const entry = cpu.memory.read(vector * 4, 4, cpu.dataAccess);
  pushReal(cpu, [image, state.selector(CS), cpu.nextEip]);
  state.systemFlags &= ~(EFLAGS.TF | (iopl3 ? EFLAGS.IF : EFLAGS.VIF));
  loadReal(cpu, CS, entry >>> 16);
  cpu.nextEip = entry & 0xffff;
  cpu.updateContext();
}

export const INTERRUPT_OPERATIONS: Readonly<Record<string, Operation>> = {
  softwareInterrupt: (cpu, instruction) => {
    cpu.svm.interceptSoftwareInterrupt(instruction.immediate & 0xff);
    softwareInterrupt(cpu, instruction.immediate & 0xff);
  },
  /** INT3 ignores IOPL in virtual-8086 mode, unlike INT 3. */
  breakpoint: (cpu) => {
    cpu.state.eip = cpu.instructionEip;
    cpu.svm.interceptException(VECTOR.BP, -1, 0);
    software(cpu, EVENT_TYPE.EXCEPTION, VECTOR.BP);
  },
  overflowInterrupt: (cpu) => {
    if ((cpu.state.eflags & EFLAGS.OF) === 0) return;
    cpu.state.eip = cpu.instructionEip;
    cpu.svm.interceptException(VECTOR.OF, -1, 0);
    software(cpu, EVENT_TYPE.EXCEPTION, VECTOR.OF);
  },
  /** INT1 makes a #DB that touches no DR6 and has an intercept of its own (APM vol. 2 15.12.2). */
  iceBreakpoint: (cpu) => {
    cpu.svm.intercept('ICEBP');
    cpu.branches.debugException();
    cpu.state.systemFlags &= ~EFLAGS.RF;
    deliverInterrupt(cpu, {
      type: EVENT_TYPE.EXCEPTION,
      vector: VECTOR.DB,
      errorCode: -1,
      software: false,
      returnEip: cpu.nextEip,
      faultEip: cpu.instructionEip,
    });
    cpu.nextEip = cpu.state.eip;
  },
  interruptReturn: (cpu, instruction) => {
    cpu.svm.interceptInterruptReturn();
    interruptReturn(cpu, instruction.operandSize);
  },
};
