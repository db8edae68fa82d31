import { signatureOf } from '../arch/cpuid.ts';
import { ATTRIBUTE } from '../arch/descriptors.ts';
import { CR0_RESET, EFLAGS, MXCSR_RESET } from '../arch/registers.ts';
import { RDX } from '../isa/builder.ts';
import type { Cpu } from './cpu.ts';
import { CS, LDTR, MXCSR, SYSTEM, TR } from './layout.ts';

const DATA = ATTRIBUTE.P | ATTRIBUTE.S | ATTRIBUTE.WRITABLE | ATTRIBUTE.ACCESSED;
const CODE = DATA | ATTRIBUTE.CODE;

/** The state after RESET (SDM vol. 3A table 9-1): real mode at F000:FFF0 with CS base FFFF0000. */
export function reset(cpu: Cpu): void {
  const { state } = cpu;
  for (let register = 0; register < 8; register++) state.setGpr(register, 0);
  state.setGpr(RDX, signatureOf(cpu.model));
  state.eflags = EFLAGS.ONE;
  state.eip = 0xfff0;
  for (let segment = 0; segment < 6; segment++) state.setSegment(segment, 0, 0, 0xffff, DATA);
  state.setSegment(CS, 0xf000, 0xffff_0000, 0xffff, CODE);
  state.setSegment(LDTR, 0, 0, 0xffff, ATTRIBUTE.P | 2);
  state.setSegment(TR, 0, 0, 0xffff, ATTRIBUTE.P | 0xb);
  for (const register of Object.values(SYSTEM)) state.setSystem(register, 0);
  state.setSystem(SYSTEM.CR0, CR0_RESET);
  state.setSystem(SYSTEM.GDT_LIMIT, 0xffff);
  state.setSystem(SYSTEM.IDT_LIMIT, 0xffff);
  state.setSystem(SYSTEM.DR6, 0xffff_0ff0);
  state.setSystem(SYSTEM.DR7, 0x400);
  cpu.x87.fpu.initialize();
  state.u32[MXCSR >> 2] = MXCSR_RESET;
  cpu.cpl = 0;
  cpu.halted = false;
  cpu.shutdown = false;
  cpu.nmiPending = false;
  cpu.nmiBlocked = false;
  cpu.pendingDebug = 0;
  cpu.shadowAt = -1;
  cpu.resumeFlagUntil = -1;
  cpu.monitor.disarm();
  cpu.msrs.reset();
  cpu.svm.reset();
  cpu.paging.tlb.flushEverything();
  cpu.paging.dropAllCopies();
  cpu.paging.modeChanged();
  cpu.updateContext();
}
