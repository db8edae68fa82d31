import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { readSegment, writeSegment } from '../segmentation/access.ts';

/** Reads an r/m operand of `size` bytes, unsigned. Raises what the memory access raises. */
export function readRm(cpu: Cpu, instruction: Instruction, size: 1 | 2 | 4): number {
  if (instruction.isMemory) return readSegment(cpu, instruction.segment, instruction.effectiveAddress, size);
  const { u8, u16, u32 } = cpu.state;
  const address = instruction.rmRegisterAddress;
  if (size === 4) return u32[address >> 2] as number;
  return (size === 2 ? u16[address >> 1] : u8[address]) as number;
}

/**
 * Writes the low `size` bytes of `value` to an r/m operand. A register written with 32 bits has the upper half of its
 * slot cleared; with fewer, the rest stays (SDM vol. 1 3.4.1.1).
 */
export function writeRm(cpu: Cpu, instruction: Instruction, size: 1 | 2 | 4, value: number): void {
  if (instruction.isMemory) {
    writeSegment(cpu, instruction.segment, instruction.effectiveAddress, size, value >>> 0);
    return;
  }
  const { state } = cpu;
  const address = instruction.rmRegisterAddress;
  if (size === 1) state.u8[address] = value;
  else if (size === 2) state.u16[address >> 1] = value;
  else state.setGpr(instruction.rmRegister, value);
}

/** The general register in ModRM.reg, as wide as the operand size, unsigned. */
export function readG(cpu: Cpu, instruction: Instruction): number {
  const { register } = instruction;
  return instruction.operandSize === 2 ? cpu.state.gpr16(register) : cpu.state.gpr(register);
}

/** Writes the general register in ModRM.reg by operand size; with 16 bits the upper half stays. */
export function writeG(cpu: Cpu, instruction: Instruction, value: number): void {
  if (instruction.operandSize === 2) cpu.state.setGpr16(instruction.register, value);
  else cpu.state.setGpr(instruction.register, value);
}
