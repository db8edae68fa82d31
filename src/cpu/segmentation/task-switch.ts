import { SELECTOR, SYSTEM_TYPE } from '../../arch/descriptors.ts';
import { VECTOR } from '../../arch/exceptions.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { CR0, EFLAGS, EFLAGS_DEFINED } from '../../arch/registers.ts';
import type { Cpu } from '../cpu.ts';
import { NESTED_PAGE_FAULT } from '../guest-exception.ts';
import { CS, DS, ES, FS, GS, LDTR, SS, SYSTEM, TR } from '../layout.ts';
import { StackWalk } from '../system/stack-pointer.ts';
import { type Descriptor, isNullSelector, readDescriptor, selectorError } from './descriptor.ts';
import {
  checkStackSegment,
  fillSegment,
  loadDataSegment,
  loadLdt,
  unusable,
  V86_ATTRIBUTES,
} from './load.ts';
import { loadTaskCr3, OldTask } from './task-undo.ts';

export interface TaskSwitch {
  readonly source: 'jump' | 'call' | 'iret';
  /** Pushed on the new task's stack; -1 for none. */
  readonly errorCode: number;
  /** Caused by an exception or interrupt: EXT in error codes. */
  readonly external: boolean;
}

/** Where things lie in a TSS (SDM vol. 3A 7.2.1, 7.6). */
// biome-ignore format: table
const TSS_32 = { size: 4, cr3: 0x1c, eip: 0x20, flags: 0x24, registers: 0x28, segments: 0x48, ldt: 0x60, trap: 0x64, limit: 0x67, count: 6 } as const;
// biome-ignore format: table
const TSS_16 = { size: 2, cr3: -1, eip: 0x0e, flags: 0x10, registers: 0x12, segments: 0x22, ldt: 0x2a, trap: -1, limit: 0x2b, count: 4 } as const;
type Layout = typeof TSS_32 | typeof TSS_16;

const BUSY = 0x200;
/** DR7.L0 to L3 and LE. */
const LOCAL_BREAKPOINTS = 0x155;
const layoutOf = (type: number): Layout => ((type & 8) !== 0 ? TSS_32 : TSS_16);
/** Segment registers in the order of a TSS. */
const SEGMENT_ORDER = [ES, CS, SS, DS, FS, GS] as const;

interface TaskState {
  readonly eip: number;
  readonly flags: number;
  readonly registers: readonly number[];
  readonly selectors: readonly number[];
  readonly ldt: number;
  readonly cr3: number;
  readonly trap: boolean;
}

/**
 * A hardware task switch (SDM vol. 3A 7.3). `cpu.state.eip` is what the old task goes on with; afterwards it is the new
 * task's. Before the commit point faults belong to the old task, behind it to the new one.
 */
export function taskSwitch(cpu: Cpu, selector: number, request: TaskSwitch): void {
  try {
    switchTo(cpu, selector, request);
  } catch (error) {
    if (error === cpu.exception && request.external) cpu.exception.setExternal();
    throw error;
  }
}

function switchTo(cpu: Cpu, selector: number, request: TaskSwitch): void {
  const target = checkTarget(cpu, selector, request);
  cpu.svm.interceptTaskSwitch(selector, request);
  const layout = layoutOf(target.type);
  const next = readTask(cpu, target.base, layout);
  const leaves = request.source === 'call' ? undefined : oldDescriptor(cpu);
  checkWritable(cpu, target, leaves, request);
  const old = new OldTask(cpu);
  saveOldTask(cpu, request);
  if (leaves !== undefined) setBusy(cpu, leaves, false);
  markTarget(cpu, target, request);
  const flags = request.source === 'call' ? next.flags | EFLAGS.NT : next.flags;
  // From here on everything happens in the new task.
  try {
    enterTask(cpu, selector, target, next, flags, request);
  } catch (error) {
    if (error === cpu.exception) {
      if (cpu.exception.vector === NESTED_PAGE_FAULT) {
        undo(cpu, old, target, leaves, request);
      } else {
        cpu.exception.setTaskEip(next.eip);
        cpu.updateContext();
      }
    }
    throw error;
  }
}

/** Back before the commit point: the busy bits say where a switch that begins anew may go. */
function undo(
  cpu: Cpu,
  old: OldTask,
  target: Descriptor,
  leaves: Descriptor | undefined,
  { source }: TaskSwitch,
): void {
  old.restore(cpu);
  if (source !== 'iret') setBusy(cpu, target, false);
  if (leaves !== undefined) setBusy(cpu, leaves, true);
}

function enterTask(
  cpu: Cpu,
  selector: number,
  target: Descriptor,
  next: TaskState,
  flags: number,
  request: TaskSwitch,
): void {
  const layout = layoutOf(target.type);
  cpu.state.setSegment(TR, selector, target.base, target.limit, target.attributes | 2);
  cpu.state.setSystem(SYSTEM.CR0, (cpu.state.cr0 | CR0.TS) >>> 0);
  loadRegisters(cpu, next, flags);
  if (layout.cr3 >= 0 && (cpu.state.cr0 & CR0.PG) !== 0) switchTables(cpu, next.cr3);
  loadSegments(cpu, next, flags);
  finish(cpu, next, request, layout);
}

/** The same CR3 loads no PDPTEs and drops no translations (SDM vol. 3A 4.4.1, 4.10.4.1). */
function switchTables(cpu: Cpu, cr3: number): void {
  if (cr3 === cpu.state.cr3) return;
  loadTaskCr3(cpu, cr3);
}

function checkTarget(cpu: Cpu, selector: number, request: TaskSwitch): Descriptor {
  const vector = request.source === 'iret' ? VECTOR.TS : VECTOR.GP;
  const error = selectorError(selector);
  if (isNullSelector(selector) || (selector & SELECTOR.TI) !== 0) cpu.raise(vector, error);
  const target = readDescriptor(cpu, selector, vector);
  const wanted =
    request.source === 'iret'
      ? [SYSTEM_TYPE.TSS_16_BUSY, SYSTEM_TYPE.TSS_32_BUSY]
      : [SYSTEM_TYPE.TSS_16_AVAILABLE, SYSTEM_TYPE.TSS_32_AVAILABLE];
  if (target.isSegment || !(wanted as number[]).includes(target.type)) cpu.raise(vector, error);
  if (!target.present) cpu.raise(VECTOR.NP, error);
  if (target.limit < layoutOf(target.type).limit) cpu.raise(VECTOR.TS, error);
  return target;
}

/** Reads the whole incoming state before anything changes, so that a page fault leaves the old task as it is. */
function readTask(cpu: Cpu, base: number, layout: Layout): TaskState {
  const { size } = layout;
  const read = (offset: number, width: 2 | 4): number =>
    cpu.memory.read((base + offset) >>> 0, width, ACCESS.IMPLICIT);
  const registers = Array.from({ length: 8 }, (_, n) => {
    const value = read(layout.registers + n * size, size);
    // A 16-bit TSS leaves upper halves undefined; processors set them.
    return size === 2 ? (value | 0xffff_0000) >>> 0 : value;
  });
  return {
    eip: read(layout.eip, size),
    flags: read(layout.flags, size),
    registers,
    selectors: Array.from({ length: layout.count }, (_, n) => read(layout.segments + n * size, 2)),
    ldt: read(layout.ldt, 2),
    cr3: layout.cr3 >= 0 ? read(layout.cr3, 4) : 0,
    trap: layout.trap >= 0 && (read(layout.trap, 2) & 1) !== 0,
  };
}

/** The descriptor of the task that JMP or IRET leaves, which is no longer busy then. */
const oldDescriptor = (cpu: Cpu): Descriptor => readDescriptor(cpu, cpu.state.selector(TR), VECTOR.TS);

/**
 * Everything that is about to be written can be (SDM vol. 3A 7.3, fifth step), so that a fault leaves the old task as it
 * is: its TSS, whose limit LTR did not look at, the link in the new one, and the busy bits (table 6-6).
 */
function checkWritable(
  cpu: Cpu,
  target: Descriptor,
  leaves: Descriptor | undefined,
  { source }: TaskSwitch,
): void {
  const { state, memory } = cpu;
  const layout = layoutOf(state.segmentAttributes(TR));
  const end = layout.segments + layout.count * layout.size;
  if (state.segmentLimit(TR) < end - 1) cpu.raise(VECTOR.TS, selectorError(state.selector(TR)));
  const write = ACCESS.IMPLICIT | ACCESS.WRITE;
  memory.check((state.segmentBase(TR) + layout.eip) >>> 0, end - layout.eip, write);
  if (source === 'call') memory.check(target.base, 2, write);
  if (source !== 'iret') memory.check((target.address + 4) >>> 0, 4, write);
  if (leaves !== undefined) memory.check((leaves.address + 4) >>> 0, 4, write);
}

function saveOldTask(cpu: Cpu, request: TaskSwitch): void {
  const { state } = cpu;
  const layout = layoutOf(state.segmentAttributes(TR));
  const base = state.segmentBase(TR);
  const write = (offset: number, width: 2 | 4, value: number): void =>
    cpu.memory.write((base + offset) >>> 0, width, value, ACCESS.IMPLICIT);
  // An instruction that switches tasks is complete, and RF was its own (SDM vol. 3B 17.3.1.1).
  const kept = request.external ? state.eflags : state.eflags & ~EFLAGS.RF;
  const flags = request.source === 'iret' ? kept & ~EFLAGS.NT : kept;
  write(layout.eip, layout.size, state.eip);
  write(layout.flags, layout.size, flags);
  for (let n = 0; n < 8; n++) write(layout.registers + n * layout.size, layout.size, state.gpr(n));
  for (let n = 0; n < layout.count; n++) {
    write(layout.segments + n * layout.size, 2, state.selector(SEGMENT_ORDER[n] as number));
  }
}

function markTarget(cpu: Cpu, target: Descriptor, request: TaskSwitch): void {
  if (request.source === 'call') {
    cpu.memory.write(target.base, 2, cpu.state.selector(TR), ACCESS.IMPLICIT);
  }
  if (request.source !== 'iret') setBusy(cpu, target, true);
}

function setBusy(cpu: Cpu, descriptor: Descriptor, busy: boolean): void {
  const hi = busy ? descriptor.hi | BUSY : descriptor.hi & ~BUSY;
  cpu.memory.write((descriptor.address + 4) >>> 0, 4, hi >>> 0, ACCESS.IMPLICIT);
}

/** EFLAGS.ID is a flag only where CPUID exists. */
const flagsAllowed = (cpu: Cpu): number =>
  cpu.hasFeature('cpuid') ? EFLAGS_DEFINED : EFLAGS_DEFINED & ~EFLAGS.ID;

function loadRegisters(cpu: Cpu, next: TaskState, flags: number): void {
  const { state } = cpu;
  state.eip = next.eip;
  state.eflags = ((flags & flagsAllowed(cpu)) | EFLAGS.ONE) >>> 0;
  // Already a fault with LDTR is raised in virtual-8086 mode, which is always at CPL 3.
  if ((flags & EFLAGS.VM) !== 0) cpu.cpl = 3;
  // The new task may have interrupts open.
  cpu.endSlice();
  // RF holds back a breakpoint on the new task's first instruction (SDM vol. 3B 17.3.1.1).
  if ((flags & EFLAGS.RF) !== 0) cpu.resumeFlagUntil = cpu.completed + (cpu.chargedAhead > 0 ? 1 : 0);
  for (const [n, value] of next.registers.entries()) state.setGpr(n, value);
  // Segment registers hold the selectors even if loading one of them faults.
  for (const [n, segment] of SEGMENT_ORDER.entries()) unusable(cpu, segment, next.selectors[n] ?? 0);
  unusable(cpu, LDTR, next.ldt);
  // DR7's local enables do not outlive the task (SDM vol. 3B 17.2.4).
  const dr7 = state.system(SYSTEM.DR7);
  if ((dr7 & LOCAL_BREAKPOINTS) === 0) return;
  state.setSystem(SYSTEM.DR7, dr7 & ~LOCAL_BREAKPOINTS);
  cpu.watchDataBreakpoints();
}

function loadSegments(cpu: Cpu, next: TaskState, flags: number): void {
  const { state } = cpu;
  const [es, cs, ss, ds, fs, gs] = SEGMENT_ORDER.map((_, n) => next.selectors[n] ?? 0) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  loadLdt(cpu, next.ldt, VECTOR.TS);
  if ((flags & EFLAGS.VM) !== 0) {
    for (const [n, segment] of SEGMENT_ORDER.entries()) {
      const value = next.selectors[n] ?? 0;
      state.setSegment(segment, value, value << 4, 0xffff, V86_ATTRIBUTES);
    }
    return;
  }
  cpu.cpl = cs & SELECTOR.RPL;
  loadCode(cpu, cs);
  fillSegment(cpu, SS, checkStackSegment(cpu, ss, cpu.cpl, VECTOR.TS));
  for (const [segment, value] of [
    [ES, es],
    [DS, ds],
    [FS, fs],
    [GS, gs],
  ] as const) {
    loadDataSegment(cpu, segment, value, VECTOR.TS);
  }
}

function loadCode(cpu: Cpu, selector: number): void {
  const error = selectorError(selector);
  if (isNullSelector(selector)) cpu.raise(VECTOR.TS, error);
  const code = readDescriptor(cpu, selector, VECTOR.TS);
  const rpl = selector & SELECTOR.RPL;
  if (!code.isCode || (code.isConforming ? code.dpl > rpl : code.dpl !== rpl)) cpu.raise(VECTOR.TS, error);
  if (!code.present) cpu.raise(VECTOR.NP, error);
  fillSegment(cpu, CS, code);
}

function finish(cpu: Cpu, next: TaskState, request: TaskSwitch, layout: Layout): void {
  const { state } = cpu;
  cpu.updateContext();
  if (request.errorCode >= 0) {
    const stack = new StackWalk(cpu);
    stack.push(layout.size, request.errorCode);
    stack.commit();
  }
  if (next.eip > state.segmentLimit(CS)) cpu.raiseGeneralProtection();
  if (next.trap) {
    cpu.pendingDebug |= 0x8000;
    cpu.endSlice();
  }
}
