import { SYSTEM_TYPE } from '../../arch/descriptors.ts';
import { VECTOR } from '../../arch/exceptions.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { CR4, EFLAGS } from '../../arch/registers.ts';
import type { EventType } from '../../arch/vmcb.ts';
import { RSP } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import { CS, DS, ES, FS, GS, SS, SYSTEM, TR } from '../layout.ts';
import { segmentLinear } from '../segmentation/access.ts';
import {
  Descriptor,
  isNullSelector,
  markDescriptorAccessed,
  readDescriptor,
  selectorError,
} from '../segmentation/descriptor.ts';
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
  if (offset > code.limit) cpu.raiseGeneralProtection();
  const size = wide ? 4 : 2;
  const { state } = cpu;
  const frame = [state.eflags, state.selector(CS), event.returnEip];
  if (event.errorCode >= 0) frame.push(event.errorCode);
  const cpl = inner ? code.dpl : cpu.cpl;
  // Writing the accessed bit may fault: before the first change.
  markDescriptorAccessed(cpu, code);
  if (inner) enterInner(cpu, size, frame, code.dpl, fromV86);
  else pushSame(cpu, size, frame);
  const interrupt =
    gate.type === SYSTEM_TYPE.INTERRUPT_GATE_16 || gate.type === SYSTEM_TYPE.INTERRUPT_GATE_32;
  state.systemFlags &= ~(EFLAGS.TF | EFLAGS.NT | EFLAGS.RF | EFLAGS.VM | (interrupt ? EFLAGS.IF : 0));
  cpu.cpl = cpl;
  fillSegment(cpu, CS, code, (selector & ~3) | cpl);
  state.eip = offset;
}

function readHandlerSegment(cpu: Cpu, selector: number): Descriptor {
  const code = readDescriptor(cpu, selector);
  if (!code.isCode || code.dpl > cpu.cpl) cpu.raiseGeneralProtection(selectorError(selector));
  if (!code.present) cpu.raise(VECTOR.NP, selectorError(selector));
  return code;
}

/** Same privilege: the frame goes on the present stack. */
function pushSame(cpu: Cpu, size: 2 | 4, frame: readonly number[]): void {
  const { state } = cpu;
  const mask = (state.segmentAttributes(SS) & 0x400) !== 0 ? 0xffff_ffff : 0xffff;
  let pointer = (state.gpr(RSP) & mask) >>> 0;
  for (const value of frame) {
    pointer = ((pointer - size) & mask) >>> 0;
    cpu.memory.write(segmentLinear(cpu, SS, pointer, size, true), size, value, cpu.dataAccess);
  }
  state.setGpr(RSP, ((state.gpr(RSP) & ~mask) | pointer) >>> 0);
}

/** To an inner level: a new stack from the TSS, then the old one's place, and from virtual-8086 mode the data segments. */
function enterInner(cpu: Cpu, size: 2 | 4, frame: readonly number[], dpl: number, fromV86: boolean): void {
  const { state } = cpu;
  const { selector, pointer } = innerStack(cpu, dpl);
  const stack = checkStackSegment(cpu, selector, dpl, VECTOR.TS);
  const saved = [state.selector(SS), state.gpr(RSP), ...frame];
  const whole = fromV86
    ? [state.selector(GS), state.selector(FS), state.selector(DS), state.selector(ES), ...saved]
    : saved;
  const mask = (stack.attributes & 0x400) !== 0 ? 0xffff_ffff : 0xffff;
  const top = (pointer & mask) >>> 0;
  const bottom = ((top - size * whole.length) & mask) >>> 0;
  writeInnerFrame(cpu, stack, selectorError(selector), top, mask, size, whole);
  fillSegment(cpu, SS, stack);
  if (fromV86) for (const segment of [GS, FS, DS, ES]) unusable(cpu, segment, 0);
  state.setGpr(RSP, mask === 0xffff ? ((pointer & ~mask) | bottom) >>> 0 : bottom);
}

/** Stack pointer for a privilege level from the TSS (SDM vol. 3A 7.2.1, 7.6). */
export function innerStack(cpu: Cpu, level: number): { selector: number; pointer: number } {
  const { state } = cpu;
  const wide = (state.segmentAttributes(TR) & 0x8) !== 0;
  const offset = wide ? 4 + level * 8 : 2 + level * 4;
  const bytes = wide ? 6 : 4;
  if (offset + bytes - 1 > state.segmentLimit(TR)) cpu.raise(VECTOR.TS, selectorError(state.selector(TR)));
  const address = (state.segmentBase(TR) + offset) >>> 0;
  const pointer = cpu.memory.read(address, wide ? 4 : 2, ACCESS.IMPLICIT);
  const selector = cpu.memory.read((address + (wide ? 4 : 2)) >>> 0, 2, ACCESS.IMPLICIT);
  return { selector, pointer };
}

/** Writes the frame through a stack segment that is not loaded yet. */
export function writeInnerFrame(
  cpu: Cpu,
  stack: Descriptor,
  error: number,
  top: number,
  mask: number,
  size: 2 | 4,
  values: readonly number[],
): void {
  const bytes = size * values.length;
  const bottom = ((top - bytes) & mask) >>> 0;
  const expandDown = (stack.type & 4) !== 0;
  // A stack that begins at the end of the address space has zero for its top.
  const wraps = top !== 0 && bottom >= top;
  const fits = expandDown ? bottom > stack.limit : bottom + bytes - 1 <= stack.limit;
  if (wraps || !fits) cpu.raise(VECTOR.SS, error);
  const access = stack.dpl === 3 ? ACCESS.USER : ACCESS.READ;
  cpu.memory.check((stack.base + bottom) >>> 0, bytes, access | ACCESS.WRITE);
  let pointer = top;
  for (const value of values) {
    pointer = ((pointer - size) & mask) >>> 0;
    cpu.memory.write((stack.base + pointer) >>> 0, size, value, access);
  }
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
