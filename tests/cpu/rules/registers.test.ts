import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { MSR } from '../../../src/arch/msrs.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import type { Environment } from '../../../src/cpu/environment.ts';
import { bareCpu, CODE, runToHalt } from '../bare.ts';
import { catchExceptions, caught } from '../system/traps.ts';

const RDPMC = [0x0f, 0x33];
const READ_CR4 = [0x0f, 0x20, 0xe0];
const WRITE_CR4 = [0x0f, 0x22, 0xe0];
const RDMSR = [0x0f, 0x32];
const WRMSR = [0x0f, 0x30];
const RDTSC = [0x0f, 0x31];

function run(
  code: readonly number[],
  model: string,
  registers: readonly number[] = [],
  environment?: Environment,
): Cpu {
  const cpu = bareCpu((a) => a.raw(...code, 0xf4), { model, ...(environment && { environment }) });
  catchExceptions(cpu);
  registers.forEach((value, n) => {
    cpu.state.setGpr(n, value);
  });
  runToHalt(cpu);
  return cpu;
}

describe('what a model does not have', () => {
  it.each(['486', 'pentium'])('RDPMC on a %s (SDM vol. 2B "RDPMC")', (model) => {
    expect(caught(run(RDPMC, model))).toMatchObject({ vector: VECTOR.UD, eip: CODE });
  });
  it('RDPMC reads the two counters of a Pentium Pro', () => {
    const cpu = run([...WRMSR, 0xb9, 1, 0, 0, 0, ...RDPMC], 'pentium-pro', [0x1234, MSR.PERFCTR1, 0]);
    expect(caught(cpu)).toBeUndefined();
    expect([cpu.state.gpr(0), cpu.state.gpr(2)]).toEqual([0x1234, 0]);
    expect(caught(run(RDPMC, 'pentium-pro', [0, 2]))).toMatchObject({ vector: VECTOR.GP });
  });
  it('CR4 on a 486 (SDM vol. 2B "MOV control registers")', () => {
    expect(caught(run(READ_CR4, '486'))).toMatchObject({ vector: VECTOR.UD, eip: CODE });
    expect(caught(run(WRITE_CR4, '486'))).toMatchObject({ vector: VECTOR.UD, eip: CODE });
    expect(caught(run(READ_CR4, 'pentium'))).toBeUndefined();
  });
  it('machine-check registers of the Pentium (SDM vol. 4 "MSRs in Pentium processors")', () => {
    expect(caught(run(RDMSR, 'pentium', [0, MSR.P5_MC_TYPE]))).toBeUndefined();
    expect(caught(run(RDMSR, 'pentium-pro', [0, 0x11]))).toMatchObject({ vector: VECTOR.GP });
  });
});

describe('WRMSR', () => {
  it('sets all 64 bits of the TSC exactly', () => {
    // mov ebx,eax keeps time: RDTSC is two instructions behind WRMSR.
    const cpu = run([...WRMSR, 0x90, ...RDTSC], 'opteron', [0xffff_fff0, MSR.TSC, 0x8765_4321]);
    expect(cpu.state.gpr(2)).toBe(0x8765_4321);
    expect(cpu.state.gpr(0)).toBeGreaterThan(0xffff_fff0);
    expect(cpu.state.gpr(0)).toBeLessThan(0xffff_fff4);
    const wrapped = run([...WRMSR, ...new Array(32).fill(0x90), ...RDTSC], 'opteron', [
      0xffff_fff0,
      MSR.TSC,
      0xffff_ffff,
    ]);
    expect(wrapped.state.gpr(2)).toBe(0);
    expect(wrapped.state.gpr(0)).toBeLessThan(64);
  });

  it('refuses reserved bits of APIC_BASE (SDM vol. 3A 10.4.4)', () => {
    const apic = { baseLo: 0xfee0_0900, baseHi: 0, taskPriority: 0 };
    const environment: Environment = {
      interrupts: { pending: false, acknowledge: () => 0 },
      ports: { read: () => 0, write: () => {} },
      apic,
    };
    const write = (lo: number, hi: number): number | undefined =>
      caught(run(WRMSR, 'opteron', [lo, MSR.APIC_BASE, hi], environment))?.vector;
    expect(write(0xfee0_0901, 0)).toBe(VECTOR.GP);
    expect(write(0xfee0_0d00, 0)).toBe(VECTOR.GP);
    expect(write(0xfee0_0900, 0x1_0000)).toBe(VECTOR.GP);
    expect(apic.baseLo).toBe(0xfee0_0900);
    expect(write(0xfed0_0900, 0xffff)).toBeUndefined();
    expect([apic.baseLo, apic.baseHi]).toEqual([0xfed0_0900, 0xffff]);
  });

  it('refuses reserved bits and types of MTRRs (SDM vol. 3A 11.11.2)', () => {
    const faults = (index: number, lo: number, hi = 0): boolean =>
      caught(run(WRMSR, 'pentium4', [lo, index, hi]))?.vector === VECTOR.GP;
    expect(faults(MSR.MTRR_PHYS_BASE0, 0xfff0_0006, 0xf)).toBe(false);
    expect(faults(MSR.MTRR_PHYS_BASE0, 0xfff0_0106)).toBe(true);
    expect(faults(MSR.MTRR_PHYS_BASE0, 0xfff0_0002)).toBe(true);
    expect(faults(MSR.MTRR_PHYS_BASE0 + 14, 6, 0x10)).toBe(true);
    expect(faults(MSR.MTRR_PHYS_MASK0, 0xfff0_0800, 0xf)).toBe(false);
    expect(faults(MSR.MTRR_PHYS_MASK0, 0xfff0_0400)).toBe(true);
    expect(faults(MSR.MTRR_DEF_TYPE, 0xc06)).toBe(false);
    expect(faults(MSR.MTRR_DEF_TYPE, 0xc07)).toBe(true);
  });
});
