import { SYSTEM_TYPE } from '../../arch/descriptors.ts';
import { VECTOR } from '../../arch/exceptions.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { CR4, EFLAGS } from '../../arch/registers.ts';
import type { EventType } from '../../arch/vmcb.ts';
import { RSP } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import { CS, DS, ES, FS, GS, SS, SYSTEM, TR } from '../layout.ts';
import {
  Descriptor,
  isNullSelector,
  markDescriptorAccessed,
  readDescriptor,
  selectorError,
} from '../segmentation/descriptor.ts';
import { InnerFrame, innerStack } from '../segmentation/inner-stack.ts';
import { checkStackSegment, fillSegment, loadReal, unusable } from '../segmentation/load.ts';
import { taskSwitch } from '../segmentation/task-switch.ts';
import { StackWalk } from '../system/stack-pointer.ts';

/** An interrupt or exception on its way to its handler. */
export interface Event {
  /** What it is to double faults and to EXITINTINFO: INT3, INTO and INT1 are exceptions (APM vol. 2 15.7.2). */
  readonly type: EventType;
  readonly vector: number;
  /** -1: none is pushed. */
  readonly errorCode: number;
  /** INT n, INT3, INTO: the gate's DPL counts, and the EXT bit of error codes is clear. */
  readonly software: boolean;
  /** EIP to push. */
  readonly returnEip: number;
  /** EIP of a fault on the way, if another: that of the INT n itself (SDM vol. 3A 6.5). */
  readonly faultEip?: number;
}

const IDT_ERROR = 2;

/** Error code of a fault with the gate itself (SDM vol. 3A 6.13). */
const gateError = (event: Event): number => event.vector * 8 + IDT_ERROR;

/** Transfers control to the handler of an event, in any mode. Raises what goes wrong on the way. */
export function deliverEvent(cpu: Cpu, event: Event): void {
  try {
    if (cpu.isReal) deliverReal(cpu, event);
    else deliverProtected(cpu, event);
  } catch (error) {
    if (error === cpu.exception && !event.software) cpu.exception.setExternal();
    throw error;
  }
  cpu.updateContext();
}

/** SDM vol. 3B 20.1.4: the vector table, 16-bit frame, no error code. */
function deliverReal(cpu: Cpu, event: Event): void {
  const { state } = cpu;
  if (event.vector * 4 + 3 > state.system(SYSTEM.IDT_LIMIT)) cpu.raiseGeneralProtection(gateError(event));
  const entry = cpu.memory.read((state.system(SYSTEM.IDT_BASE) + event.vector * 4) >>> 0, 4, ACCESS.IMPLICIT);
  pushReal(cpu, [state.eflags, state.selector(CS), event.returnEip]);
  state.systemFlags &= ~(EFLAGS.IF | EFLAGS.TF | EFLAGS.AC | EFLAGS.RF);
  loadReal(cpu, CS, entry >>> 16);
  state.eip = entry & 0xffff;
}

/** Pushes words on the present stack with the rights of the running code; ESP moves when all of them fit. */
export function pushReal(cpu: Cpu, words: readonly number[]): void {
  const stack = new StackWalk(cpu);
  for (const word of words) stack.push(2, word & 0xffff);
  stack.commit();
}

function deliverProtected(cpu: Cpu, event: Event): void {
  const gate = readGate(cpu, event);
  if (gate.type === SYSTEM_TYPE.TASK_GATE) {
    if (!gate.present) cpu.raise(VECTOR.NP, gateError(event));
    cpu.state.eip = event.returnEip;
    taskSwitch(cpu, gate.gateSelector, {
      source: 'call',
      errorCode: event.errorCode,
      external: !event.software,
    });
    return;
  }
  if (!gate.present) cpu.raise(VECTOR.NP, gateError(event));
  enterGate(cpu, event, gate);
}

function readGate(cpu: Cpu, event: Event): Descriptor {
  const { state } = cpu;
  const offset = event.vector * 8;
  if (offset + 7 > state.system(SYSTEM.IDT_LIMIT)) cpu.raiseGeneralProtection(gateError(event));
  const address = (state.system(SYSTEM.IDT_BASE) + offset) >>> 0;
  const lo = cpu.memory.read(address, 4, ACCESS.IMPLICIT);
  const hi = cpu.memory.read((address + 4) >>> 0, 4, ACCESS.IMPLICIT);
  const gate = new Descriptor(0, lo, hi, address);
  const known =
    !gate.isSegment &&
    (gate.type === SYSTEM_TYPE.TASK_GATE ||
      gate.type === SYSTEM_TYPE.INTERRUPT_GATE_16 ||
      gate.type === SYSTEM_TYPE.TRAP_GATE_16 ||
      gate.type === SYSTEM_TYPE.INTERRUPT_GATE_32 ||
      gate.type === SYSTEM_TYPE.TRAP_GATE_32);
  if (!known || (event.software && gate.dpl < cpu.cpl)) cpu.raiseGeneralProtection(gateError(event));
  return gate;
}

/** SDM vol. 3A 6.12.1, figure 6-4; vol. 2A "INT n" for the checks in their order. */
function enterGate(cpu: Cpu, event: Event, gate: Descriptor): void {
  const selector = gate.gateSelector;
  if (isNullSelector(selector)) cpu.raiseGeneralProtection();
  const code = readHandlerSegment(cpu, selector);
  const fromV86 = cpu.isVirtual8086;
  const inner = !code.isConforming && code.dpl < cpu.cpl;
  if (fromV86 && (!inner || code.dpl !== 0)) cpu.raiseGeneralProtection(selectorError(selector));
  const wide = gate.type === SYSTEM_TYPE.INTERRUPT_GATE_32 || gate.type === SYSTEM_TYPE.TRAP_GATE_32;
  const offset = wide ? gate.gateOffset32 : gate.gateOffset16;
  const size = wide ? 4 : 2;
  const { state } = cpu;
  const frame = [state.eflags, state.selector(CS), event.returnEip];
  if (event.errorCode >= 0) frame.push(event.errorCode);
  const cpl = inner ? code.dpl : cpu.cpl;
  const attributes = inner
    ? enterInner(cpu, size, frame, code, offset, fromV86)
    : pushSame(cpu, size, frame, code, offset);
  const interrupt =
    gate.type === SYSTEM_TYPE.INTERRUPT_GATE_16 || gate.type === SYSTEM_TYPE.INTERRUPT_GATE_32;
  state.systemFlags &= ~(EFLAGS.TF | EFLAGS.NT | EFLAGS.RF | EFLAGS.VM | (interrupt ? EFLAGS.IF : 0));
  cpu.cpl = cpl;
  state.setSegment(CS, (selector & ~3) | cpl, code.base, code.limit, attributes);
  state.eip = offset;
}

function readHandlerSegment(cpu: Cpu, selector: number): Descriptor {
  const code = readDescriptor(cpu, selector);
  if (!code.isCode || code.dpl > cpu.cpl) cpu.raiseGeneralProtection(selectorError(selector));
  if (!code.present) cpu.raise(VECTOR.NP, selectorError(selector));
  return code;
}

/** Between the checks of the stack and the first push. Returns the attributes for CS. */
function checkTarget(cpu: Cpu, code: Descriptor, offset: number): number {
  if (offset > code.limit) cpu.raiseGeneralProtection();
  // Writing the accessed bit may fault: before the first change.
  return markDescriptorAccessed(cpu, code);
}

/** Same privilege: the frame goes on the present stack. As `checkTarget`, so does `enterInner`, it returns CS's attributes. */
function pushSame(cpu: Cpu, size: 2 | 4, frame: readonly number[], code: Descriptor, offset: number): number {
  const stack = new StackWalk(cpu);
  stack.checkRoom(size, frame.length);
  const attributes = checkTarget(cpu, code, offset);
  for (const value of frame) stack.push(size, value);
  stack.commit();
  return attributes;
}

/** To an inner level: a new stack from the TSS, then the old one's place, and from virtual-8086 mode the data segments. */
function enterInner(
  cpu: Cpu,
  size: 2 | 4,
  frame: readonly number[],
  code: Descriptor,
  offset: number,
  fromV86: boolean,
): number {
  const { state } = cpu;
  const { selector, pointer } = innerStack(cpu, code.dpl);
  const stack = checkStackSegment(cpu, selector, code.dpl, VECTOR.TS);
  const saved = [state.selector(SS), state.gpr(RSP), ...frame];
  const whole = fromV86
    ? [state.selector(GS), state.selector(FS), state.selector(DS), state.selector(ES), ...saved]
    : saved;
  const inner = new InnerFrame(cpu, stack, pointer, size, whole.length);
  const attributes = checkTarget(cpu, code, offset);
  inner.write(whole);
  fillSegment(cpu, SS, stack);
  if (fromV86) for (const segment of [GS, FS, DS, ES]) unusable(cpu, segment, 0);
  state.setGpr(RSP, inner.stackPointer);
  return attributes;
}

/** CR4.VME: the TSS's bitmap sends this software interrupt to the 8086 program's own handler (SDM vol. 3B 20.3.3). */
export function redirectsToV86(cpu: Cpu, vector: number): boolean {
  const { state } = cpu;
  if ((state.cr4 & CR4.VME) === 0) return false;
  const base = state.segmentBase(TR);
  const map = cpu.memory.read((base + 0x66) >>> 0, 2, ACCESS.IMPLICIT);
  const place = map - 32 + (vector >> 3);
  if (place < 0 || place > state.segmentLimit(TR)) return false;
  return ((cpu.memory.read((base + place) >>> 0, 1, ACCESS.IMPLICIT) >> (vector & 7)) & 1) === 0;
}
