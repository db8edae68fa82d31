import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { DEBUGCTL, LASTBRANCH, MSR } from '../../../src/arch/msrs.ts';
import { DR6, EFLAGS } from '../../../src/arch/registers.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import { bareCpu, CODE, runToHalt } from '../bare.ts';
import { catchExceptions, caught } from '../system/traps.ts';

// biome-ignore format: one instruction per line
/** Three branches that are taken among others that are not. */
const BRANCHES = [
  0x90,
  0x31, 0xc0,             // 1: xor eax,eax
  0x75, 0x00,             // 3: jnz 5, not taken
  0x74, 0x02,             // 5: jz 9
  0x0f, 0x0b,
  0xe8, 0x01, 0, 0, 0,    // 9: call 0Fh
  0xf4,                   // 0Eh: hlt
  0xc3,                   // 0Fh: ret
];

function run(model: string, control: number, code: readonly number[], flags = 0): Cpu {
  const cpu = bareCpu((a) => a.raw(...code, 0xf4), { model });
  catchExceptions(cpu);
  cpu.msrs.write(MSR.DEBUGCTL, control, 0);
  cpu.state.systemFlags |= flags;
  runToHalt(cpu);
  return cpu;
}

describe('DEBUGCTL.LBR', () => {
  const pair = (cpu: Cpu, from: number): number[] => [cpu.msrs.read(from), cpu.msrs.read(from + 1)];

  it.each(['opteron', 'pentium-pro'])(
    'records the last branch of a %s (APM vol. 2 13.1.1, SDM vol. 3B 17.14)',
    (model) => {
      const cpu = run(model, DEBUGCTL.LBR, BRANCHES);
      expect(pair(cpu, MSR.LASTBRANCH_FROM)).toEqual([CODE + 0xf, CODE + 0xe]);
      expect(pair(cpu, MSR.LASTINT_FROM)).toEqual([0, 0]);
      expect(pair(run(model, 0, BRANCHES), MSR.LASTBRANCH_FROM)).toEqual([0, 0]);
    },
  );

  it('records an exception, and keeps the branch before it', () => {
    // jmp 3; nop; ud2
    const cpu = run('opteron', DEBUGCTL.LBR, [0xeb, 0x01, 0x90, 0x0f, 0x0b]);
    expect(caught(cpu)?.vector).toBe(VECTOR.UD);
    expect(pair(cpu, MSR.LASTBRANCH_FROM)).toEqual([CODE + 3, cpu.state.eip - 1]);
    expect(pair(cpu, MSR.LASTINT_FROM)).toEqual([CODE, CODE + 3]);
  });

  it('ends with #DB, which is not recorded', () => {
    // jmp 2; int1
    const cpu = run('opteron', DEBUGCTL.LBR, [0xeb, 0x00, 0xf1]);
    expect(caught(cpu)?.vector).toBe(VECTOR.DB);
    expect(pair(cpu, MSR.LASTBRANCH_FROM)).toEqual([CODE, CODE + 2]);
    expect(cpu.msrs.read(MSR.DEBUGCTL)).toBe(0);
  });

  it('has a stack of four entries on a Pentium 4 (SDM vol. 3B 17.12.2)', () => {
    const cpu = run('pentium4', DEBUGCTL.LBR, BRANCHES);
    const entry = (n: number): number[] => [cpu.msrs.read(LASTBRANCH.ENTRY0 + n), cpu.msrs.high];
    expect(cpu.msrs.read(LASTBRANCH.TOS)).toBe(3);
    expect([entry(1), entry(2), entry(3)]).toEqual([
      [CODE + 5, CODE + 9],
      [CODE + 9, CODE + 0xf],
      [CODE + 0xf, CODE + 0xe],
    ]);
  });

  it('and one of sixteen pairs from model 3 on', () => {
    // mov ecx,18; loop; ud2: 17 branches
    const cpu = run('prescott', DEBUGCTL.LBR, [0xb9, 18, 0, 0, 0, 0xe2, 0xfe, 0x0f, 0x0b]);
    expect(cpu.msrs.read(LASTBRANCH.TOS)).toBe(18 % 16);
    expect(cpu.msrs.read(LASTBRANCH.FROM0 + 1)).toBe(CODE + 5);
    expect(cpu.msrs.read(LASTBRANCH.FROM0 + 2)).toBe(CODE + 7);
    expect(cpu.msrs.read(LASTBRANCH.LER_FROM)).toBe(CODE + 5);
    expect(cpu.msrs.read(LASTBRANCH.LER_TO)).toBe(CODE + 5);
  });

  it('has reserved bits, and on AMD registers that only the processor writes', () => {
    const faults = (model: string, index: number, value: number): boolean => {
      const cpu = bareCpu((a) => a.raw(0x0f, 0x30, 0xf4), { model });
      catchExceptions(cpu);
      [value, index, 0].forEach((register, n) => {
        cpu.state.setGpr(n, register);
      });
      runToHalt(cpu);
      return caught(cpu)?.vector === VECTOR.GP;
    };
    expect(faults('opteron', MSR.DEBUGCTL, 0x3f)).toBe(false);
    expect(faults('opteron', MSR.DEBUGCTL, 0x40)).toBe(true);
    expect(faults('pentium-pro', MSR.DEBUGCTL, 0x40)).toBe(false);
    expect(faults('opteron', MSR.LASTBRANCH_FROM, 0)).toBe(true);
    expect(faults('pentium-pro', MSR.LASTBRANCH_FROM, 0)).toBe(false);
  });
});

describe('DEBUGCTL.BTF', () => {
  it('makes TF trap behind the first branch that is taken (SDM vol. 3B 17.4.3)', () => {
    const cpu = run('opteron', DEBUGCTL.BTF, BRANCHES, EFLAGS.TF);
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.DB, eip: CODE + 9 });
    expect(cpu.state.system(SYSTEM.DR6) & DR6.BS).toBe(DR6.BS);
    // The exception switches it off.
    expect(cpu.msrs.read(MSR.DEBUGCTL)).toBe(0);
  });
  it('does nothing without TF, and TF without it traps behind everything', () => {
    expect(caught(run('opteron', DEBUGCTL.BTF, BRANCHES))).toBeUndefined();
    expect(caught(run('opteron', 0, BRANCHES, EFLAGS.TF))).toMatchObject({ eip: CODE + 1 });
  });
});
