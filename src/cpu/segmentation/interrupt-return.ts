import { VECTOR } from '../../arch/exceptions.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { CR4, EFLAGS, EFLAGS_DEFINED } from '../../arch/registers.ts';
import { RSP } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import { CS, DS, ES, FS, GS, SS, TR } from '../layout.ts';
import { StackWalk } from '../system/stack-pointer.ts';
import { selectorError } from './descriptor.ts';
import { checkReturnCode, returnOuter } from './far.ts';
import { fillSegment, loadReal, V86_ATTRIBUTES } from './load.ts';
import { taskSwitch } from './task-switch.ts';

const ALWAYS =
  EFLAGS.CF | EFLAGS.PF | EFLAGS.AF | EFLAGS.ZF | EFLAGS.SF | EFLAGS.TF | EFLAGS.DF | EFLAGS.OF | EFLAGS.NT;

/** Flags that a 32-bit IRET may change beyond what the 16-bit one does. */
const WIDE = EFLAGS.RF | EFLAGS.AC | EFLAGS.ID;

/** Flags that may let an event in before the next instruction once they are set. */
const OPENING = EFLAGS.IF | EFLAGS.TF | EFLAGS.VIF | EFLAGS.VIP;

/** Replaces the bits of EFLAGS in `mask` by those of `value`. */
export function mergeFlags(cpu: Cpu, value: number, mask: number): void {
  const { state } = cpu;
  const kept = cpu.hasFeature('cpuid') ? mask : mask & ~EFLAGS.ID;
  const before = state.eflags;
  const after = ((before & ~kept) | (value & kept) | EFLAGS.ONE) >>> 0;
  state.eflags = after;
  if ((after & EFLAGS.RF) !== 0) cpu.resumeFlagUntil = cpu.retired - cpu.instruction.remaining + 1;
  if ((after & ~before & OPENING) !== 0 || (after & EFLAGS.TF) !== 0) cpu.endSlice();
}

/** IRET (SDM vol. 2A "IRET/IRETD"). Its execution opens NMIs, even if it faults (SDM vol. 3A 6.7.1). */
export function interruptReturn(cpu: Cpu, size: 2 | 4): void {
  cpu.nmiBlocked = false;
  if (cpu.nmiPending) cpu.endSlice();
  if (cpu.isReal) returnReal(cpu, size);
  else if (cpu.isVirtual8086) returnInsideV86(cpu, size);
  else if ((cpu.state.systemFlags & EFLAGS.NT) !== 0) returnFromTask(cpu);
  else returnProtected(cpu, size);
  cpu.updateContext();
}

function popFrame(stack: StackWalk, size: 2 | 4): { eip: number; selector: number; flags: number } {
  return { eip: stack.pop(size), selector: stack.pop(size) & 0xffff, flags: stack.pop(size) };
}

function returnReal(cpu: Cpu, size: 2 | 4): void {
  const stack = new StackWalk(cpu);
  const frame = popFrame(stack, size);
  if (frame.eip > cpu.state.segmentLimit(CS)) cpu.raiseGeneralProtection();
  stack.commit();
  loadReal(cpu, CS, frame.selector);
  cpu.nextEip = frame.eip;
  const mask = ALWAYS | EFLAGS.IF | EFLAGS.IOPL | (size === 4 ? WIDE : 0);
  mergeFlags(cpu, frame.flags, mask);
}

/** SDM vol. 3B 20.2.6, 20.3.2: IOPL 3, or VME with the virtual interrupt flag. */
function returnInsideV86(cpu: Cpu, size: 2 | 4): void {
  const { state } = cpu;
  const iopl3 = (state.systemFlags & EFLAGS.IOPL) === EFLAGS.IOPL;
  const vme = (state.cr4 & CR4.VME) !== 0 && size === 2;
  if (!iopl3 && !vme) cpu.raiseGeneralProtection();
  const stack = new StackWalk(cpu);
  const frame = popFrame(stack, size);
  if (frame.eip > state.segmentLimit(CS)) cpu.raiseGeneralProtection();
  if (iopl3) {
    finishV86(cpu, stack, frame.eip, frame.selector);
    mergeFlags(cpu, frame.flags, ALWAYS | EFLAGS.IF | (size === 4 ? WIDE : 0));
    return;
  }
  const wantsInterrupts = (frame.flags & EFLAGS.IF) !== 0;
  if ((wantsInterrupts && (state.systemFlags & EFLAGS.VIP) !== 0) || (frame.flags & EFLAGS.TF) !== 0) {
    cpu.raiseGeneralProtection();
  }
  finishV86(cpu, stack, frame.eip, frame.selector);
  mergeFlags(cpu, (frame.flags & 0xffff) | (wantsInterrupts ? EFLAGS.VIF : 0), ALWAYS | EFLAGS.VIF);
}

function finishV86(cpu: Cpu, stack: StackWalk, eip: number, selector: number): void {
  stack.commit();
  loadReal(cpu, CS, selector);
  cpu.nextEip = eip;
}

/** NT: back to the task that the TSS links to. */
function returnFromTask(cpu: Cpu): void {
  // A TSS too short for its link (SDM vol. 3A table 6-6).
  if (cpu.state.segmentLimit(TR) < 1) cpu.raise(VECTOR.TS, selectorError(cpu.state.selector(TR)));
  const link = cpu.memory.read(cpu.state.segmentBase(TR), 2, ACCESS.IMPLICIT);
  cpu.state.eip = cpu.nextEip;
  taskSwitch(cpu, link, { source: 'iret', errorCode: -1, external: false });
  cpu.nextEip = cpu.state.eip;
}

function returnProtected(cpu: Cpu, size: 2 | 4): void {
  const stack = new StackWalk(cpu);
  const { eip, selector, flags } = popFrame(stack, size);
  if (size === 4 && (flags & EFLAGS.VM) !== 0 && cpu.cpl === 0) {
    returnToV86(cpu, stack, eip, selector, flags);
    return;
  }
  const code = checkReturnCode(cpu, selector);
  const level = selector & 3;
  const cpl = cpu.cpl;
  if (level === cpl) {
    if (eip > code.limit) cpu.raiseGeneralProtection();
    fillSegment(cpu, CS, code);
    cpu.nextEip = eip;
    stack.commit();
  } else {
    const pointer = stack.pop(size);
    const stackSelector = stack.pop(size) & 0xffff;
    returnOuter(cpu, code, eip, level, stackSelector, pointer, size, 0);
  }
  mergeFlags(cpu, flags, returnMask(cpu, cpl, size));
}

/** What IRET may change depends on the privilege that executed it. */
function returnMask(cpu: Cpu, cpl: number, size: 2 | 4): number {
  const iopl = (cpu.state.systemFlags & EFLAGS.IOPL) >> 12;
  let mask = ALWAYS | (size === 4 ? WIDE : 0);
  if (cpl <= iopl) mask |= EFLAGS.IF;
  if (cpl === 0) mask |= EFLAGS.IOPL | (size === 4 ? EFLAGS.VIF | EFLAGS.VIP : 0);
  return mask;
}

function returnToV86(cpu: Cpu, stack: StackWalk, eip: number, selector: number, flags: number): void {
  const { state } = cpu;
  const pointer = stack.pop(4);
  const selectors: [number, number][] = [
    [SS, 0],
    [ES, 0],
    [DS, 0],
    [FS, 0],
    [GS, 0],
  ];
  for (const entry of selectors) entry[1] = stack.pop(4) & 0xffff;
  if (eip > 0xffff) cpu.raiseGeneralProtection();
  mergeFlags(cpu, flags, EFLAGS_DEFINED);
  selectors.push([CS, selector]);
  for (const [segment, value] of selectors)
    state.setSegment(segment, value, value << 4, 0xffff, V86_ATTRIBUTES);
  state.setGpr(RSP, pointer);
  cpu.cpl = 3;
  cpu.nextEip = eip;
}
