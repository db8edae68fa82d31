import { CR4, EFLAGS } from '../../arch/registers.ts';
import { RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { SS } from '../layout.ts';
import { readSegment } from '../segmentation/access.ts';
import { mergeFlags } from '../segmentation/interrupt-return.ts';
import { writeRm } from './operands.ts';
import type { Operation } from './operations.ts';
import { StackWalk } from './stack-pointer.ts';

const PUSHED = [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI];

function writeGeneral(cpu: Cpu, register: number, size: 2 | 4, value: number): void {
  if (size === 2) cpu.state.setGpr16(register, value);
  else cpu.state.setGpr(register, value);
}

/** PUSHA: SP as it was before the first push. */
function pushAll(cpu: Cpu, size: 2 | 4): void {
  const stack = new StackWalk(cpu);
  for (const register of PUSHED) stack.push(size, cpu.state.gpr(register));
  stack.commit();
}

/** POPA: the stack pointer's image is skipped. */
function popAll(cpu: Cpu, size: 2 | 4): void {
  const stack = new StackWalk(cpu);
  const values = PUSHED.map((_, place) => stack.peek((7 - place) * size, size));
  stack.skip(8 * size);
  PUSHED.forEach((register, place) => {
    if (register !== RSP) writeGeneral(cpu, register, size, values[place] as number);
  });
  stack.commit();
}

/** ENTER (SDM vol. 2A): a frame of `bytes` bytes, with `level` - 1 frame pointers copied from the enclosing one. */
function enter(cpu: Cpu, size: 2 | 4, bytes: number, level: number): void {
  const { state } = cpu;
  const stack = new StackWalk(cpu);
  stack.push(size, state.gpr(RBP));
  // All of ESP, even if the stack pointer is SP.
  const frame = ((state.gpr(RSP) & ~stack.mask) | stack.pointer) >>> 0;
  for (let place = 1; place < level; place++) {
    const offset = ((state.gpr(RBP) - place * size) & stack.mask) >>> 0;
    stack.push(size, readSegment(cpu, SS, offset, size));
  }
  if (level > 0) stack.push(size, frame);
  stack.skip(-bytes);
  // The page of the new top must be writable (SDM vol. 2A "ENTER", #PF).
  stack.checkTop(size);
  stack.commit();
  writeGeneral(cpu, RBP, size, frame);
}

/** POP to memory: an address with ESP uses the value behind the pop (SDM vol. 2B "POP"). */
function popMemory(cpu: Cpu, instruction: Instruction): void {
  const { state } = cpu;
  const size = instruction.operandSize;
  const before = state.gpr(RSP);
  const stack = new StackWalk(cpu);
  const value = stack.pop(size);
  stack.commit();
  try {
    writeRm(cpu, instruction, size, value);
  } catch (error) {
    state.setGpr(RSP, before);
    throw error;
  }
}

/** Virtual-8086 mode below IOPL 3, where PUSHF and POPF work only with VME and 16 bits (SDM vol. 3B 20.3.2). */
function usesVirtualFlag(cpu: Cpu, size: 2 | 4): boolean {
  if (!cpu.isVirtual8086 || (cpu.state.systemFlags & EFLAGS.IOPL) === EFLAGS.IOPL) return false;
  if (size === 4 || (cpu.state.cr4 & CR4.VME) === 0) cpu.raiseGeneralProtection();
  return true;
}

/** PUSHF: VM and RF read as zero; with VME, VIF stands in for IF and IOPL reads as 3. */
function pushFlags(cpu: Cpu, size: 2 | 4): void {
  const flags = cpu.state.eflags;
  let image = flags & ~(EFLAGS.VM | EFLAGS.RF);
  if (usesVirtualFlag(cpu, size)) {
    image = (image & ~EFLAGS.IF) | EFLAGS.IOPL | ((flags & EFLAGS.VIF) !== 0 ? EFLAGS.IF : 0);
  }
  const stack = new StackWalk(cpu);
  stack.push(size, image >>> 0);
  stack.commit();
}

/** What POPF may always change, and what it may besides with 32 bits. */
const POPPED =
  EFLAGS.CF | EFLAGS.PF | EFLAGS.AF | EFLAGS.ZF | EFLAGS.SF | EFLAGS.TF | EFLAGS.DF | EFLAGS.OF | EFLAGS.NT;
const POPPED_WIDE = EFLAGS.AC | EFLAGS.ID;

/** POPF (SDM vol. 2B "POPF", table 4-21). */
function popFlags(cpu: Cpu, size: 2 | 4): void {
  const { state } = cpu;
  const virtual = usesVirtualFlag(cpu, size);
  const stack = new StackWalk(cpu);
  const value = stack.pop(size);
  if (virtual) {
    popVirtualFlags(cpu, value);
    stack.commit();
    return;
  }
  stack.commit();
  const iopl = (state.systemFlags & EFLAGS.IOPL) >> 12;
  const alignment = state.systemFlags & EFLAGS.AC;
  let mask = POPPED | EFLAGS.RF | (size === 4 ? POPPED_WIDE : 0);
  if (cpu.cpl <= iopl) mask |= EFLAGS.IF;
  if (cpu.cpl === 0) mask |= EFLAGS.IOPL;
  mergeFlags(cpu, value & ~EFLAGS.RF, mask);
  if ((state.systemFlags & EFLAGS.AC) !== alignment) cpu.updateContext();
}

/** IF goes to VIF; what would let an interrupt or trap happen that the 8086 monitor must see raises #GP. */
function popVirtualFlags(cpu: Cpu, value: number): void {
  const opens = (value & EFLAGS.IF) !== 0;
  if ((value & EFLAGS.TF) !== 0 || (opens && (cpu.state.systemFlags & EFLAGS.VIP) !== 0))
    cpu.raiseGeneralProtection();
  mergeFlags(cpu, (value & 0xffff) | (opens ? EFLAGS.VIF : 0), POPPED | EFLAGS.VIF);
}

export const STACK_OPERATIONS: Readonly<Record<string, Operation>> = {
  pushAll: (cpu, instruction) => pushAll(cpu, instruction.operandSize),
  popAll: (cpu, instruction) => popAll(cpu, instruction.operandSize),
  enter: (cpu, instruction) =>
    enter(cpu, instruction.operandSize, instruction.immediate & 0xffff, instruction.secondImmediate & 0x1f),
  popMemory,
  pushFlags: (cpu, instruction) => {
    // These intercepts come before any exception (APM vol. 2 15.9).
    cpu.svm.intercept('PUSHF');
    pushFlags(cpu, instruction.operandSize);
  },
  popFlags: (cpu, instruction) => {
    cpu.svm.intercept('POPF');
    popFlags(cpu, instruction.operandSize);
  },
};
