import { signatureOf } from '../arch/cpuid.ts';
import { ATTRIBUTE } from '../arch/descriptors.ts';
import { CR0, CR0_RESET, EFLAGS, MXCSR_RESET } from '../arch/registers.ts';
import { RDX } from '../isa/builder.ts';
import type { Cpu } from './cpu.ts';
import { CS, FPU, LDTR, MXCSR, SYSTEM, TR } from './layout.ts';

const DATA = ATTRIBUTE.P | ATTRIBUTE.S | ATTRIBUTE.WRITABLE | ATTRIBUTE.ACCESSED;
const CODE = DATA | ATTRIBUTE.CODE;

/** The state after RESET (SDM vol. 3A table 9-1). */
export function reset(cpu: Cpu): void {
  cpu.x87.fpu.initialize();
  cpu.state.u32[MXCSR >> 2] = MXCSR_RESET;
  cpu.msrs.reset();
  startOver(cpu, CR0_RESET);
}

/**
 * INIT: as RESET, but caches, MSRs with the TSC, x87, MMX and SSE registers stay as they are, and CR0.CD and CR0.NW
 * (SDM vol. 3A 9.1, table 9-1). The local APIC starts over with the processor (10.4.7.3).
 */
export function initialize(cpu: Cpu): void {
  startOver(cpu, ((cpu.state.cr0 & (CR0.CD | CR0.NW)) | CR0.ET) >>> 0);
  cpu.environment.apic?.init?.();
}

/** Real mode at F000:FFF0 with CS base FFFF0000; nothing is pending. */
function startOver(cpu: Cpu, cr0: number): void {
  const { state } = cpu;
  for (let register = 0; register < 8; register++) state.setGpr(register, 0);
  state.setGpr(RDX, signatureOf(cpu.model));
  state.eflags = EFLAGS.ONE;
  state.eip = 0xfff0;
  for (let segment = 0; segment < 6; segment++) state.setSegment(segment, 0, 0, 0xffff, DATA);
  state.setSegment(CS, 0xf000, 0xffff_0000, 0xffff, CODE);
  state.setSegment(LDTR, 0, 0, 0xffff, ATTRIBUTE.P | 2);
  state.setSegment(TR, 0, 0, 0xffff, ATTRIBUTE.P | 0xb);
  state.u32.fill(0, SYSTEM.CR0 >> 2, FPU >> 2);
  state.setSystem(SYSTEM.CR0, cr0);
  state.setSystem(SYSTEM.GDT_LIMIT, 0xffff);
  state.setSystem(SYSTEM.IDT_LIMIT, 0xffff);
  state.setSystem(SYSTEM.DR6, 0xffff_0ff0);
  state.setSystem(SYSTEM.DR7, 0x400);
  cpu.cpl = 0;
  cpu.halted = false;
  cpu.shutdown = false;
  cpu.initPending = false;
  cpu.nmiPending = false;
  cpu.nmiBlocked = false;
  cpu.pendingDebug = 0;
  cpu.shadowAt = -1;
  cpu.resumeFlagUntil = -1;
  cpu.testRegisters.fill(0);
  cpu.monitor.disarm();
  cpu.svm.reset();
  cpu.paging.tlb.flushEverything();
  cpu.paging.dropAllCopies();
  cpu.paging.modeChanged();
  cpu.watchDataBreakpoints();
}
