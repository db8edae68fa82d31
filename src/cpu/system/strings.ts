import { RDI, RSI } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { ES } from '../layout.ts';
import { readSegment, writeSegment } from '../segmentation/access.ts';
import type { Operation } from './operations.ts';
import { repeat, type StringOperation } from './repeat.ts';
import {
  accumulator,
  compareRun,
  type ElementSize,
  index,
  isBackward,
  loadRun,
  moveIndex,
  moveRun,
  scanRun,
  setAccumulator,
  storeRun,
} from './string-runs.ts';

/** Bytes that a repeated instruction handles before it lets interrupts in. */
const QUOTA = 0x1_0000;

/** Moves an index register one element on. */
export function stepIndex(cpu: Cpu, instruction: Instruction, register: number, size: number): void {
  moveIndex(cpu.state, instruction, register, isBackward(cpu.state) ? -size : size);
}

/** The element at (E)SI in the segment of the instruction. */
export function readSource(cpu: Cpu, instruction: Instruction, size: ElementSize): number {
  return readSegment(cpu, instruction.segment, index(cpu.state, instruction, RSI), size);
}

/** The element at ES:(E)DI: no prefix replaces ES (SDM vol. 1 7.3.9.1). */
function readDestination(cpu: Cpu, instruction: Instruction, size: ElementSize): number {
  return readSegment(cpu, ES, index(cpu.state, instruction, RDI), size);
}

function writeDestination(cpu: Cpu, instruction: Instruction, size: ElementSize, value: number): void {
  writeSegment(cpu, ES, index(cpu.state, instruction, RDI), size, value);
}

const moveString = (size: ElementSize): StringOperation => ({
  compares: false,
  quota: QUOTA / size,
  run: (cpu, instruction, limit) => moveRun(cpu, instruction, size, limit),
  step(cpu, instruction) {
    writeDestination(cpu, instruction, size, readSource(cpu, instruction, size));
    stepIndex(cpu, instruction, RSI, size);
    stepIndex(cpu, instruction, RDI, size);
  },
});

const storeString = (size: ElementSize): StringOperation => ({
  compares: false,
  quota: QUOTA / size,
  run: (cpu, instruction, limit) => storeRun(cpu, instruction, size, limit),
  step(cpu, instruction) {
    writeDestination(cpu, instruction, size, accumulator(cpu.state, size));
    stepIndex(cpu, instruction, RDI, size);
  },
});

const loadString = (size: ElementSize): StringOperation => ({
  compares: false,
  quota: QUOTA / size,
  run: (cpu, instruction, limit) => loadRun(cpu, instruction, size, limit),
  step(cpu, instruction) {
    setAccumulator(cpu.state, size, readSource(cpu, instruction, size));
    stepIndex(cpu, instruction, RSI, size);
  },
});

const scanString = (size: ElementSize): StringOperation => ({
  compares: true,
  quota: QUOTA / size,
  run: (cpu, instruction, limit) => scanRun(cpu, instruction, size, limit),
  step(cpu, instruction) {
    const value = readDestination(cpu, instruction, size);
    cpu.state.setFlagsOfSubtraction(size * 8, accumulator(cpu.state, size), value);
    stepIndex(cpu, instruction, RDI, size);
  },
});

const compareString = (size: ElementSize): StringOperation => ({
  compares: true,
  quota: QUOTA / size,
  run: (cpu, instruction, limit) => compareRun(cpu, instruction, size, limit),
  step(cpu, instruction) {
    const left = readSource(cpu, instruction, size);
    const right = readDestination(cpu, instruction, size);
    cpu.state.setFlagsOfSubtraction(size * 8, left, right);
    stepIndex(cpu, instruction, RSI, size);
    stepIndex(cpu, instruction, RDI, size);
  },
});

/** The byte form of a string instruction. */
export function byteForm(make: (size: ElementSize) => StringOperation): Operation {
  const operation = make(1);
  return (cpu, instruction) => repeat(cpu, instruction, operation);
}

/** The word and doubleword form, by operand size. */
export function wideForm(make: (size: ElementSize) => StringOperation): Operation {
  const word = make(2);
  const doubleword = make(4);
  return (cpu, instruction) => repeat(cpu, instruction, instruction.operandSize === 2 ? word : doubleword);
}

export const STRING_OPERATIONS: Readonly<Record<string, Operation>> = {
  moveStringByte: byteForm(moveString),
  moveString: wideForm(moveString),
  compareStringByte: byteForm(compareString),
  compareString: wideForm(compareString),
  storeStringByte: byteForm(storeString),
  storeString: wideForm(storeString),
  loadStringByte: byteForm(loadString),
  loadString: wideForm(loadString),
  scanStringByte: byteForm(scanString),
  scanString: wideForm(scanString),
};
