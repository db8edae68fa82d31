import { describe, expect, it } from 'vitest';
import { CR4, EFER } from '../../src/oracle/bits.ts';
import { oracleFeatures } from '../../src/oracle/cpu.ts';
import { loadPdptes, pdptesAreLoaded } from '../../src/oracle/pdptes.ts';
import { translate } from '../../src/oracle/translate.ts';
import { A, D, entries64, NX, P, PS, pae, ram, short, twoLevel, U, W } from './helpers.ts';

const read = { kind: 'read' } as const;
const write = { kind: 'write' } as const;
const fetch = { kind: 'fetch' } as const;
// Linear 0x00c0_5678: PDPTE 0, PDE index 6, PTE index 5.
const linear = 0x00c0_5678n;

describe('PAE paging (SDM vol. 3A 4.4)', () => {
  it('goes PDPTE register, PDE, PTE; CR3 and the table it points to do not matter', () => {
    const memory = ram();
    entries64(memory, 0x2030n, 0x3000n | P | W | U, 0x3028n, 0x12_3456_7000n | P | W | U);
    expect(translate(pae({ cr3: 0xf00000n }), memory, linear, write)).toEqual({
      outcome: 'ok',
      address: 0x12_3456_7678n,
      pageSize: 4096,
      writes: [
        { address: 0x2030n, width: 8, before: 0x3007n, after: 0x3027n },
        { address: 0x3028n, width: 8, before: 0x12_3456_7007n, after: 0x12_3456_7000n | P | W | U | A | D },
      ],
    });
  });

  it('faults with P = 0 where the PDPTE register has P = 0, ignoring its other bits', () => {
    const cpu = pae({ pdptes: [~1n & ((1n << 64n) - 1n), 0n, 0n, 0n] });
    expect(translate(cpu, ram(), linear, write)).toMatchObject({ errorCode: 2, cr2: linear, mayWrite: [] });
  });

  it('picks the PDPTE by bits 31:30', () => {
    const memory = ram();
    entries64(memory, 0x4030n, 0x3000n | P, 0x3028n, 0x7000n | P);
    const cpu = pae({ pdptes: [0n, 0n, 0n, 0x4000n | P] });
    expect(short(translate(cpu, memory, linear + 0xc000_0000n, read))).toBe('0x7678');
    expect(short(translate(cpu, memory, linear, read))).toBe('#14(0x0)');
  });

  it('maps 2-MByte pages with PDE.PS, whatever CR4.PSE', () => {
    const memory = ram();
    entries64(memory, 0x2030n, 0x3f_ffe0_0000n | P | W | PS);
    expect(translate(pae(), memory, linear, write)).toMatchObject({
      address: 0x3f_ffe0_5678n,
      pageSize: 0x20_0000,
      writes: [{ address: 0x2030n, after: 0x3f_ffe0_0000n | P | W | PS | A | D }],
    });
  });

  it('reserves bits 62:MAXPHYADDR in PDE and PTE', () => {
    for (const bit of [40n, 51n, 52n, 58n, 62n]) {
      const pde = ram();
      entries64(pde, 0x2030n, 0x3000n | P | (1n << bit));
      expect(short(translate(pae(), pde, linear, read)), `PDE bit ${bit}`).toBe('#14(0x9)');
      const pte = ram();
      entries64(pte, 0x2030n, 0x3000n | P, 0x3028n, 0x7000n | P | (1n << bit));
      expect(short(translate(pae(), pte, linear, read)), `PTE bit ${bit}`).toBe('#14(0x9)');
    }
    const memory = ram();
    entries64(memory, 0x2030n, 0x3000n | P, 0x3028n, 0x7000n | P | (1n << 39n));
    expect(short(translate(pae(), memory, linear, read))).toBe('0x8000007678');
    expect(short(translate(pae({ maxPhyAddr: 39 }), memory, linear, read))).toBe('#14(0x9)');
  });

  it('reserves bits 20:13 of a 2-MByte PDE, and bit 12 without PAT', () => {
    for (const bit of [13n, 17n, 20n]) {
      const memory = ram();
      entries64(memory, 0x2030n, P | PS | (1n << bit));
      expect(short(translate(pae(), memory, linear, read))).toBe('#14(0x9)');
    }
    const memory = ram();
    entries64(memory, 0x2030n, P | PS | (1n << 12n));
    expect(short(translate(pae(), memory, linear, read))).toBe('0x5678');
    const noPat = pae({ features: oracleFeatures({ pat: false }) });
    expect(short(translate(noPat, memory, linear, read))).toBe('#14(0x9)');
  });

  it('NXE decides about bit 63: execute-disable at either level, or reserved', () => {
    for (const [pde, pte] of [
      [NX, 0n],
      [0n, NX],
    ] as const) {
      const memory = ram();
      entries64(memory, 0x2030n, 0x3000n | P | W | pde, 0x3028n, 0x7000n | P | W | pte);
      expect(short(translate(pae(), memory, linear, write))).toBe('0x7678');
      expect(short(translate(pae(), memory, linear, fetch))).toBe('#14(0x11)');
      // Reserved bits fault any access, and the fetch is not reported (4.7).
      expect(short(translate(pae({ efer: 0n }), memory, linear, read))).toBe('#14(0x9)');
      expect(short(translate(pae({ efer: 0n }), memory, linear, fetch))).toBe('#14(0x9)');
    }
  });

  it('reports the first bad level: reserved above absent, absent above reserved', () => {
    const reservedAbove = ram();
    entries64(reservedAbove, 0x2030n, 0x3000n | P | (1n << 45n));
    expect(short(translate(pae(), reservedAbove, linear, read))).toBe('#14(0x9)');
    const absentAbove = ram();
    entries64(absentAbove, 0x2030n, 0x3000n, 0x3028n, P | (1n << 45n));
    expect(short(translate(pae(), absentAbove, linear, read))).toBe('#14(0x0)');
  });

  it('goes on through a level without rights to an absent one: P = 0 (4.7)', () => {
    const memory = ram();
    entries64(memory, 0x2030n, 0x3000n | P); // supervisor, read-only
    expect(short(translate(pae({ cpl: 3 }), memory, linear, write))).toBe('#14(0x6)');
  });
});

describe('PDPTEs in memory (APM vol. 2 5.5.3, 15.25.10)', () => {
  const cpu = pae({ pdptesInMemory: true, cr3: 0x1020n });

  it('are read at the 32-byte aligned address in CR3, and have no accessed flag', () => {
    const memory = ram();
    entries64(memory, 0x1020n, 0x2000n | P, 0x2030n, 0x3000n | P | A, 0x3028n, 0x7000n | P | A);
    expect(translate(cpu, memory, linear, read)).toMatchObject({ address: 0x7678n, writes: [] });
  });

  it('raise #PF with RSVD for reserved bits 2:1, 8:5, 63:MAXPHYADDR', () => {
    for (const bit of [1n, 2n, 5n, 6n, 7n, 8n, 40n, 63n]) {
      const memory = ram();
      entries64(memory, 0x1020n, 0x2000n | P | (1n << bit));
      expect(short(translate(cpu, memory, linear, read)), `bit ${bit}`).toBe('#14(0x9)');
    }
  });
});

describe('loading PDPTEs (SDM vol. 3A 4.4.1)', () => {
  it('takes four entries at CR3[31:5]', () => {
    const memory = ram();
    entries64(memory, 0x1fe0n, 0x2001n, 0x1fe8n, 0x3001n, 0x1ff0n, 0x0n, 0x1ff8n, 0x5001n | 0xe18n);
    expect(loadPdptes(pae(), memory, 0x1fffn)).toEqual([0x2001n, 0x3001n, 0n, 0x5e19n]);
  });

  it('refuses reserved bits of present entries only', () => {
    for (const bit of [1n, 2n, 5n, 8n, 40n, 52n, 63n]) {
      const memory = ram();
      entries64(memory, 0x1010n, P | (1n << bit));
      expect(loadPdptes(pae(), memory, 0x1000n), `bit ${bit}`).toBeUndefined();
      entries64(memory, 0x1010n, 1n << bit);
      expect(loadPdptes(pae(), memory, 0x1000n)).toEqual([0n, 0n, 1n << bit, 0n]);
    }
  });

  it('happens on every MOV to CR3 under PAE paging, and on a task switch that changes CR3', () => {
    expect(pdptesAreLoaded(pae(), pae(), 'cr3')).toBe(true);
    expect(pdptesAreLoaded(pae(), pae(), 'task switch')).toBe(false);
    expect(pdptesAreLoaded(pae(), pae({ cr3: 0x9000n }), 'task switch')).toBe(true);
    expect(pdptesAreLoaded(twoLevel(), twoLevel(), 'cr3')).toBe(false);
  });

  it('happens on MOV to CR4 for PGE, PSE, PAE and SMEP, not for SMAP or TSD', () => {
    for (const bit of [CR4.PGE, CR4.PSE, CR4.SMEP])
      expect(pdptesAreLoaded(pae(), pae({}, bit), 'cr4')).toBe(true);
    for (const bit of [CR4.SMAP, CR4.TSD, CR4.PKE])
      expect(pdptesAreLoaded(pae(), pae({}, bit), 'cr4')).toBe(false);
    expect(pdptesAreLoaded(twoLevel(), pae(), 'cr4')).toBe(true);
    expect(pdptesAreLoaded(pae(), twoLevel(), 'cr4')).toBe(false);
  });

  it('happens on MOV to CR0 for PG, CD and NW, not for WP or TS', () => {
    const off = pae({ cr0: 1n });
    const on = pae({ cr0: 0x8000_0001n });
    expect(pdptesAreLoaded(off, on, 'cr0')).toBe(true);
    expect(pdptesAreLoaded(on, off, 'cr0')).toBe(false);
    expect(pdptesAreLoaded(on, pae({ cr0: 0xc000_0001n }), 'cr0')).toBe(true);
    expect(pdptesAreLoaded(on, pae({ cr0: 0x8001_0009n }), 'cr0')).toBe(false);
  });

  it('never happens where PDPTEs stay in memory or in long mode', () => {
    expect(pdptesAreLoaded(pae(), pae({ pdptesInMemory: true }), 'cr3')).toBe(false);
    expect(pdptesAreLoaded(pae(), pae({ efer: EFER.LME }), 'cr3')).toBe(false);
  });
});
