import { VECTOR } from '../arch/exceptions.ts';
import { CR4, DR6, EFLAGS } from '../arch/registers.ts';
import { EVENT_TYPE, type EventType } from '../arch/vmcb.ts';
import type { Cpu } from './cpu.ts';
import { noteDebugConditions } from './events/breakpoints.ts';
import { deliverInterrupt, raiseException } from './events/exceptions.ts';
import type { InterpreterExports } from './interpreter/core.ts';
import { BUDGET, SYSTEM } from './layout.ts';
import { initialize } from './reset.ts';

/** Why `run` returned: its time is up, nothing to do until an interrupt, triple fault, or asked to stop. */
export type StopReason = 'limit' | 'halted' | 'shutdown' | 'stopped';

/** Instructions between two looks at events that nobody announced. */
const LONGEST_SLICE = 1 << 30;

/** Runs slices of instructions; between them, events are looked at. */
export function runSlices(cpu: Cpu, until: number, interpreter: InterpreterExports): StopReason {
  const { state } = cpu;
  cpu.stopRequested = false;
  while (cpu.now < until) {
    if (cpu.shutdown) return 'shutdown';
    takeEvents(cpu);
    if (cpu.shutdown) return 'shutdown';
    if (cpu.stopRequested) return 'stopped';
    if (cpu.halted) return 'halted';
    const stepping = needsStepping(cpu);
    const trap = (state.systemFlags & EFLAGS.TF) !== 0;
    const { recording, stepsBranches } = cpu.branches;
    const traced = recording || (trap && stepsBranches);
    if (traced) cpu.branches.begin();
    const length = stepping ? 1 : Math.min(Math.ceil(until - cpu.now), LONGEST_SLICE);
    cpu.delivered = false;
    cpu.sliceEndRequested = false;
    cpu.sliceEnd += length;
    state.i32[BUDGET >> 2] = length;
    interpreter.run();
    // What was not used is not retired.
    cpu.sliceEnd = cpu.retired;
    state.i32[BUDGET >> 2] = 0;
    if (cpu.resumeFlagUntil < cpu.retired) state.systemFlags &= ~EFLAGS.RF;
    const branched = traced && cpu.branches.end();
    if (trap && !cpu.delivered && (branched || !stepsBranches)) cpu.pendingDebug |= DR6.BS;
    if (cpu.stopRequested) return 'stopped';
  }
  return cpu.shutdown ? 'shutdown' : 'limit';
}

/** One instruction at a time: single-stepping, breakpoints, recorded branches, an event that only a shadow can hold back. */
function needsStepping(cpu: Cpu): boolean {
  return (
    (cpu.state.systemFlags & EFLAGS.TF) !== 0 ||
    cpu.breakpointsEnabled ||
    cpu.branches.recording ||
    (cpu.svm.gif && interruptIsDue(cpu))
  );
}

/** Whatever opens IF or GIF ends the slice, so that interrupts behind a closed one need no stepping. */
function interruptIsDue(cpu: Cpu): boolean {
  const { svm, environment } = cpu;
  return (
    (environment.interrupts.pending && svm.physicalInterruptsOpen(false)) ||
    (cpu.nmiPending && svm.nmiOpen(false)) ||
    svm.virtualInterruptOpen
  );
}

/** The instruction behind STI or MOV SS: interrupts wait (SDM vol. 3A 6.8.3). */
export const inShadow = (cpu: Cpu): boolean => cpu.shadowAt === cpu.retired;

/** DR6.B0 to B3 */
const BREAKPOINT_HITS = 0xf;

/** What happens between two instructions, in the order of SDM vol. 3A table 6-2. */
function takeEvents(cpu: Cpu): void {
  // Nothing but GIF holds up INIT (APM vol. 2 table 15-10).
  if (cpu.initPending && cpu.svm.gif) takeInit(cpu);
  const shadow = inShadow(cpu);
  // Without GIF breakpoints do not count, while TF does (APM vol. 2 table 15-10).
  if (!cpu.svm.gif) cpu.pendingDebug &= ~BREAKPOINT_HITS;
  if (cpu.pendingDebug !== 0 && !(shadow && cpu.shadowFromStack)) takeDebugTrap(cpu);
  if (!cpu.svm.gif) return;
  if (cpu.nmiPending && cpu.svm.nmiOpen(shadow && cpu.shadowFromStack)) takeNmi(cpu);
  else takeInterrupt(cpu, shadow);
  if (!(shadow && cpu.shadowFromStack)) takeInstructionBreakpoint(cpu);
  refuseVirtualInterrupt(cpu);
}

/** Error code of #SX for an INIT that VM_CR.R_INIT redirects (APM vol. 2 8.2.22, 15.28). */
const REDIRECTED_INIT = 1;

/** INIT (SDM vol. 3A 9.1), which the host of a guest may have for itself; what it intercepts stays pending. */
function takeInit(cpu: Cpu): void {
  if (cpu.svm.interceptInit()) return;
  cpu.initPending = false;
  cpu.halted = false;
  if (cpu.svm.redirectsInit) raiseException(cpu, VECTOR.SX, REDIRECTED_INIT, cpu.state.eip);
  else {
    initialize(cpu);
    cpu.environment.initialized?.();
  }
}

function takeDebugTrap(cpu: Cpu): void {
  const conditions = cpu.pendingDebug;
  cpu.pendingDebug = 0;
  cpu.halted = false;
  noteDebugConditions(cpu, conditions);
  raiseException(cpu, VECTOR.DB, -1, cpu.state.eip);
}

function takeNmi(cpu: Cpu): void {
  cpu.nmiPending = false;
  if (cpu.svm.interceptNmi()) return;
  cpu.halted = false;
  cpu.nmiBlocked = true;
  interrupt(cpu, EVENT_TYPE.NMI, VECTOR.NMI);
}

function interrupt(cpu: Cpu, type: EventType, vector: number): void {
  deliverInterrupt(cpu, { type, vector, errorCode: -1, software: false, returnEip: cpu.state.eip });
}

function takeInterrupt(cpu: Cpu, shadow: boolean): void {
  const { interrupts } = cpu.environment;
  if (interrupts.pending && cpu.svm.physicalInterruptsOpen(shadow)) {
    if (cpu.svm.interceptInterrupt()) return;
    cpu.halted = false;
    interrupt(cpu, EVENT_TYPE.INTR, interrupts.acknowledge());
    return;
  }
  cpu.svm.takeVirtualInterrupt(shadow);
}

/**
 * VIF and VIP set before an instruction that VME or PVI is in force for: #GP, so that the monitor sees the interrupt that
 * waits (SDM vol. 3B 20.3.2, 20.4). IRET and task switches can lead there.
 */
function refuseVirtualInterrupt(cpu: Cpu): void {
  const { state } = cpu;
  const both = EFLAGS.VIF | EFLAGS.VIP;
  if ((state.systemFlags & both) !== both || cpu.cpl !== 3) return;
  if ((state.systemFlags & EFLAGS.IOPL) === EFLAGS.IOPL) return;
  const extension = cpu.isVirtual8086 ? CR4.VME : CR4.PVI;
  if ((state.cr4 & extension) !== 0) raiseException(cpu, VECTOR.GP, 0, state.eip);
}

/** SDM vol. 3B 17.3.1.1: a fault before the instruction, unless RF holds it back. */
function takeInstructionBreakpoint(cpu: Cpu): void {
  const { state } = cpu;
  if (!cpu.breakpointsEnabled || cpu.halted) return;
  if ((state.systemFlags & EFLAGS.RF) !== 0) return;
  const linear = (state.segmentBase(1) + state.eip) >>> 0;
  const dr7 = state.system(SYSTEM.DR7);
  let hit = 0;
  for (let n = 0; n < 4; n++) {
    const enabled = (dr7 >> (n * 2)) & 3;
    const kind = (dr7 >> (16 + n * 4)) & 3;
    if (enabled !== 0 && kind === 0 && state.system(SYSTEM.DR0 + n * 8) === linear) hit |= 1 << n;
  }
  if (hit === 0) return;
  noteDebugConditions(cpu, hit);
  raiseException(cpu, VECTOR.DB, -1, state.eip);
}
