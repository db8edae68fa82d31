import { describe, expect, it } from 'vitest';
import { CR4, EFER } from '../../src/oracle/bits.ts';
import { oracleFeatures } from '../../src/oracle/cpu.ts';
import { translate } from '../../src/oracle/translate.ts';
import { A, D, entries64, fourLevel, NX, P, PS, ram, short, U, W } from './helpers.ts';

const read = { kind: 'read' } as const;
const write = { kind: 'write' } as const;
// PML5 index 1, PML4 2, PDPT 3, PD 4, PT 5, offset 0x678.
const low = (2n << 39n) | (3n << 30n) | (4n << 21n) | (5n << 12n) | 0x678n;
const high = (1n << 48n) | low;

function tables(changes: Partial<Record<'pml4e' | 'pdpte' | 'pde' | 'pte', bigint>> = {}) {
  const memory = ram();
  entries64(
    memory,
    0x1010n,
    changes.pml4e ?? 0x2000n | P | W | U | A,
    0x2018n,
    changes.pdpte ?? 0x3000n | P | W | U | A,
    0x3020n,
    changes.pde ?? 0x4000n | P | W | U | A,
    0x4028n,
    changes.pte ?? 0xab_cdef_0000n | P | W | U,
  );
  return memory;
}

describe('4-level paging (SDM vol. 3A 4.5)', () => {
  it('goes through four tables', () => {
    expect(translate(fourLevel(), tables(), low, write)).toEqual({
      outcome: 'ok',
      address: 0xab_cdef_0678n,
      pageSize: 4096,
      writes: [
        { address: 0x4028n, width: 8, before: 0xab_cdef_0007n, after: 0xab_cdef_0000n | P | W | U | A | D },
      ],
    });
  });

  it('maps 2 MBytes and 1 GByte', () => {
    expect(translate(fourLevel(), tables({ pde: 0x20_0000n | P | PS }), low, read)).toMatchObject({
      address: 0x20_5678n,
      pageSize: 0x20_0000,
    });
    expect(translate(fourLevel(), tables({ pdpte: 0x4000_0000n | P | PS }), low, read)).toMatchObject({
      address: 0x4080_5678n,
      pageSize: 0x4000_0000,
    });
  });

  it('reserves PDPTE.PS without 1-GByte pages, and PML4E.PS always', () => {
    const features = oracleFeatures({ longMode: true });
    expect(short(translate(fourLevel({ features }), tables({ pdpte: P | PS }), low, read))).toBe('#14(0x9)');
    expect(short(translate(fourLevel(), tables({ pml4e: 0x2000n | P | PS }), low, read))).toBe('#14(0x9)');
  });

  it('reserves PML4E bit 8 on AMD (APM vol. 2 figure 5-20) and ignores it on Intel', () => {
    const memory = tables({ pml4e: 0x2000n | P | W | U | A | 0x100n });
    expect(short(translate(fourLevel(), memory, low, read))).toBe('#14(0x9)');
    const features = oracleFeatures({ longMode: true, vendor: 'intel' });
    expect(short(translate(fourLevel({ features }), memory, low, read))).toBe('0xabcdef0678');
  });

  it('reserves bits 51:MAXPHYADDR but not 62:52, and the low address bits of large pages', () => {
    expect(short(translate(fourLevel(), tables({ pte: P | (1n << 40n) }), low, read))).toBe('#14(0x9)');
    expect(short(translate(fourLevel(), tables({ pte: P | (0x7ffn << 52n) }), low, read))).toBe('0x678');
    expect(short(translate(fourLevel(), tables({ pde: P | PS | (1n << 13n) }), low, read))).toBe('#14(0x9)');
    expect(short(translate(fourLevel(), tables({ pdpte: P | PS | (1n << 29n) }), low, read))).toBe(
      '#14(0x9)',
    );
    expect(short(translate(fourLevel(), tables({ pdpte: P | PS | (1n << 12n) }), low, read))).toBe(
      '0x805678',
    );
  });

  it('treats bit 63 by NXE at every level', () => {
    for (const level of ['pml4e', 'pdpte', 'pde', 'pte'] as const) {
      const next = { pml4e: 0x2000n, pdpte: 0x3000n, pde: 0x4000n, pte: 0x5000n }[level];
      const memory = tables({ [level]: next | P | W | U | A | NX });
      expect(short(translate(fourLevel(), memory, low, { kind: 'fetch' }))).toBe('#14(0x11)');
      const noNxe = fourLevel({ efer: EFER.LME | EFER.LMA });
      expect(short(translate(noNxe, memory, low, read))).toBe('#14(0x9)');
    }
  });

  it('raises #GP, not #PF, for addresses that are not canonical (4.5.2), and leaves CR2 alone', () => {
    for (const linear of [1n << 47n, 0xfffe_ffff_ffff_ffffn, high]) {
      expect(translate(fourLevel(), tables(), linear, read)).toEqual({
        outcome: 'fault',
        vector: 13,
        errorCode: 0,
        cr2: null,
        mayWrite: [],
      });
    }
    expect(short(translate(fourLevel(), tables(), 0xffff_8000_0000_0000n, read))).toBe('#14(0x0)');
  });
});

describe('5-level paging (SDM vol. 3A 4.5)', () => {
  const cpu = fourLevel({ cr3: 0x8000n }, CR4.LA57);
  it('adds the PML5 table', () => {
    const memory = tables();
    entries64(memory, 0x8008n, 0x1000n | P | W | U);
    expect(translate(cpu, memory, high, read)).toMatchObject({
      address: 0xab_cdef_0678n,
      writes: [
        { address: 0x8008n, after: 0x1000n | P | W | U | A },
        { address: 0x4028n, after: 0xab_cdef_0000n | P | W | U | A },
      ],
    });
  });

  it('is canonical by bit 56', () => {
    expect(short(translate(cpu, ram(), 1n << 55n, read))).toBe('#14(0x0)');
    expect(short(translate(cpu, ram(), 1n << 56n, read))).toBe('#13(0x0)');
    expect(short(translate(cpu, ram(), 0xff00_0000_0000_0000n, read))).toBe('#14(0x0)');
  });
});

describe('protection keys (SDM vol. 3A 4.6.2, APM vol. 2 5.6.7)', () => {
  const key3 = 0x5000n | P | W | U | (3n << 59n);
  const cpu = (pkru: number, more: Parameters<typeof fourLevel>[0] = {}) =>
    fourLevel({ pkru, ...more }, CR4.PKE);

  it('access-disable forbids data accesses, not fetches, and sets PK', () => {
    expect(short(translate(cpu(1 << 6, { cpl: 3 }), tables({ pte: key3 }), low, read))).toBe('#14(0x25)');
    expect(short(translate(cpu(1 << 6), tables({ pte: key3 }), low, read))).toBe('#14(0x21)');
    expect(short(translate(cpu(1 << 6, { cpl: 3 }), tables({ pte: key3 }), low, { kind: 'fetch' }))).toBe(
      '0x5678',
    );
  });

  it('write-disable forbids writes; supervisor writes only with CR0.WP', () => {
    expect(short(translate(cpu(1 << 7, { cpl: 3 }), tables({ pte: key3 }), low, write))).toBe('#14(0x27)');
    expect(short(translate(cpu(1 << 7), tables({ pte: key3 }), low, write))).toBe('#14(0x23)');
    expect(short(translate(cpu(1 << 7, { cr0: 0x8000_0001n }), tables({ pte: key3 }), low, write))).toBe(
      '0x5678',
    );
    expect(short(translate(cpu(1 << 7, { cpl: 3 }), tables({ pte: key3 }), low, read))).toBe('0x5678');
  });

  it('does not reach supervisor-mode addresses, other keys, or CR4.PKE = 0', () => {
    expect(short(translate(cpu(3 << 6), tables({ pte: key3 & ~U }), low, write))).toBe('0x5678');
    expect(short(translate(cpu(3 << 8), tables({ pte: key3 }), low, write))).toBe('0x5678');
    expect(short(translate(fourLevel({ pkru: 3 << 6 }), tables({ pte: key3 }), low, write))).toBe('0x5678');
  });
});
