import { VECTOR } from '../../arch/exceptions.ts';
import { EFLAGS, EFLAGS_STATUS } from '../../arch/registers.ts';
import { RAX } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import type { Operation } from './operations.ts';

/** SF, ZF and PF of a value of `bits` bits; parity is that of the low byte. */
function signZeroParity(bits: 8 | 16, value: number): number {
  const low = value ^ (value >> 4);
  const even = (0x9669 >> (low & 0xf)) & 1;
  const sign = (value >> (bits - 1)) & 1;
  return (sign !== 0 ? EFLAGS.SF : 0) | (value === 0 ? EFLAGS.ZF : 0) | (even !== 0 ? EFLAGS.PF : 0);
}

/** OF of `left` plus or minus `right` with this result. */
function overflow(bits: 8 | 16, left: number, right: number, result: number, direction: 1 | -1): number {
  const differs = (left ^ result) & (direction > 0 ? right ^ result : left ^ right);
  return ((differs >> (bits - 1)) & 1) !== 0 ? EFLAGS.OF : 0;
}

/** Replaces the arithmetic flags. */
function setFlags(cpu: Cpu, flags: number): void {
  cpu.state.eflags = (cpu.state.systemFlags & ~EFLAGS_STATUS) | flags;
}

/*
 * What the manuals leave undefined is as the addition or subtraction of the adjustment sets it: that is what AMD's
 * processors do.
 */

/** Both digits of AL: `direction` 1 for DAA, -1 for DAS (SDM vol. 2A). */
function decimalAdjust(cpu: Cpu, direction: 1 | -1): void {
  const { state } = cpu;
  const flags = state.eflags;
  const old = state.al;
  const low = (old & 0xf) > 9 || (flags & EFLAGS.AF) !== 0;
  const high = old > 0x99 || (flags & EFLAGS.CF) !== 0;
  const adjustment = (low ? 6 : 0) + (high ? 0x60 : 0);
  const al = (old + direction * adjustment) & 0xff;
  // DAS borrows out of AL even where the high digit needs no adjustment.
  const borrow = direction < 0 && low && old < 6;
  state.al = al;
  const sum = signZeroParity(8, al) | overflow(8, old, adjustment, al, direction);
  setFlags(cpu, sum | (low ? EFLAGS.AF : 0) | (high || borrow ? EFLAGS.CF : 0));
}

/** One digit in AL, its carry into AH (SDM vol. 2A "AAA", "AAS"). */
function asciiAdjust(cpu: Cpu, direction: 1 | -1): void {
  const { state } = cpu;
  const adjusts = (state.al & 0xf) > 9 || (state.eflags & EFLAGS.AF) !== 0;
  const adjustment = adjusts ? 0x106 : 0;
  const old = state.gpr16(RAX);
  const ax = (old + direction * adjustment) & 0xffff;
  state.setGpr16(RAX, ax & 0xff0f);
  const sum = signZeroParity(16, ax) | overflow(16, old, adjustment, ax, direction);
  setFlags(cpu, sum | (adjusts ? EFLAGS.AF | EFLAGS.CF : 0));
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
    setFlags(cpu, signZeroParity(8, state.al));
  },

  asciiAdjustDivide: (cpu, instruction) => {
    const { state } = cpu;
    const { al } = state;
    const tens = (state.ah * (instruction.immediate & 0xff)) & 0xff;
    const sum = al + tens;
    state.setGpr16(RAX, sum & 0xff);
    const carries = (sum > 0xff ? EFLAGS.CF : 0) | ((al ^ tens ^ sum) & EFLAGS.AF);
    setFlags(cpu, signZeroParity(8, sum & 0xff) | carries | overflow(8, al, tens, sum, 1));
  },

  /** SALC: AL becomes CF in all bits; flags stay (APM vol. 3 appendix A). */
  setCarryMask: (cpu) => {
    cpu.state.al = (cpu.state.eflags & EFLAGS.CF) !== 0 ? 0xff : 0;
  },
};
