import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFER } from '../../src/oracle/bits.ts';
import {
  type RegisterWrite,
  taskSwitchCr3,
  writeCr0,
  writeCr3,
  writeCr4,
  writeEfer,
} from '../../src/oracle/control-registers.ts';
import { type OracleCpu, oracleCpu, oracleFeatures } from '../../src/oracle/cpu.ts';
import { entries64, fourLevel, P, pae, ram, twoLevel } from './helpers.ts';

const PE_PG = CR0.PE | CR0.PG;
const gp = (write: RegisterWrite): boolean => write.outcome === 'fault' && write.vector === 13;
const cpuAfter = (write: RegisterWrite): OracleCpu => {
  if (write.outcome === 'fault') throw new Error(write.reason);
  return write.cpu;
};
const flushes = (write: RegisterWrite) => (write.outcome === 'ok' ? write.invalidates : undefined);

describe('MOV to CR0 (SDM vol. 3A 2.5, APM vol. 2 3.1.1)', () => {
  it('refuses PG without PE and NW without CD', () => {
    expect(gp(writeCr0(oracleCpu(), ram(), CR0.PG))).toBe(true);
    expect(gp(writeCr0(oracleCpu(), ram(), CR0.PE | CR0.NW))).toBe(true);
    expect(gp(writeCr0(oracleCpu(), ram(), CR0.PE | CR0.NW | CR0.CD))).toBe(false);
    expect(gp(writeCr0(oracleCpu(), ram(), CR0.PE | CR0.CD))).toBe(false);
  });

  it('refuses bits 63:32, ignores the reserved ones below, and keeps ET', () => {
    expect(gp(writeCr0(oracleCpu(), ram(), CR0.PE | (1n << 32n)))).toBe(true);
    expect(cpuAfter(writeCr0(oracleCpu(), ram(), 0x1ffa_ffc1n)).cr0).toBe(CR0.PE | CR0.ET);
  });

  it('refuses any CPL but 0', () => {
    expect(gp(writeCr0(oracleCpu({ cpl: 3 }), ram(), CR0.PE))).toBe(true);
    expect(gp(writeCr3(oracleCpu({ cpl: 1 }), ram(), 0n))).toBe(true);
    expect(gp(writeCr4(oracleCpu({ cpl: 2 }), ram(), 0n))).toBe(true);
    expect(gp(writeEfer(oracleCpu({ cpl: 3 }), 0n))).toBe(true);
  });

  it('loads PDPTEs when it turns PAE paging on, and refuses illegal ones', () => {
    const memory = ram();
    entries64(memory, 0x1000n, 0x2001n, 0x1008n, 0x3001n);
    const off = oracleCpu({ cr3: 0x1000n, cr4: CR4.PAE });
    expect(cpuAfter(writeCr0(off, memory, PE_PG)).pdptes).toEqual([0x2001n, 0x3001n, 0n, 0n]);
    entries64(memory, 0x1018n, P | 2n);
    expect(gp(writeCr0(off, memory, PE_PG))).toBe(true);
    // On processors that read PDPTEs on use nothing is checked (APM vol. 2 5.5.3).
    expect(gp(writeCr0({ ...off, pdptesInMemory: true }, memory, PE_PG))).toBe(false);
    // 2-level paging has no PDPTEs.
    expect(gp(writeCr0({ ...off, cr4: 0n }, memory, PE_PG))).toBe(false);
  });

  it('keeps WP while CR4.CET is set, and the other way round', () => {
    const features = oracleFeatures({ cet: true });
    expect(gp(writeCr0(twoLevel({ features }, CR4.CET), ram(), PE_PG))).toBe(true);
    expect(gp(writeCr0(twoLevel({ features }, CR4.CET), ram(), PE_PG | CR0.WP))).toBe(false);
    expect(gp(writeCr0(twoLevel({ features }), ram(), PE_PG))).toBe(false);
    expect(gp(writeCr4(twoLevel({ features }), ram(), CR4.CET))).toBe(false);
    expect(gp(writeCr4(twoLevel({ features, cr0: PE_PG }), ram(), CR4.CET))).toBe(true);
  });

  it('enters long mode: LME needs PAE and CS.L = 0, and LMA follows', () => {
    const features = oracleFeatures({ longMode: true });
    const lme = oracleCpu({ efer: EFER.LME, features, cr4: CR4.PAE });
    expect(cpuAfter(writeCr0(lme, ram(), PE_PG)).efer).toBe(EFER.LME | EFER.LMA);
    expect(gp(writeCr0({ ...lme, cr4: 0n }, ram(), PE_PG))).toBe(true);
    expect(gp(writeCr0({ ...lme, csLong: true }, ram(), PE_PG))).toBe(true);
    const compatibility = fourLevel({ csLong: false });
    expect(cpuAfter(writeCr0(compatibility, ram(), CR0.PE)).efer & EFER.LMA).toBe(0n);
    expect(gp(writeCr0(fourLevel(), ram(), CR0.PE))).toBe(true);
  });

  it('flushes everything when PG changes, nothing for WP', () => {
    expect(flushes(writeCr0(twoLevel(), ram(), CR0.PE))).toEqual({ translations: 'all', everyPcid: true });
    expect(flushes(writeCr0(twoLevel(), ram(), PE_PG))).toEqual({ translations: 'none', everyPcid: false });
  });
});

describe('MOV to CR3 (SDM vol. 3A 2.5, 4.10.4.1)', () => {
  it('flushes translations that are not global', () => {
    const write = writeCr3(twoLevel(), ram(), 0x5018n);
    expect(cpuAfter(write).cr3).toBe(0x5018n);
    expect(flushes(write)).toEqual({ translations: 'non-global', everyPcid: false });
  });

  it('loads PDPTEs under PAE paging even if the value is the same, and refuses illegal ones unchanged', () => {
    const memory = ram();
    entries64(memory, 0x1000n, 0x8001n);
    expect(cpuAfter(writeCr3(pae(), memory, 0x1000n)).pdptes[0]).toBe(0x8001n);
    entries64(memory, 0x1000n, 0x8001n | (1n << 63n));
    expect(gp(writeCr3(pae(), memory, 0x1000n))).toBe(true);
    expect(gp(writeCr3(twoLevel(), memory, 0x1000n))).toBe(false);
  });

  it('refuses bits above MAXPHYADDR in 64-bit mode', () => {
    expect(gp(writeCr3(fourLevel(), ram(), 1n << 40n))).toBe(true);
    expect(gp(writeCr3(fourLevel(), ram(), 1n << 39n))).toBe(false);
    expect(gp(writeCr3(fourLevel(), ram(), 1n << 63n))).toBe(true);
  });

  it('with CR4.PCIDE takes bit 63 as a wish to keep translations (4.10.4.1)', () => {
    const cpu = fourLevel({}, CR4.PCIDE);
    const write = writeCr3(cpu, ram(), (1n << 63n) | 0x5007n);
    expect(cpuAfter(write).cr3).toBe(0x5007n);
    expect(flushes(write)).toEqual({ translations: 'none', everyPcid: false });
  });

  it('on a task switch does something only if the value changes', () => {
    const memory = ram();
    entries64(memory, 0x1000n, 0x8001n, 0x2000n, 0x9001n);
    expect(taskSwitchCr3(pae(), memory, 0x1000n)).toMatchObject({
      pdptesLoaded: false,
      invalidates: { translations: 'none' },
    });
    const write = taskSwitchCr3(pae(), memory, 0x2000n);
    expect(write).toMatchObject({ pdptesLoaded: true, invalidates: { translations: 'non-global' } });
    expect(cpuAfter(write).pdptes[0]).toBe(0x9001n);
  });
});

describe('MOV to CR4 (SDM vol. 3A 2.5, APM vol. 2 3.1.3)', () => {
  it('refuses each bit whose feature is missing', () => {
    const pairs = [
      ['vme', CR4.VME],
      ['vme', CR4.PVI],
      ['tsc', CR4.TSD],
      ['de', CR4.DE],
      ['pse', CR4.PSE],
      ['pae', CR4.PAE],
      ['mce', CR4.MCE],
      ['pge', CR4.PGE],
      ['performanceCounters', CR4.PCE],
      ['fxsr', CR4.OSFXSR],
      ['sse', CR4.OSXMMEXCPT],
      ['umip', CR4.UMIP],
      ['smep', CR4.SMEP],
      ['smap', CR4.SMAP],
      ['pku', CR4.PKE],
      ['la57', CR4.LA57],
      ['vmx', CR4.VMXE],
      ['smx', CR4.SMXE],
      ['fsgsbase', CR4.FSGSBASE],
      ['xsave', CR4.OSXSAVE],
    ] as const;
    for (const [feature, bit] of pairs) {
      const without = oracleCpu({ features: oracleFeatures({ [feature]: false }) });
      const withIt = oracleCpu({ features: oracleFeatures({ [feature]: true }) });
      expect(gp(writeCr4(without, ram(), bit)), feature).toBe(true);
      expect(gp(writeCr4(withIt, ram(), bit)), feature).toBe(false);
    }
    for (const bit of [15n, 19n, 25n, 31n, 32n, 63n])
      expect(gp(writeCr4(oracleCpu(), ram(), 1n << bit))).toBe(true);
  });

  it('loads PDPTEs when PAE is set under paging, and refuses illegal ones', () => {
    const memory = ram();
    entries64(memory, 0x1000n, 0x2001n);
    expect(cpuAfter(writeCr4(twoLevel(), memory, CR4.PAE)).pdptes[0]).toBe(0x2001n);
    entries64(memory, 0x1008n, 0x2001n | (1n << 5n));
    expect(gp(writeCr4(twoLevel(), memory, CR4.PAE))).toBe(true);
    // SMAP does not load them, so they are not looked at (4.4.1); PGE does.
    expect(gp(writeCr4(pae(), memory, CR4.PAE | CR4.SMAP))).toBe(false);
    expect(gp(writeCr4(pae(), memory, CR4.PAE | CR4.PGE))).toBe(true);
  });

  it('AMD flushes everything for PGE, PSE and PAE, nothing for SMEP and SMAP (APM vol. 2 5.5.3)', () => {
    const all = { translations: 'all', everyPcid: true };
    const none = { translations: 'none', everyPcid: false };
    for (const bit of [CR4.PGE, CR4.PSE, CR4.PAE])
      expect(flushes(writeCr4(twoLevel(), ram(), bit))).toEqual(all);
    for (const bit of [CR4.SMEP, CR4.SMAP, CR4.TSD])
      expect(flushes(writeCr4(twoLevel(), ram(), bit))).toEqual(none);
    expect(flushes(writeCr4(twoLevel({}, CR4.PGE), ram(), 0n))).toEqual(all);
  });

  it('Intel flushes for PGE, PAE and SMEP 0 to 1, not for PSE (SDM vol. 3A 4.10.4.1)', () => {
    const features = oracleFeatures({ vendor: 'intel' });
    const write = (from: bigint, to: bigint) => flushes(writeCr4(twoLevel({ features }, from), ram(), to));
    expect(write(0n, CR4.PGE)).toEqual({ translations: 'all', everyPcid: true });
    expect(write(0n, CR4.PAE)).toEqual({ translations: 'all', everyPcid: false });
    expect(write(0n, CR4.SMEP)).toEqual({ translations: 'all', everyPcid: false });
    expect(write(CR4.SMEP, 0n)).toEqual({ translations: 'none', everyPcid: false });
    expect(write(0n, CR4.PSE)).toEqual({ translations: 'none', everyPcid: false });
  });

  it('keeps PAE and LA57 in long mode, and PCIDE out of everything else', () => {
    expect(gp(writeCr4(fourLevel(), ram(), 0n))).toBe(true);
    expect(gp(writeCr4(fourLevel(), ram(), CR4.PAE | CR4.LA57))).toBe(true);
    const features = oracleFeatures({ longMode: true, pcid: true });
    expect(gp(writeCr4(pae({ features }), ram(), CR4.PAE | CR4.PCIDE))).toBe(true);
    expect(gp(writeCr4(fourLevel({ features, cr3: 0x1008n }), ram(), CR4.PAE | CR4.PCIDE))).toBe(true);
    expect(gp(writeCr4(fourLevel({ features, cr3: 0x1000n }), ram(), CR4.PAE | CR4.PCIDE))).toBe(false);
    // And CR0.PG cannot go while it is set.
    expect(gp(writeCr0(fourLevel({ csLong: false }, CR4.PCIDE), ram(), CR0.PE))).toBe(true);
    expect(gp(writeCr0(fourLevel({ csLong: false }, CR4.PCIDE), ram(), PE_PG))).toBe(false);
  });
});

describe('WRMSR EFER (APM vol. 2 3.1.7)', () => {
  it('refuses NXE, SVME, LME and others where the processor lacks them', () => {
    const bare = oracleCpu({
      features: oracleFeatures({ nx: false, svm: false, syscall: false, ffxsr: false }),
    });
    for (const bit of [
      EFER.NXE,
      EFER.SVME,
      EFER.SCE,
      EFER.FFXSR,
      EFER.LME,
      EFER.LMA,
      EFER.TCE,
      1n << 1n,
      1n << 32n,
    ]) {
      expect(gp(writeEfer(bare, bit)), bit.toString(16)).toBe(true);
    }
    expect(cpuAfter(writeEfer(oracleCpu(), EFER.NXE | EFER.SVME)).efer).toBe(EFER.NXE | EFER.SVME);
  });

  it('refuses a change of LME under paging, and ignores LMA', () => {
    const features = oracleFeatures({ longMode: true });
    expect(gp(writeEfer(pae({ features }), EFER.LME | EFER.NXE))).toBe(true);
    expect(gp(writeEfer(fourLevel(), EFER.LMA))).toBe(true);
    expect(cpuAfter(writeEfer(oracleCpu({ features }), EFER.LMA)).efer).toBe(0n);
    expect(cpuAfter(writeEfer(fourLevel(), EFER.LME)).efer).toBe(EFER.LME | EFER.LMA);
  });

  it('flushes nothing', () => {
    expect(flushes(writeEfer(pae(), 0n))).toEqual({ translations: 'none', everyPcid: false });
  });
});
