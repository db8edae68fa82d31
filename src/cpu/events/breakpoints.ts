import { CR4, DR7, DR7_LEN_SHIFT, DR7_LENGTHS, DR7_RW, DR7_RW_SHIFT } from '../../arch/registers.ts';
import type { Cpu } from '../cpu.ts';
import { SYSTEM } from '../layout.ts';

const BREAKPOINTS = 4;

/** Bytes from `start` on share one with the range that breakpoint `n` watches (SDM vol. 3B 17.2.5). */
function touches(cpu: Cpu, n: number, dr7: number, start: number, size: number): boolean {
  const length = DR7_LENGTHS[(dr7 >>> (DR7_LEN_SHIFT + n * 4)) & 3] as number;
  // The low bits of the address do not count.
  const first = (cpu.state.system(SYSTEM.DR0 + n * 8) & -length) >>> 0;
  return start < first + length && first < start + size;
}

/** Notes every enabled breakpoint of a kind in `kinds` that an access meets: #DB follows the instruction. */
function meet(cpu: Cpu, start: number, size: number, kinds: readonly number[]): void {
  const dr7 = cpu.state.system(SYSTEM.DR7);
  for (let n = 0; n < BREAKPOINTS; n++) {
    const enabled = (dr7 >>> (n * 2)) & 3;
    const kind = (dr7 >>> (DR7_RW_SHIFT + n * 4)) & 3;
    if (enabled === 0 || !kinds.includes(kind) || !touches(cpu, n, dr7, start, size)) continue;
    cpu.pendingDebug |= 1 << n;
    cpu.endSlice();
  }
}

/** The breakpoints that DR6 reports are those of one exception; its other bits software clears (SDM vol. 3B 17.2.3). */
const HITS = 0xf;

/** #DB is about to be raised for these bits of DR6. GD is cleared so that its handler may use the registers (17.2.4). */
export function noteDebugConditions(cpu: Cpu, conditions: number): void {
  const { state } = cpu;
  cpu.branches.debugException();
  state.setSystem(SYSTEM.DR6, (state.system(SYSTEM.DR6) & ~HITS) | conditions);
  state.setSystem(SYSTEM.DR7, state.system(SYSTEM.DR7) & ~DR7.GD);
}

const ON_READ = [DR7_RW.READ_WRITE];
const ON_WRITE = [DR7_RW.READ_WRITE, DR7_RW.WRITE];
const ON_IO = [DR7_RW.IO];

/** A data access by linear address was made. */
export function meetDataBreakpoints(cpu: Cpu, linear: number, size: number, write: boolean): void {
  meet(cpu, linear, size, write ? ON_WRITE : ON_READ);
}

/** A port was read or written: with CR4.DE breakpoints may watch ports, too (SDM vol. 3B 17.2.4). */
export function meetPortBreakpoints(cpu: Cpu, port: number, size: number): void {
  if (cpu.breakpointsEnabled && (cpu.state.cr4 & CR4.DE) !== 0) meet(cpu, port, size, ON_IO);
}
