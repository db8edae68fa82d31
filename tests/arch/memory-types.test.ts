import { describe, expect, it } from 'vitest';
import {
  combinePatTypes,
  effectiveType,
  type Mtrrs,
  mtrrType,
  patIndexOf,
  patType,
} from '../../src/arch/memory-types.ts';
import { MEMORY_TYPE, MSR } from '../../src/arch/msrs.ts';

const { UC, WC, WT, WP, WB, UC_MINUS } = MEMORY_TYPE;
const TYPES = [UC, UC_MINUS, WC, WP, WT, WB] as const;

describe('PAT fields (APM vol. 2 7.8.2)', () => {
  it('are named by PAT, PCD and PWT; PAT is bit 7 of a PTE, bit 12 of a large page’s entry', () => {
    expect([0x00, 0x08, 0x10, 0x18, 0x80, 0x98].map((bits) => patIndexOf(bits | 7, false))).toEqual([
      0, 1, 2, 3, 4, 7,
    ]);
    expect([0x80, 0x88, 0x1080, 0x1098].map((bits) => patIndexOf(bits | 7, true))).toEqual([0, 1, 4, 7]);
  });

  it('hold the reset types WB WT UC- UC, twice', () => {
    const pat = { lo: 0x0007_0406, hi: 0x0007_0406 };
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((index) => patType(pat, index))).toEqual([
      WB,
      WT,
      UC_MINUS,
      UC,
      WB,
      WT,
      UC_MINUS,
      UC,
    ]);
  });
});

describe('guest and host PAT types (APM vol. 2 15.25.8)', () => {
  // biome-ignore format: table
  const TABLE = [
    // host:   UC  UC-       WC  WP  WT  WB
    [UC,       UC, UC,       UC, UC, UC, UC],
    [UC_MINUS, UC, UC_MINUS, WC, UC, UC, UC],
    [WC,       WC, WC,       WC, WC, WC, WC],
    [WP,       UC, UC,       UC, WP, UC, WP],
    [WT,       UC, UC,       UC, UC, WT, WT],
    [WB,       UC, UC_MINUS, WC, WP, WT, WB],
  ] as const;

  it('combine as the table says', () => {
    for (const [guest, ...row] of TABLE)
      expect([guest, ...TYPES.map((host) => combinePatTypes(guest, host))]).toEqual([guest, ...row]);
  });

  it('combine with the MTRRs in the same way; UC- is UC at the end', () => {
    expect(effectiveType(UC_MINUS, WC)).toBe(WC);
    expect(effectiveType(UC_MINUS, WB)).toBe(UC);
    expect(effectiveType(WB, WP)).toBe(WP);
    expect(effectiveType(WC, UC)).toBe(WC);
    expect(effectiveType(WT, WB)).toBe(WT);
    expect(effectiveType(WT, WC)).toBe(UC);
  });
});

describe('MTRRs (APM vol. 2 7.7)', () => {
  const mtrrs =
    (registers: Readonly<Record<number, readonly [lo: number, hi: number]>>): Mtrrs =>
    (index) => {
      const register = registers[index];
      return register && { lo: register[0], hi: register[1] };
    };

  it('say UC while they are off, nothing where there are none', () => {
    expect(mtrrType(mtrrs({ [MSR.MTRR_DEF_TYPE]: [0x006, 0] }), 0x1000)).toBe(UC);
    expect(mtrrType(mtrrs({}), 0x1000)).toBe(WB);
  });

  it('have fixed ranges below 1 MByte', () => {
    const fixed = mtrrs({
      [MSR.MTRR_DEF_TYPE]: [0xc06, 0],
      592: [0x0606_0606, 0x0406_0606],
      600: [0x0606_0606, 0x0606_0506],
      601: [0x0000_0000, 0x0000_0001],
      616: [0x0505_0505, 0x0606_0606],
      623: [0x0606_0606, 0x0506_0606],
    });
    expect(mtrrType(fixed, 0x7_ffff)).toBe(WT);
    expect(mtrrType(fixed, 0x9_4000)).toBe(WP);
    expect(mtrrType(fixed, 0xa_0000)).toBe(UC);
    expect(mtrrType(fixed, 0xb_0000)).toBe(WC);
    expect(mtrrType(fixed, 0xc_3fff)).toBe(WP);
    expect(mtrrType(fixed, 0xf_ffff)).toBe(WP);
    expect(mtrrType(fixed, 0x10_0000)).toBe(WB);
  });

  it('have variable ranges: UC wins over all, WT over WB', () => {
    const ranges = mtrrs({
      [MSR.MTRR_DEF_TYPE]: [0x800, 0],
      // 0 to 2 GiB is WB, 1 MiB at 16 MiB WT, 1 MiB at 32 MiB UC; 256 MiB at 4 GiB are WC.
      512: [0x0000_0006, 0],
      513: [0x8000_0800, 0xffff],
      514: [0x0100_0004, 0],
      515: [0xfff0_0800, 0xffff],
      516: [0x0200_0000, 0],
      517: [0xfff0_0800, 0xffff],
      518: [0x0000_0001, 1],
      519: [0xf000_0800, 0xffff],
      // Not valid.
      520: [0x0000_0000, 0],
      521: [0x0000_0000, 0],
    });
    expect(mtrrType(ranges, 0x5000)).toBe(WB);
    expect(mtrrType(ranges, 0x0108_0000)).toBe(WT);
    expect(mtrrType(ranges, 0x0110_0000)).toBe(WB);
    expect(mtrrType(ranges, 0x0200_0000)).toBe(UC);
    expect(mtrrType(ranges, 0x1_0123_4000)).toBe(WC);
    expect(mtrrType(ranges, 0x8000_0000)).toBe(UC);
  });
});
