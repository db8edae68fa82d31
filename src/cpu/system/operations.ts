import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';

/**
 * An instruction that TypeScript carries out. EIP, and so where it goes on, is `cpu.nextEip`; a fault is thrown with
 * `cpu.raise`, before anything has changed.
 */
export type Operation = (cpu: Cpu, instruction: Instruction) => void;
