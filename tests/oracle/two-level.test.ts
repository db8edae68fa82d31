import { describe, expect, it } from 'vitest';
import { CR4 } from '../../src/oracle/bits.ts';
import { oracleCpu, oracleFeatures } from '../../src/oracle/cpu.ts';
import { translate } from '../../src/oracle/translate.ts';
import { A, D, entries32, P, PS, ram, short, twoLevel, U, W } from './helpers.ts';

const read = { kind: 'read' } as const;
const write = { kind: 'write' } as const;

describe('paging off (SDM vol. 3A 4.1.1)', () => {
  it('uses the linear address, 32 bits of it, as the physical one', () => {
    expect(translate(oracleCpu(), ram(), 0x1_2345_6789n, write)).toEqual({
      outcome: 'ok',
      address: 0x2345_6789n,
      pageSize: null,
      writes: [],
    });
  });
});

describe('4-KByte pages of 32-bit paging (SDM vol. 3A 4.3, figure 4-2)', () => {
  // Linear 0x00c0_5678: PDE index 3, PTE index 5, offset 0x678.
  const linear = 0x00c0_5678n;

  it('goes CR3, PDE, PTE and sets both accessed flags', () => {
    const memory = ram();
    entries32(memory, 0x100cn, 0x2000n | P | W | U, 0x2014n, 0x7_7000n | P | W | U);
    expect(translate(twoLevel(), memory, linear, read)).toEqual({
      outcome: 'ok',
      address: 0x7_7678n,
      pageSize: 4096,
      writes: [
        { address: 0x100cn, width: 4, before: 0x2007n, after: 0x2027n },
        { address: 0x2014n, width: 4, before: 0x7_7007n, after: 0x7_7027n },
      ],
    });
  });

  it('sets dirty in the PTE only, and only for a write (4.8)', () => {
    const memory = ram();
    entries32(memory, 0x100cn, 0x2000n | P | W | U | A, 0x2014n, 0x7_7000n | P | W | U);
    expect(translate(twoLevel(), memory, linear, write)).toMatchObject({
      writes: [{ address: 0x2014n, after: 0x7_7000n | P | W | U | A | D }],
    });
  });

  it('takes bits 31:12 of CR3 and ignores the rest', () => {
    const memory = ram();
    entries32(memory, 0x100cn, 0x2000n | P | W | U, 0x2014n, 0x7_7000n | P | W | U);
    expect(short(translate(twoLevel({ cr3: 0x1fffn }), memory, linear, read))).toBe('0x77678');
  });

  it('faults with P = 0 at the level that is absent, and may leave the flag above set (4.7)', () => {
    const memory = ram();
    expect(translate(twoLevel(), memory, linear, read)).toEqual({
      outcome: 'fault',
      vector: 14,
      errorCode: 0,
      cr2: linear,
      mayWrite: [],
    });
    entries32(memory, 0x100cn, 0x2000n | P);
    expect(translate(twoLevel({ cpl: 3 }), memory, linear, write)).toEqual({
      outcome: 'fault',
      vector: 14,
      errorCode: 6,
      cr2: linear,
      mayWrite: [{ address: 0x100cn, width: 4, before: 0x2001n, after: 0x2021n }],
    });
  });

  it('ignores PS of a PDE without CR4.PSE', () => {
    const memory = ram();
    entries32(memory, 0x100cn, 0x2000n | P | W | PS, 0x2014n, 0x7_7000n | P | W);
    expect(short(translate(twoLevel(), memory, linear, read))).toBe('0x77678');
  });

  it('has no execute-disable: NXE changes nothing, and a fetch is reported only under SMEP (4.7)', () => {
    const memory = ram();
    entries32(memory, 0x100cn, 0x2000n | P);
    const cpu = twoLevel({ efer: 0x800n });
    expect(short(translate(cpu, memory, linear, { kind: 'fetch' }))).toBe('#14(0x0)');
    const smep = twoLevel({}, CR4.SMEP);
    expect(short(translate(smep, memory, linear, { kind: 'fetch' }))).toBe('#14(0x10)');
  });

  it('reads all ones where there is no memory: present, writable, user, and nothing to update', () => {
    const memory = ram();
    const outside = twoLevel({ cr3: 0x200_0000n });
    // PDE and PTE are both 0xffff_ffff; the page is the last one of the 4 GiB.
    expect(translate(outside, memory, linear, write)).toMatchObject({ address: 0xffff_f678n, writes: [] });
  });

  it('walks a table that maps itself, and reports one update for the entry used twice', () => {
    const memory = ram();
    // PDE 3 points to the page directory itself, which then serves as page table: index 5 of it is PDE 5.
    entries32(memory, 0x100cn, 0x1000n | P | W, 0x1014n, 0x9000n | P | W);
    expect(short(translate(twoLevel(), memory, linear, read))).toBe('0x9678');
    // Linear 0x00c0_3000 uses PDE 3 as both.
    expect(translate(twoLevel(), memory, 0xc0_3004n, write)).toMatchObject({
      address: 0x1004n,
      writes: [{ address: 0x100cn, width: 4, before: 0x1003n, after: 0x1000n | P | W | A | D }],
    });
  });
});

describe('4-MByte pages (SDM vol. 3A 4.3, table 4-4; APM vol. 2 5.2.2)', () => {
  const linear = 0x00d2_3456n; // PDE 3, offset 0x12_3456
  const pse = (maxPhyAddr = 40, features = oracleFeatures()) => twoLevel({ maxPhyAddr, features }, CR4.PSE);
  const at = (pde: bigint, cpu = pse()) => {
    const memory = ram();
    entries32(memory, 0x100cn, pde);
    return translate(cpu, memory, linear, read);
  };

  it('takes PDE bits 31:22 and the low 22 bits of the linear address', () => {
    expect(at(0x0280_0000n | P | PS)).toMatchObject({ address: 0x0292_3456n, pageSize: 0x40_0000 });
  });

  it('sets A and D in the PDE', () => {
    const memory = ram();
    entries32(memory, 0x100cn, 0x0280_0000n | P | W | PS);
    expect(translate(pse(), memory, linear, write)).toMatchObject({
      writes: [{ address: 0x100cn, after: 0x0280_0000n | P | W | PS | A | D }],
    });
  });

  it('PSE-36: PDE bits 20:13 are physical address bits 39:32', () => {
    expect(short(at(P | PS | (0xa5n << 13n)))).toBe('0xa500123456');
  });

  it('reserves bit 21, and bits above MAXPHYADDR: 21:17 for 36 bits', () => {
    expect(short(at(P | PS | (1n << 21n)))).toBe('#14(0x9)');
    expect(short(at(P | PS | (1n << 16n), pse(36)))).toBe('0x800123456');
    for (const bit of [17n, 18n, 19n, 20n, 21n])
      expect(short(at(P | PS | (1n << bit), pse(36)))).toBe('#14(0x9)');
  });

  it('never uses more than 40 bits, whatever MAXPHYADDR', () => {
    expect(short(at(P | PS | (1n << 20n), pse(52)))).toBe('0x8000123456');
    expect(short(at(P | PS | (1n << 21n), pse(52)))).toBe('#14(0x9)');
  });

  it('without PSE-36 reserves bits 21:13', () => {
    const cpu = pse(40, oracleFeatures({ pse36: false }));
    for (const bit of [13n, 16n, 20n, 21n]) expect(short(at(P | PS | (1n << bit), cpu))).toBe('#14(0x9)');
    expect(short(at(P | PS, cpu))).toBe('0x123456');
  });

  it('without PAT reserves bit 12 of a large PDE and bit 7 of a PTE, but none with CR4.PSE = 0', () => {
    const features = oracleFeatures({ pat: false });
    expect(short(at(P | PS | (1n << 12n), pse(40, features)))).toBe('#14(0x9)');
    expect(short(at(P | PS | (1n << 12n)))).toBe('0x123456');
    const memory = ram();
    // Linear 0x00d2_3456: PTE index 0x123, at 0x248c of the table at 0x2000.
    entries32(memory, 0x100cn, 0x2000n | P, 0x248cn, 0x5000n | P | (1n << 7n));
    expect(short(translate(pse(40, features), memory, linear, read))).toBe('#14(0x9)');
    expect(short(translate(pse(), memory, linear, read))).toBe('0x5456');
    expect(short(translate(twoLevel({ features }), memory, linear, read))).toBe('0x5456');
  });

  it('does not look at reserved bits of an absent entry (4.7)', () => {
    expect(short(at(PS | (1n << 21n)))).toBe('#14(0x0)');
  });

  it('looks at reserved bits before rights', () => {
    const memory = ram();
    entries32(memory, 0x100cn, P | PS | (1n << 21n));
    expect(short(translate({ ...pse(), cpl: 3 }, memory, linear, write))).toBe('#14(0xf)');
  });
});
