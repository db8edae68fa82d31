import { cpuid } from '../../arch/cpuid.ts';
import { VECTOR } from '../../arch/exceptions.ts';
import { MSR } from '../../arch/msrs.ts';
import { CR4, EFLAGS } from '../../arch/registers.ts';
import { hasPerformanceCounters } from '../../arch/writable-bits.ts';
import { RAX, RBX, RCX, RDX } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { checkWrite, readSegment, writeSegment } from '../segmentation/access.ts';
import { monitor, monitorWait } from './monitor.ts';
import { readG, readRm, writeRm } from './operands.ts';
import type { Operation } from './operations.ts';

/** BOUND: index against a pair of signed bounds (SDM vol. 2A). */
function checkBounds(cpu: Cpu, instruction: Instruction): void {
  const { segment, effectiveAddress, operandSize: size } = instruction;
  const signed = (value: number): number => (size === 2 ? (value << 16) >> 16 : value | 0);
  const second = ((effectiveAddress + size) & instruction.addressMask) >>> 0;
  const lower = signed(readSegment(cpu, segment, effectiveAddress, size));
  const upper = signed(readSegment(cpu, segment, second, size));
  const index = signed(readG(cpu, instruction));
  if (index < lower || index > upper) cpu.raise(VECTOR.BR);
}

/** CMPXCHG8B: the destination is written whether it was equal or not (SDM vol. 2A). */
function compareExchange8(cpu: Cpu, instruction: Instruction): void {
  const { state } = cpu;
  const { segment, effectiveAddress } = instruction;
  const upper = (effectiveAddress + 4) >>> 0;
  checkWrite(cpu, segment, effectiveAddress, 8);
  const low = readSegment(cpu, segment, effectiveAddress, 4);
  const high = readSegment(cpu, segment, upper, 4);
  const equal = low === state.gpr(RAX) && high === state.gpr(RDX);
  writeSegment(cpu, segment, effectiveAddress, 4, equal ? state.gpr(RBX) : low);
  writeSegment(cpu, segment, upper, 4, equal ? state.gpr(RCX) : high);
  if (!equal) {
    state.setGpr(RAX, low);
    state.setGpr(RDX, high);
  }
  setZero(cpu, equal);
}

/** ARPL: raises the RPL of the destination to that of the source (SDM vol. 2A). */
function adjustRequestedPrivilege(cpu: Cpu, instruction: Instruction): void {
  if (!cpu.isProtected) cpu.raiseUndefined();
  const destination = readRm(cpu, instruction, 2);
  const rpl = cpu.state.gpr16(instruction.register) & 3;
  const adjusts = (destination & 3) < rpl;
  if (adjusts) writeRm(cpu, instruction, 2, (destination & ~3) | rpl);
  setZero(cpu, adjusts);
}

function setZero(cpu: Cpu, zero: boolean): void {
  const flags = cpu.state.eflags & ~EFLAGS.ZF;
  cpu.state.eflags = zero ? flags | EFLAGS.ZF : flags;
}

/** EDX:EAX */
function setPair(cpu: Cpu, low: number, high: number): void {
  cpu.state.setGpr(RAX, low);
  cpu.state.setGpr(RDX, high);
}

function setTimestamp(cpu: Cpu): void {
  const low = cpu.msrs.readTimestamp();
  setPair(cpu, low, cpu.msrs.high);
}

/** CR4.TSD keeps RDTSC and RDTSCP for CPL 0 (SDM vol. 3B 17.17). */
function checkTimestampUse(cpu: Cpu): void {
  if (cpu.cpl !== 0 && (cpu.state.cr4 & CR4.TSD) !== 0) cpu.raiseGeneralProtection();
}

/** RDPMC (SDM vol. 2B "RDPMC"; APM vol. 3 RDPMC). */
function readPerformanceCounter(cpu: Cpu): void {
  if (!hasPerformanceCounters(cpu.model)) cpu.raiseUndefined();
  if (cpu.cpl !== 0 && (cpu.state.cr4 & CR4.PCE) === 0) cpu.raiseGeneralProtection();
  const counter = cpu.msrs.performanceCounter(cpu.state.gpr(RCX));
  if (counter === undefined) cpu.raiseGeneralProtection();
  cpu.svm.intercept('RDPMC');
  setPair(cpu, counter.lo, counter.hi);
}

function identify(cpu: Cpu): void {
  const { state } = cpu;
  cpu.svm.intercept('CPUID');
  const { eax, ebx, ecx, edx } = cpuid(cpu.model, state.gpr(RAX), state.gpr(RCX), cpu.msrs.cpuidState);
  state.setGpr(RAX, eax);
  state.setGpr(RBX, ebx);
  state.setGpr(RCX, ecx);
  state.setGpr(RDX, edx);
}

/** CLAC and STAC (SDM vol. 2A): #UD outside CPL 0. */
function setAlignmentCheck(cpu: Cpu, flag: number): void {
  if (cpu.cpl !== 0) cpu.raiseUndefined();
  cpu.state.systemFlags = (cpu.state.systemFlags & ~EFLAGS.AC) | flag;
  cpu.updateContext();
}

export const MISC_OPERATIONS: Readonly<Record<string, Operation>> = {
  clearDirection: (cpu) => {
    cpu.state.systemFlags &= ~EFLAGS.DF;
  },
  setDirection: (cpu) => {
    cpu.state.systemFlags |= EFLAGS.DF;
  },
  checkBounds,
  compareExchange8,
  adjustRequestedPrivilege,
  nothing: () => {},
  pause: (cpu) => cpu.svm.intercept('PAUSE'),
  undefined: (cpu) => cpu.raiseUndefined(),
  /** RSM: nobody is in system-management mode here, but its intercept comes first (APM vol. 2 15.9). */
  resume: (cpu) => {
    cpu.svm.intercept('RSM');
    cpu.raiseUndefined();
  },
  /** More than 15 bytes (SDM vol. 2A 2.3.11). */
  tooLong: (cpu) => cpu.raiseGeneralProtection(),
  readTimestamp: (cpu) => {
    checkTimestampUse(cpu);
    cpu.svm.intercept('RDTSC');
    setTimestamp(cpu);
  },
  readTimestampAndProcessor: (cpu) => {
    checkTimestampUse(cpu);
    cpu.svm.intercept('RDTSCP');
    setTimestamp(cpu);
    cpu.state.setGpr(RCX, cpu.msrs.get(MSR.TSC_AUX)?.lo ?? 0);
  },
  readPerformanceCounter,
  identify,
  monitor,
  monitorWait,
  clearAlignmentCheck: (cpu) => setAlignmentCheck(cpu, 0),
  setAlignmentCheck: (cpu) => setAlignmentCheck(cpu, EFLAGS.AC),
};
