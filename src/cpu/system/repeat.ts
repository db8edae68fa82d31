import { EFLAGS } from '../../arch/registers.ts';
import { RCX } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { index } from './string-runs.ts';

/** Elements that an instruction does one by one before it lets interrupts in. */
const SINGLE_ELEMENTS = 4;

/** A string operation on elements of one size. */
export interface StringOperation {
  /** Does one element: accesses first, then registers. */
  step(cpu: Cpu, instruction: Instruction): void;
  /** Does up to `limit` elements at once and returns how many; 0 if `step` has to do the next one. */
  run(cpu: Cpu, instruction: Instruction, limit: number): number;
  /** REPE and REPNE look at ZF after each element. */
  readonly compares: boolean;
  /** Elements after which a repeated instruction lets interrupts in. */
  readonly quota: number;
}

/**
 * Carries out a string instruction with its repeat prefix (SDM vol. 2B "REP/REPE/REPNE"). A long one ends early and
 * goes on as if it had been interrupted, with EIP still on itself and the registers up to date.
 */
export function repeat(cpu: Cpu, instruction: Instruction, operation: StringOperation): void {
  if (!instruction.rep && !instruction.repne) {
    if (operation.run(cpu, instruction, 1) === 0) operation.step(cpu, instruction);
  } else if (operation.compares) repeatComparing(cpu, instruction, operation);
  else repeatCounting(cpu, instruction, operation);
}

/** TF traps after each element (SDM vol. 3B 17.3.1.4); an emulated instruction does one at a time. */
function quotaOf(cpu: Cpu, operation: StringOperation): number {
  const single = (cpu.state.systemFlags & EFLAGS.TF) !== 0 || cpu.memory !== cpu.paging;
  return single ? 1 : operation.quota;
}

function setCounter(cpu: Cpu, instruction: Instruction, value: number): void {
  if (instruction.addressSize === 2) cpu.state.setGpr16(RCX, value);
  else cpu.state.setGpr(RCX, value);
}

/** Up to `limit` elements, at least one, off the counter. */
function advance(
  cpu: Cpu,
  instruction: Instruction,
  operation: StringOperation,
  count: number,
  limit: number,
): number {
  let done = operation.run(cpu, instruction, Math.min(count, limit));
  if (done === 0) {
    operation.step(cpu, instruction);
    done = 1;
  }
  setCounter(cpu, instruction, count - done);
  return done;
}

/**
 * The instruction is to go on later: EIP stays on it. An interrupt or a trap behind any iteration but the last pushes
 * RF = 1, and none of the iterations left meets the instruction's breakpoint again (SDM vol. 3B 17.3.1.1).
 */
function interrupted(cpu: Cpu): void {
  cpu.nextEip = cpu.instructionEip;
  cpu.state.systemFlags |= EFLAGS.RF;
  cpu.resumeFlagUntil = cpu.completed + 1;
}

/**
 * An element is done and more are to come. RF = 1 is what an interrupt now would push; a #VMEXIT now saves the same, be it by
 * the guest's exception or by a nested page fault, however many elements were done since the last look at interrupts.
 */
function underWay(cpu: Cpu): void {
  cpu.state.systemFlags |= EFLAGS.RF;
  cpu.resumeFlagUntil = cpu.completed;
}

/**
 * What is left behind `done` elements. A single one was slow, as outside RAM, and costs much: a guest that moves 4 GiB of
 * nothing must not keep the program from its budget and its deadline.
 */
function quotaLeft(cpu: Cpu, operation: StringOperation, quota: number, done: number): number {
  // A device that was accessed may want attention before the next element.
  if (cpu.sliceEndRequested) return 0;
  return quota - (done === 1 ? operation.quota / SINGLE_ELEMENTS : done);
}

function repeatCounting(cpu: Cpu, instruction: Instruction, operation: StringOperation): void {
  let count = index(cpu.state, instruction, RCX);
  let quota = quotaOf(cpu, operation);
  const { idleTicks } = cpu;
  while (count > 0) {
    if (quota <= 0) {
      interrupted(cpu);
      return;
    }
    const done = advance(cpu, instruction, operation, count, quota);
    count -= done;
    if (count > 0) underWay(cpu);
    // An element that takes time lets interrupts in: were it left to the end of the slice, it would matter where a run is cut.
    quota = cpu.idleTicks === idleTicks ? quotaLeft(cpu, operation, quota, done) : 0;
  }
}

/**
 * When an element faults, Intel's processors restore the flags that the instruction found (SDM vol. 2B "REP"); AMD's
 * keep those of the element before.
 */
function repeatComparing(cpu: Cpu, instruction: Instruction, operation: StringOperation): void {
  const { state } = cpu;
  let count = index(state, instruction, RCX);
  if (count === 0) return;
  const flags = state.eflags;
  let quota = quotaOf(cpu, operation);
  try {
    for (;;) {
      const done = advance(cpu, instruction, operation, count, quota);
      count -= done;
      if (count === 0 || state.zeroFlag !== instruction.rep) return;
      underWay(cpu);
      quota = quotaLeft(cpu, operation, quota, done);
      if (quota <= 0) break;
    }
  } catch (error) {
    if (cpu.model.vendor === 'GenuineIntel') state.eflags = flags;
    throw error;
  }
  interrupted(cpu);
}
