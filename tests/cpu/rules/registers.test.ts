import { describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../../src/arch/cpu-model-text.ts';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { HWCR, MISC_ENABLE, MISC_ENABLE_HI_XD_DISABLE, MSR, SYSCFG } from '../../../src/arch/msrs.ts';
import { Cpu } from '../../../src/cpu/cpu.ts';
import { type Environment, NO_ENVIRONMENT } from '../../../src/cpu/environment.ts';
import { RegisterFile } from '../../../src/cpu/register-file.ts';
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
  it('RDPMC reads the low half or all of eighteen counters of a Pentium 4', () => {
    const read = (number: number, model = 'pentium4'): readonly number[] | undefined => {
      // The last counter; mov ecx,imm32 in between.
      const bytes = [0, 8, 16, 24].map((shift) => (number >>> shift) & 0xff);
      const cpu = run([...WRMSR, 0xb9, ...bytes, ...RDPMC], model, [0x8765_4321, 0x311, 0xfe]);
      return caught(cpu) === undefined ? [cpu.state.gpr(0), cpu.state.gpr(2)] : undefined;
    };
    expect(read(17)).toEqual([0x8765_4321, 0xfe]);
    expect(read(0x8000_0011)).toEqual([0x8765_4321, 0]);
    expect(read(17, 'prescott')).toEqual([0x8765_4321, 0xfe]);
    expect(read(18)).toBeUndefined();
    expect(read(0x8000_0012)).toBeUndefined();
  });
  it('APIC_BASE on a Pentium (SDM vol. 3A 10.4.4)', () => {
    const apic = { baseLo: 0xfee0_0900, baseHi: 0, taskPriority: 0 };
    const environment: Environment = { ...NO_ENVIRONMENT, apic };
    const read = (model: string) => caught(run(RDMSR, model, [0, MSR.APIC_BASE], environment))?.vector;
    expect(read('pentium')).toBe(VECTOR.GP);
    expect(read('pentium-pro')).toBeUndefined();
  });
  it('MISC_ENABLE on a Pentium Pro (SDM vol. 4 2.21)', () => {
    expect(caught(run(RDMSR, 'pentium-pro', [0, MSR.MISC_ENABLE]))).toMatchObject({ vector: VECTOR.GP });
  });
  it.each([
    ['486', 0x410],
    ['pentium', 0x52c],
    ['current-amd', 0xa0_0f11],
  ])('RESET leaves the signature of a %s in EDX (SDM vol. 3A 9.1.2)', (model, signature) => {
    expect(new Cpu({ model: parseCpuModel(model), ramBytes: 1 << 16 }).state.gpr(2)).toBe(signature);
  });
  it('MOV CR and MOV DR have no use for the mod field (SDM vol. 2B "MOV control registers")', () => {
    // mov ecx,cr0 with mod 0, 1 and 2; mov edx,dr7; none takes a displacement.
    const cpu = run([0x0f, 0x20, 0x01, 0x0f, 0x20, 0x41, 0x0f, 0x20, 0x85, 0x0f, 0x21, 0x3a], 'current-amd');
    expect(caught(cpu)).toBeUndefined();
    expect([1, 5, 2].map((n) => cpu.state.gpr(n))).toEqual([0x11, 0x11, 0x400]);
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

  it('refuses reserved types of fixed MTRRs (SDM vol. 3A 11.11.2.2)', () => {
    const faults = (lo: number, hi: number, model = 'pentium4'): boolean =>
      caught(run(WRMSR, model, [lo, MSR.MTRR_FIX_4K_C0000, hi]))?.vector === VECTOR.GP;
    expect(faults(0x0605_0401, 0)).toBe(false);
    for (const type of [2, 3, 7, 8, 0xff]) {
      expect(faults(type << 16, 0)).toBe(true);
      expect(faults(0, type << 24)).toBe(true);
    }
    expect(faults(0x1e1e_1e1e, 0x1e1e_1e1e)).toBe(true);
    expect(faults(0x1e1e_1e1e, 0x1e1e_1e1e, 'opteron')).toBe(true);
  });

  it('lets SYSCFG show and take RdMem and WrMem of fixed MTRRs (APM vol. 2 7.9.1)', () => {
    const registers = new RegisterFile(parseCpuModel('opteron'));
    const fixed = MSR.MTRR_FIX_64K_00000;
    registers.write(MSR.SYSCFG, SYSCFG.MTRR_FIX_DRAM_MOD_EN, 0);
    expect(registers.write(fixed, 0x1e1e_1e1e, 0x1f1e_1e1e)).toBe(false);
    expect(registers.write(fixed, 0x1e1e_1e1e, 0x1c1e_1e1e)).toBe(true);
    expect(registers.read(fixed)).toMatchObject({ lo: 0x1e1e_1e1e, hi: 0x1c1e_1e1e });
    registers.write(MSR.SYSCFG, 0, 0);
    expect(registers.read(fixed)).toMatchObject({ lo: 0x0606_0606, hi: 0x0406_0606 });
  });

  it('refuses registers that only report (SDM vol. 3A 11.11.1, vol. 3B 15.3.1.1)', () => {
    for (const index of [MSR.MTRR_CAP, MSR.MCG_CAP]) {
      const cpu = run([...WRMSR, ...RDMSR], 'opteron', [0, index, 0]);
      expect(caught(cpu)).toMatchObject({ vector: VECTOR.GP });
      expect(cpu.msrs.read(index)).not.toBe(0);
    }
  });

  it('only clears what a machine check left (SDM vol. 3B 15.3.2.2, APM vol. 2 9.3.2)', () => {
    const faults = (index: number, lo: number, model: string): boolean =>
      caught(run(WRMSR, model, [lo, index, 0]))?.vector === VECTOR.GP;
    for (const model of ['pentium4', 'opteron']) {
      expect(faults(MSR.MC0_STATUS + 4, 0, model)).toBe(false);
      expect(faults(MSR.MC0_STATUS + 4, 1, model)).toBe(true);
    }
    expect(faults(MSR.MC0_ADDR, 1, 'pentium4')).toBe(true);
    expect(faults(MSR.MCG_STATUS, 4, 'pentium4')).toBe(false);
    expect(faults(MSR.MCG_STATUS, 0x10, 'pentium4')).toBe(true);
    const registers = new RegisterFile(parseCpuModel('opteron'));
    registers.write(MSR.HWCR, HWCR.MC_STATUS_WR_EN, 0);
    expect(registers.write(MSR.MC0_STATUS, 1, 0x8000_0000)).toBe(true);
  });
});

describe('IA32_MISC_ENABLE (SDM vol. 4 table 2-2)', () => {
  const CPUID = [0x0f, 0xa2];
  const NX_BIT = 1 << 20;
  const disabled = (registers: readonly number[], then: readonly number[], model = 'prescott') =>
    run([...WRMSR, ...then], model, [0, MSR.MISC_ENABLE, MISC_ENABLE_HI_XD_DISABLE, ...registers]);

  it('hides NX and makes EFER.NXE reserved', () => {
    const leaf = [0xb8, 1, 0, 0, 0x80, ...CPUID];
    expect(run(leaf, 'prescott').state.gpr(2) & NX_BIT).toBe(NX_BIT);
    expect(disabled([], leaf).state.gpr(2) & NX_BIT).toBe(0);
    // mov ecx,EFER; mov eax,NXE; xor edx,edx; wrmsr
    const setNxe = [0xb9, 0x80, 0, 0, 0xc0, 0xb8, 0, 8, 0, 0, 0x31, 0xd2, ...WRMSR];
    expect(caught(run(setNxe, 'prescott'))).toBeUndefined();
    expect(caught(disabled([], setNxe))).toMatchObject({ vector: VECTOR.GP, errorCode: 0 });
  });
  it('has no such bit without NX', () => {
    expect(caught(disabled([], [], 'pentium4'))).toMatchObject({ vector: VECTOR.GP });
  });
  it('limits the leaves of CPUID', () => {
    const code = [...WRMSR, 0x31, 0xc0, ...CPUID];
    const highest = (lo: number) => run(code, 'prescott', [lo, MSR.MISC_ENABLE, 0]).state.gpr(0);
    expect([highest(1), highest(1 | MISC_ENABLE.LIMIT_CPUID)]).toEqual([5, 3]);
  });
});
