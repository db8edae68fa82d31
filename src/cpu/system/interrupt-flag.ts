import { CR4, EFLAGS } from '../../arch/registers.ts';
import type { Cpu } from '../cpu.ts';
import type { Operation } from './operations.ts';

/**
 * Which flag CLI and STI act on: IF, or with VME (virtual-8086 mode) or PVI (CPL 3) and IOPL below CPL its virtual
 * twin. Raises #GP(0) where neither may be changed (SDM vol. 2A "CLI", "STI"; vol. 3B 20.3, 20.4).
 */
function governedFlag(cpu: Cpu): number {
  const { state } = cpu;
  if (cpu.isReal) return EFLAGS.IF;
  const iopl = (state.systemFlags & EFLAGS.IOPL) >> 12;
  if (cpu.cpl <= iopl) return EFLAGS.IF;
  const extension = cpu.isVirtual8086 ? CR4.VME : CR4.PVI;
  if (cpu.cpl !== 3 || (state.cr4 & extension) === 0) cpu.raiseGeneralProtection();
  return EFLAGS.VIF;
}

function clearInterruptFlag(cpu: Cpu): void {
  cpu.state.systemFlags &= ~governedFlag(cpu);
}

function setInterruptFlag(cpu: Cpu): void {
  const { state } = cpu;
  const flag = governedFlag(cpu);
  if (flag === EFLAGS.VIF) {
    if ((state.systemFlags & EFLAGS.VIP) !== 0) cpu.raiseGeneralProtection();
    state.systemFlags |= EFLAGS.VIF;
    return;
  }
  if ((state.systemFlags & EFLAGS.IF) === 0) {
    // Interrupts stay out for one more instruction (SDM vol. 3A 6.8.1).
    cpu.shadowAt = cpu.retired - cpu.instruction.remaining + 1;
    cpu.shadowFromStack = false;
  }
  state.systemFlags |= EFLAGS.IF;
  if (cpu.environment.interrupts.pending || cpu.svm.inGuest) cpu.endSlice();
}

export const INTERRUPT_FLAG_OPERATIONS: Readonly<Record<string, Operation>> = {
  clearInterruptFlag,
  setInterruptFlag,
  /** HLT: nothing runs until an interrupt, NMI or reset. */
  halt: (cpu) => {
    if (cpu.cpl !== 0) cpu.raiseGeneralProtection();
    cpu.svm.intercept('HLT');
    cpu.halted = true;
    cpu.endSlice();
  },
};
