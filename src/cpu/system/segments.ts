import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { CS, DS, ES, FS, GS, SS } from '../layout.ts';
import { readSegment } from '../segmentation/access.ts';
import { callFar, jumpFar, returnFar } from '../segmentation/far.ts';
import { loadSegment } from '../segmentation/load.ts';
import { readRm, writeG, writeRm } from './operands.ts';
import type { Operation } from './operations.ts';
import { StackWalk } from './stack-pointer.ts';

/** MOV SS and POP SS hold interrupts and debug traps back for one instruction (SDM vol. 3A 6.8.3). */
function afterLoad(cpu: Cpu, segment: number): void {
  if (segment === SS) {
    cpu.shadowAt = cpu.retired - cpu.instruction.remaining + 1;
    cpu.shadowFromStack = true;
  }
  cpu.updateContext();
}

const storeSegment: Operation = (cpu, instruction) => {
  if (instruction.regField > GS) cpu.raiseUndefined();
  const selector = cpu.state.selector(instruction.regField);
  // To a register it is zero-extended to the operand size, to memory always a word (SDM vol. 2B "MOV").
  writeRm(cpu, instruction, instruction.isMemory ? 2 : instruction.operandSize, selector);
};

const moveToSegment: Operation = (cpu, instruction) => {
  const segment = instruction.regField;
  if (segment === CS || segment > GS) cpu.raiseUndefined();
  loadSegment(cpu, segment, readRm(cpu, instruction, 2));
  afterLoad(cpu, segment);
};

const pushSegment =
  (segment: number): Operation =>
  (cpu, instruction) => {
    const stack = new StackWalk(cpu);
    stack.push(instruction.operandSize, cpu.state.selector(segment));
    stack.commit();
  };

const popSegment =
  (segment: number): Operation =>
  (cpu, instruction) => {
    const stack = new StackWalk(cpu);
    const selector = stack.pop(instruction.operandSize) & 0xffff;
    // The pointer moves on the old stack; loading SS may change how wide it is.
    const before = cpu.state.gpr(4);
    if (segment === SS) stack.commit();
    try {
      loadSegment(cpu, segment, selector);
    } catch (error) {
      cpu.state.setGpr(4, before);
      throw error;
    }
    if (segment !== SS) stack.commit();
    afterLoad(cpu, segment);
  };

/** The far pointer that the memory operand holds: offset, then selector. */
function readFarPointer(cpu: Cpu, instruction: Instruction): { offset: number; selector: number } {
  const size = instruction.operandSize;
  const address = instruction.effectiveAddress;
  const behind = ((address + size) & instruction.addressMask) >>> 0;
  return {
    offset: readSegment(cpu, instruction.segment, address, size),
    selector: readSegment(cpu, instruction.segment, behind, 2),
  };
}

const loadFar =
  (segment: number): Operation =>
  (cpu, instruction) => {
    const { offset, selector } = readFarPointer(cpu, instruction);
    loadSegment(cpu, segment, selector);
    writeG(cpu, instruction, offset);
    afterLoad(cpu, segment === SS ? ES : segment);
  };

const farOffset = (instruction: Instruction): number =>
  instruction.operandSize === 2 ? instruction.immediate & 0xffff : instruction.immediate >>> 0;

export const SEGMENT_OPERATIONS: Readonly<Record<string, Operation>> = {
  storeSegment,
  loadSegment: moveToSegment,
  pushES: pushSegment(ES),
  pushCS: pushSegment(CS),
  pushSS: pushSegment(SS),
  pushDS: pushSegment(DS),
  pushFS: pushSegment(FS),
  pushGS: pushSegment(GS),
  popES: popSegment(ES),
  popSS: popSegment(SS),
  popDS: popSegment(DS),
  popFS: popSegment(FS),
  popGS: popSegment(GS),
  loadFarES: loadFar(ES),
  loadFarDS: loadFar(DS),
  loadFarSS: loadFar(SS),
  loadFarFS: loadFar(FS),
  loadFarGS: loadFar(GS),
  callFar: (cpu, instruction) =>
    callFar(cpu, instruction.farSelector, farOffset(instruction), instruction.operandSize),
  jumpFar: (cpu, instruction) => jumpFar(cpu, instruction.farSelector, farOffset(instruction)),
  callFarIndirect: (cpu, instruction) => {
    const { offset, selector } = readFarPointer(cpu, instruction);
    callFar(cpu, selector, offset, instruction.operandSize);
  },
  jumpFarIndirect: (cpu, instruction) => {
    const { offset, selector } = readFarPointer(cpu, instruction);
    jumpFar(cpu, selector, offset);
  },
  returnFar: (cpu, instruction) => returnFar(cpu, 0, instruction.operandSize),
  returnFarAndRelease: (cpu, instruction) =>
    returnFar(cpu, instruction.immediate & 0xffff, instruction.operandSize),
};
