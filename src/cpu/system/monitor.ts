import { RAX, RCX } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { segmentLinear } from '../segmentation/access.ts';

/** Bytes that a monitor covers, as CPUID leaf 5 says. */
const LINE = 64;

/**
 * The line that MONITOR watches. Only this processor writes RAM while it runs, so that a store since MONITOR shows in
 * the line's contents; MWAIT may go on for other reasons, and does where nothing can be watched.
 */
export class Monitor {
  /** Offset of the line in RAM, -1 while nothing is watched. */
  #line = -1;
  readonly #contents = new Uint8Array(LINE);

  /** @param offset of a byte of RAM, or -1 for memory that cannot be watched */
  arm(ram: Uint8Array, offset: number): void {
    this.#line = offset < 0 ? -1 : offset - (offset % LINE);
    if (offset >= 0) this.#contents.set(ram.subarray(this.#line, this.#line + LINE));
  }

  /** Whether MWAIT would wait: there is a watch, and nobody stored to the line. */
  waits(ram: Uint8Array): boolean {
    const line = this.#line;
    return line >= 0 && this.#contents.every((byte, place) => byte === ram[line + place]);
  }

  disarm(): void {
    this.#line = -1;
  }
}

/** Only CPL 0 may use them, and no extension or hint is there to be asked for (SDM vol. 2B "MONITOR", "MWAIT"). */
function checkUse(cpu: Cpu): void {
  if (cpu.cpl !== 0) cpu.raiseUndefined();
  if (cpu.state.gpr(RCX) !== 0) cpu.raiseGeneralProtection();
}

/** MONITOR: watches the line at EAX, in DS unless a prefix says otherwise. */
export function monitor(cpu: Cpu, instruction: Instruction): void {
  checkUse(cpu);
  const offset = instruction.addressSize === 2 ? cpu.state.gpr16(RAX) : cpu.state.gpr(RAX);
  const linear = segmentLinear(cpu, instruction.segment, offset, 1, false);
  cpu.memory.check(linear, 1, cpu.dataAccess);
  cpu.svm.intercept('MONITOR');
  cpu.monitor.arm(cpu.physical.u8, cpu.paging.ramOffset(linear, cpu.dataAccess));
}

/** MWAIT: waits as HLT does, unless nothing is watched or a store has come already. */
export function monitorWait(cpu: Cpu): void {
  checkUse(cpu);
  cpu.svm.intercept('MWAIT');
  const waits = cpu.monitor.waits(cpu.physical.u8);
  cpu.monitor.disarm();
  if (!waits) return;
  cpu.halted = true;
  cpu.endSlice();
}
