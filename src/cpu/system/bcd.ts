import { VECTOR } from '../../arch/exceptions.ts';
import { EFLAGS, EFLAGS_STATUS } from '../../arch/registers.ts';
import { RAX } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import type { Operation } from './operations.ts';

/** SF, ZF and PF of a byte. */
function signZeroParity(value: number): number {
  let parity = value ^ (value >> 4);
  parity = (0x9669 >> (parity & 0xf)) & 1;
  return (value & EFLAGS.SF) | (value === 0 ? EFLAGS.ZF : 0) | (parity !== 0 ? EFLAGS.PF : 0);
}

/** Replaces the arithmetic flags. */
function setFlags(cpu: Cpu, flags: number): void {
  cpu.state.eflags = (cpu.state.systemFlags & ~EFLAGS_STATUS) | flags;
}

/** Both digits of AL: `direction` 1 for DAA, -1 for DAS (SDM vol. 2A). Processors clear OF, which is undefined. */
function decimalAdjust(cpu: Cpu, direction: 1 | -1): void {
  const { state } = cpu;
  const flags = state.eflags;
  const old = state.al;
  const low = (old & 0xf) > 9 || (flags & EFLAGS.AF) !== 0;
  const high = old > 0x99 || (flags & EFLAGS.CF) !== 0;
  const al = (old + direction * ((low ? 6 : 0) + (high ? 0x60 : 0))) & 0xff;
  // DAS borrows out of AL even where the high digit needs no adjustment.
  const borrow = direction < 0 && low && old < 6;
  state.al = al;
  setFlags(cpu, signZeroParity(al) | (low ? EFLAGS.AF : 0) | (high || borrow ? EFLAGS.CF : 0));
}

/** One digit in AL, its carry into AH (SDM vol. 2A "AAA", "AAS"). */
function asciiAdjust(cpu: Cpu, direction: 1 | -1): void {
  const { state } = cpu;
  const adjusts = (state.al & 0xf) > 9 || (state.eflags & EFLAGS.AF) !== 0;
  if (adjusts) state.setGpr16(RAX, state.gpr16(RAX) + direction * 0x106);
  state.al &= 0xf;
  setFlags(cpu, signZeroParity(state.al) | (adjusts ? EFLAGS.AF | EFLAGS.CF : 0));
}

export const BCD_OPERATIONS: Readonly<Record<string, Operation>> = {
  decimalAdjustAdd: (cpu) => decimalAdjust(cpu, 1),
  decimalAdjustSubtract: (cpu) => decimalAdjust(cpu, -1),
  asciiAdjustAdd: (cpu) => asciiAdjust(cpu, 1),
  asciiAdjustSubtract: (cpu) => asciiAdjust(cpu, -1),

  asciiAdjustMultiply: (cpu, instruction) => {
    const { state } = cpu;
    const base = instruction.immediate & 0xff;
    if (base === 0) cpu.raise(VECTOR.DE);
    const { al } = state;
    state.ah = Math.trunc(al / base);
    state.al = al % base;
    setFlags(cpu, signZeroParity(state.al));
  },

  asciiAdjustDivide: (cpu, instruction) => {
    const { state } = cpu;
    state.setGpr16(RAX, (state.al + state.ah * (instruction.immediate & 0xff)) & 0xff);
    setFlags(cpu, signZeroParity(state.al));
  },

  /** SALC: AL becomes CF in all bits; flags stay (APM vol. 3 appendix A). */
  setCarryMask: (cpu) => {
    cpu.state.al = (cpu.state.eflags & EFLAGS.CF) !== 0 ? 0xff : 0;
  },
};
