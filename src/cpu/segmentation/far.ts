import { SELECTOR, SYSTEM_TYPE } from '../../arch/descriptors.ts';
import { VECTOR } from '../../arch/exceptions.ts';
import { RSP } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import { CS, SS } from '../layout.ts';
import { StackWalk } from '../system/stack-pointer.ts';
import {
  type Descriptor,
  isNullSelector,
  markDescriptorAccessed,
  readDescriptor,
  selectorError,
} from './descriptor.ts';
import { InnerFrame, innerStack } from './inner-stack.ts';
import { checkStackSegment, dropInaccessibleSegments, fillSegment, loadReal } from './load.ts';
import { taskSwitch } from './task-switch.ts';

const { RPL } = SELECTOR;

/** JMP ptr16:16/32, in any mode. */
export function jumpFar(cpu: Cpu, selector: number, offset: number): void {
  if (!cpu.isProtected) {
    jumpReal(cpu, selector, offset);
    return;
  }
  if (isNullSelector(selector)) cpu.raiseGeneralProtection();
  const target = readDescriptor(cpu, selector);
  if (target.isSegment) {
    checkCode(cpu, target, selector);
    jumpToCode(cpu, target, offset, cpu.cpl);
    return;
  }
  systemTarget(cpu, target, selector, 'jump');
}

/** CALL ptr16:16/32. */
export function callFar(cpu: Cpu, selector: number, offset: number, size: 2 | 4): void {
  if (!cpu.isProtected) {
    const stack = new StackWalk(cpu);
    stack.checkRoom(size, 2);
    checkRealTarget(cpu, offset);
    stack.push(size, cpu.state.selector(CS));
    stack.push(size, cpu.nextEip);
    stack.commit();
    jumpReal(cpu, selector, offset);
    return;
  }
  if (isNullSelector(selector)) cpu.raiseGeneralProtection();
  const target = readDescriptor(cpu, selector);
  if (!target.isSegment) {
    systemTarget(cpu, target, selector, 'call');
    return;
  }
  checkCode(cpu, target, selector);
  callSame(cpu, target, offset, size);
}

/** Room on the stack comes first, then the target's limit, then the pushes (SDM vol. 2A "CALL"). */
function callSame(cpu: Cpu, target: Descriptor, offset: number, size: 2 | 4): void {
  const stack = new StackWalk(cpu);
  stack.checkRoom(size, 2);
  if (offset > target.limit) cpu.raiseGeneralProtection();
  stack.push(size, cpu.state.selector(CS));
  stack.push(size, cpu.nextEip);
  jumpToCode(cpu, target, offset, cpu.cpl);
  stack.commit();
}

function checkRealTarget(cpu: Cpu, offset: number): void {
  if (offset > cpu.state.segmentLimit(CS)) cpu.raiseGeneralProtection();
}

function jumpReal(cpu: Cpu, selector: number, offset: number): void {
  checkRealTarget(cpu, offset);
  loadReal(cpu, CS, selector);
  cpu.nextEip = offset;
  cpu.updateContext();
}

/** SDM vol. 3A 5.8.1: conforming code at our level or further in, other code at ours exactly. */
function checkCode(cpu: Cpu, target: Descriptor, selector: number): void {
  const error = selectorError(selector);
  if (!target.isCode) cpu.raiseGeneralProtection(error);
  const allowed = target.isConforming
    ? target.dpl <= cpu.cpl
    : target.dpl === cpu.cpl && (selector & RPL) <= cpu.cpl;
  if (!allowed) cpu.raiseGeneralProtection(error);
  if (!target.present) cpu.raise(VECTOR.NP, error);
}

function jumpToCode(cpu: Cpu, target: Descriptor, offset: number, cpl: number): void {
  if (offset > target.limit) cpu.raiseGeneralProtection();
  fillSegment(cpu, CS, target, (target.selector & ~RPL) | cpl);
  cpu.cpl = cpl;
  cpu.nextEip = offset;
  cpu.updateContext();
}

type Source = 'jump' | 'call';

/** A gate or TSS as target (SDM vol. 3A 5.8.3, 7.3). */
function systemTarget(cpu: Cpu, target: Descriptor, selector: number, source: Source): void {
  const error = selectorError(selector);
  switch (target.type) {
    case SYSTEM_TYPE.CALL_GATE_16:
    case SYSTEM_TYPE.CALL_GATE_32:
    case SYSTEM_TYPE.TASK_GATE:
    case SYSTEM_TYPE.TSS_16_AVAILABLE:
    case SYSTEM_TYPE.TSS_32_AVAILABLE:
      break;
    default:
      cpu.raiseGeneralProtection(error);
  }
  if (target.dpl < cpu.cpl || target.dpl < (selector & RPL)) cpu.raiseGeneralProtection(error);
  if (!target.present) cpu.raise(VECTOR.NP, error);
  if (target.type === SYSTEM_TYPE.CALL_GATE_16 || target.type === SYSTEM_TYPE.CALL_GATE_32) {
    throughGate(cpu, target, source);
    return;
  }
  const tss = target.type === SYSTEM_TYPE.TASK_GATE ? target.gateSelector : selector;
  cpu.state.eip = cpu.nextEip;
  taskSwitch(cpu, tss, { source, errorCode: -1, external: false });
  cpu.nextEip = cpu.state.eip;
}

function throughGate(cpu: Cpu, gate: Descriptor, source: Source): void {
  const selector = gate.gateSelector;
  if (isNullSelector(selector)) cpu.raiseGeneralProtection();
  const error = selectorError(selector);
  const code = readDescriptor(cpu, selector);
  if (!code.isCode || code.dpl > cpu.cpl) cpu.raiseGeneralProtection(error);
  if (source === 'jump' && !code.isConforming && code.dpl !== cpu.cpl) cpu.raiseGeneralProtection(error);
  if (!code.present) cpu.raise(VECTOR.NP, error);
  const wide = gate.type === SYSTEM_TYPE.CALL_GATE_32;
  const offset = wide ? gate.gateOffset32 : gate.gateOffset16;
  const size = wide ? 4 : 2;
  if (source === 'call' && !code.isConforming && code.dpl < cpu.cpl) {
    callInner(cpu, gate, code, offset, size);
    return;
  }
  if (source === 'jump') {
    jumpToCode(cpu, code, offset, cpu.cpl);
    return;
  }
  callSame(cpu, code, offset, size);
}

/** Through a call gate to an inner level: new stack, parameters copied (SDM vol. 3A 5.8.5; order: vol. 2A "CALL"). */
function callInner(cpu: Cpu, gate: Descriptor, code: Descriptor, offset: number, size: 2 | 4): void {
  const { state } = cpu;
  const { selector, pointer } = innerStack(cpu, code.dpl);
  const stackSegment = checkStackSegment(cpu, selector, code.dpl, VECTOR.TS);
  const frame = new InnerFrame(cpu, stackSegment, pointer, size, gate.gateParameters + 4);
  if (offset > code.limit) cpu.raiseGeneralProtection();
  const old = new StackWalk(cpu);
  const values = [state.selector(SS), state.gpr(RSP)];
  for (let parameter = gate.gateParameters - 1; parameter >= 0; parameter--)
    values.push(old.peek(parameter * size, size));
  values.push(state.selector(CS), cpu.nextEip);
  frame.write(values);
  markDescriptorAccessed(cpu, code);
  fillSegment(cpu, SS, stackSegment);
  state.setGpr(RSP, frame.stackPointer);
  jumpToCode(cpu, code, offset, code.dpl);
}

/** RETF, releasing `bytes` bytes of parameters. */
export function returnFar(cpu: Cpu, bytes: number, size: 2 | 4): void {
  const stack = new StackWalk(cpu);
  const offset = stack.pop(size);
  const selector = stack.pop(size) & 0xffff;
  if (!cpu.isProtected) {
    checkRealTarget(cpu, offset);
    stack.skip(bytes);
    stack.commit();
    jumpReal(cpu, selector, offset);
    return;
  }
  const code = checkReturnCode(cpu, selector);
  const level = selector & RPL;
  stack.skip(bytes);
  if (level === cpu.cpl) {
    jumpToCode(cpu, code, offset, level);
    stack.commit();
    return;
  }
  const pointer = stack.pop(size);
  const stackSelector = stack.pop(size) & 0xffff;
  returnOuter(cpu, code, offset, level, stackSelector, pointer, size, bytes);
}

/** SDM vol. 2A IRET, RET: the segment returned to. */
export function checkReturnCode(cpu: Cpu, selector: number): Descriptor {
  if (isNullSelector(selector)) cpu.raiseGeneralProtection();
  const error = selectorError(selector);
  const code = readDescriptor(cpu, selector);
  const level = selector & RPL;
  if (!code.isCode || level < cpu.cpl) cpu.raiseGeneralProtection(error);
  if (code.isConforming ? code.dpl > level : code.dpl !== level) cpu.raiseGeneralProtection(error);
  if (!code.present) cpu.raise(VECTOR.NP, error);
  return code;
}

/** To an outer level: the stack comes from the frame, and data segments of inner levels are dropped. */
export function returnOuter(
  cpu: Cpu,
  code: Descriptor,
  offset: number,
  level: number,
  stackSelector: number,
  pointer: number,
  size: 2 | 4,
  released: number,
): void {
  const stack = checkStackSegment(cpu, stackSelector, level, VECTOR.GP);
  // Behind the checks of the stack segment (SDM vol. 2A "IRET", vol. 2B "RET").
  if (offset > code.limit) cpu.raiseGeneralProtection();
  const { state } = cpu;
  // Writing accessed bits may fault: both before the first change.
  markDescriptorAccessed(cpu, code);
  fillSegment(cpu, SS, stack);
  const mask = (stack.attributes & 0x400) !== 0 ? 0xffff_ffff : 0xffff;
  const base = size === 2 ? pointer & 0xffff : pointer;
  const moved = ((base + released) & mask) >>> 0;
  state.setGpr(RSP, mask === 0xffff ? ((state.gpr(RSP) & ~0xffff) | moved) >>> 0 : moved);
  cpu.cpl = level;
  jumpToCode(cpu, code, offset, level);
  dropInaccessibleSegments(cpu);
  cpu.updateContext();
}
