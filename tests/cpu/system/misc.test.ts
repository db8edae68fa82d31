import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { CR4, EFLAGS } from '../../../src/arch/registers.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import { bareCpu, CODE, identityPaging, runToHalt } from '../bare.ts';
import { catchExceptions, caught, enterUser } from './traps.ts';

const HLT = 0xf4;
const RDTSC = [0x0f, 0x31];
const RDPMC = [0x0f, 0x33];
const MONITOR = [0x0f, 0x01, 0xc8];
const MWAIT = [0x0f, 0x01, 0xc9];
const STAC = [0x0f, 0x01, 0xcb];
const CMPXCHG8B = [0x0f, 0xc7, 0x0e]; // [esi]

function program(code: number[], prepare: (cpu: Cpu) => void = () => {}, model = 'current-amd'): Cpu {
  const cpu = bareCpu((a) => a.raw(...code, HLT), { model });
  catchExceptions(cpu);
  prepare(cpu);
  runToHalt(cpu);
  return cpu;
}

describe('time and counters', () => {
  it('RDTSC counts instructions', () => {
    const cpu = program([0x90, 0x90, ...RDTSC]);
    expect([cpu.state.gpr(0), cpu.state.gpr(2)]).toEqual([2, 0]);
  });

  it('CR4.TSD keeps RDTSC for CPL 0, CR4.PCE opens RDPMC to others', () => {
    const user = (cr4: number) => (cpu: Cpu) => {
      cpu.state.setSystem(SYSTEM.CR4, cr4);
      enterUser(cpu);
    };
    expect(caught(program(RDTSC, user(CR4.TSD)))).toMatchObject({ vector: VECTOR.GP, eip: CODE });
    expect(caught(program(RDPMC, user(0)))).toMatchObject({ vector: VECTOR.GP, eip: CODE });
    // HLT is not for CPL 3, so that the end shows as its fault.
    expect(caught(program(RDTSC, user(0)))).toMatchObject({ vector: VECTOR.GP, eip: CODE + 2 });
    expect(caught(program(RDPMC, user(CR4.PCE)))).toMatchObject({ vector: VECTOR.GP, eip: CODE + 2 });
  });

  it('RDPMC knows four counters', () => {
    const fifth = program(RDPMC, (cpu) => cpu.state.setGpr(1, 4));
    expect(caught(fifth)).toMatchObject({ vector: VECTOR.GP, errorCode: 0, eip: CODE });
  });
});

describe('CMPXCHG8B', () => {
  const run = (memory: [number, number]): Cpu =>
    program(CMPXCHG8B, ({ state, physical }) => {
      physical.write32(0x5000, memory[0]);
      physical.write32(0x5004, memory[1]);
      state.setGpr(0, 0x1111_1111);
      state.setGpr(2, 0x2222_2222);
      state.setGpr(3, 0x3333_3333);
      state.setGpr(1, 0x4444_4444);
      state.setGpr(6, 0x5000);
    });

  it('replaces what is equal', () => {
    const cpu = run([0x1111_1111, 0x2222_2222]);
    expect([cpu.physical.read32(0x5000), cpu.physical.read32(0x5004)]).toEqual([0x3333_3333, 0x4444_4444]);
    expect(cpu.state.eflags & EFLAGS.ZF).toBe(EFLAGS.ZF);
  });

  it('loads what is not', () => {
    const cpu = run([0x1111_1111, 0x2222_2223]);
    expect([cpu.state.gpr(0), cpu.state.gpr(2)]).toEqual([0x1111_1111, 0x2222_2223]);
    expect(cpu.state.eflags & EFLAGS.ZF).toBe(0);
  });

  it('faults on a read-only page even if nothing would change', () => {
    const cpu = program(CMPXCHG8B, (c) => {
      identityPaging(c);
      c.physical.write32(0x11000 + 5 * 4, 0x5001);
      c.state.setGpr(0, 1);
      c.state.setGpr(6, 0x5000);
    });
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.PF, errorCode: 3, eip: CODE });
  });
});

describe('BOUND', () => {
  it.each([
    [-3, true],
    [-2, false],
    [7, false],
    [8, true],
  ])('of -2..7 with %i', (index, raises) => {
    const cpu = program([0x62, 0x06], ({ state, physical }) => {
      physical.write32(0x5000, -2 >>> 0);
      physical.write32(0x5004, 7);
      state.setGpr(0, index >>> 0);
      state.setGpr(6, 0x5000);
    });
    expect(caught(cpu)?.vector).toBe(raises ? VECTOR.BR : undefined);
  });
});

describe('MONITOR and MWAIT', () => {
  const armed = (between: number[]): Cpu => {
    // mov eax,5020h; xor ecx,ecx; xor edx,edx; monitor; (between); mwait; inc ebx
    const cpu = bareCpu((a) =>
      a.raw(0xb8, 0x20, 0x50, 0, 0, 0x31, 0xc9, 0x31, 0xd2, ...MONITOR, ...between, ...MWAIT, 0x43, HLT),
    );
    runToHalt(cpu);
    return cpu;
  };

  it('wait while nobody stores to the line', () => {
    expect(armed([]).state.gpr(3)).toBe(0);
  });

  it('go on after a store to it', () => {
    // mov byte [503fh],1 in the line; mov byte [5040h],1 behind it
    expect(armed([0xc6, 0x05, 0x3f, 0x50, 0, 0, 1]).state.gpr(3)).toBe(1);
    expect(armed([0xc6, 0x05, 0x40, 0x50, 0, 0, 1]).state.gpr(3)).toBe(0);
  });

  it('are no instructions beyond CPL 0, and know no extensions', () => {
    expect(caught(program(MONITOR, enterUser))).toMatchObject({ vector: VECTOR.UD, eip: CODE });
    expect(caught(program(MWAIT, (cpu) => cpu.state.setGpr(1, 2)))).toMatchObject({ vector: VECTOR.GP });
  });
});

describe('privilege', () => {
  it('HLT raises #GP(0), STAC #UD at CPL 3', () => {
    expect(caught(program([HLT], enterUser))).toMatchObject({ vector: VECTOR.GP, errorCode: 0, eip: CODE });
    expect(caught(program(STAC, enterUser))).toMatchObject({ vector: VECTOR.UD, eip: CODE });
  });

  it('CPUID is absent on the 486, and ignores the upper leaves it does not know', () => {
    expect(caught(program([0x0f, 0xa2], undefined, '486'))).toMatchObject({ vector: VECTOR.UD });
    const cpu = program([0x0f, 0xa2], undefined, 'opteron');
    const text = [3, 2, 1].map((n) => cpu.state.gpr(n));
    expect(String.fromCharCode(...text.flatMap((w) => [0, 8, 16, 24].map((s) => (w >>> s) & 0xff)))).toBe(
      'AuthenticAMD',
    );
  });
});
