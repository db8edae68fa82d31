import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { CR4, DR6_FIXED_ONE, DR7_FIXED_ONE } from '../../../src/arch/registers.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import { bareCpu, CODE, runToHalt } from '../bare.ts';
import { catchExceptions, caught } from './traps.ts';

const L0 = 1;
const WRITES = 1;
const PORTS = 2;
const ALL = 3;

/** Runs code with breakpoint 0 at `address`; `length` in the encoding of DR7. */
function watched(code: number[], address: number, kind: number, length: number, cr4 = 0): Cpu {
  const cpu = bareCpu((a) => a.raw(...code, 0xf4));
  catchExceptions(cpu);
  cpu.state.setSystem(SYSTEM.CR4, cr4);
  cpu.state.setSystem(SYSTEM.DR0, address);
  cpu.state.setSystem(SYSTEM.DR6, DR6_FIXED_ONE);
  cpu.state.setSystem(SYSTEM.DR7, DR7_FIXED_ONE | L0 | (kind << 16) | (length << 18));
  cpu.state.setGpr(2, 0x80);
  cpu.watchDataBreakpoints();
  runToHalt(cpu);
  return cpu;
}

const STORE_BYTE = [0xa2, 0x03, 0x50, 0, 0]; // mov [5003h],al
const LOAD = [0xa1, 0x00, 0x50, 0, 0]; // mov eax,[5000h]
const OUT = 0xee;

describe('breakpoints on data and ports (SDM vol. 3B 17.2)', () => {
  it('trap behind a store to any byte of the range', () => {
    const cpu = watched(STORE_BYTE, 0x5001, WRITES, 3);
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.DB, eip: CODE + STORE_BYTE.length });
    expect(cpu.state.system(SYSTEM.DR6)).toBe((DR6_FIXED_ONE | 1) >>> 0);
    expect(caught(watched(STORE_BYTE, 0x5002, WRITES, 0))).toBeUndefined();
    expect(caught(watched(STORE_BYTE, 0x5004, WRITES, 3))).toBeUndefined();
  });

  it('tell reads from writes', () => {
    expect(caught(watched(LOAD, 0x5003, WRITES, 0))).toBeUndefined();
    expect(caught(watched(LOAD, 0x5003, ALL, 0))).toMatchObject({
      vector: VECTOR.DB,
      eip: CODE + LOAD.length,
    });
  });

  it('trap after the iteration of REP MOVS that meets them', () => {
    // mov ecx,8; mov esi,4000h; mov edi,5000h; rep movsb
    const code = [0xb9, 8, 0, 0, 0, 0xbe, 0, 0x40, 0, 0, 0xbf, 0, 0x50, 0, 0, 0xf3, 0xa4];
    const cpu = watched(code, 0x5002, WRITES, 0);
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.DB, eip: CODE + 15 });
    expect(cpu.state.gpr(1)).toBe(5);
  });

  it('watch ports with CR4.DE only', () => {
    expect(caught(watched([OUT], 0x80, PORTS, 0, CR4.DE))).toMatchObject({
      vector: VECTOR.DB,
      eip: CODE + 1,
    });
    expect(caught(watched([OUT], 0x80, PORTS, 0))).toBeUndefined();
  });
});
