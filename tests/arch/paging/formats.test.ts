import { describe, expect, it } from 'vitest';
import { fiveLevelFormat } from '../../../src/arch/paging/five-level.ts';
import type { PagingFeatures, PagingFormat } from '../../../src/arch/paging/format.ts';
import { fourLevelFormat } from '../../../src/arch/paging/four-level.ts';
import { paeFormat, pdpteIndex, pdpteIsValid } from '../../../src/arch/paging/pae.ts';
import { twoLevelFormat } from '../../../src/arch/paging/two-level.ts';

const FEATURES: PagingFeatures = {
  maxPhysicalAddressBits: 36,
  nx: true,
  pat: true,
  pse36: true,
  pages1G: true,
  amd: true,
};
const features = (changes: Partial<PagingFeatures>): PagingFeatures => ({ ...FEATURES, ...changes });

/** Mask of a level as 16 (or 8) hexadecimal digits in groups of four; large masks only where PS maps a page. */
function masks(format: PagingFormat, level: number): string {
  const { largePage, reservedLo, reservedHi, largeReservedLo, largeReservedHi } = format.levels[level];
  const hex = (lo: number, hi: number): string => {
    const digits = lo.toString(16).padStart(8, '0');
    return format.entrySize === 4 ? digits : hi.toString(16).padStart(8, '0') + digits;
  };
  return hex(reservedLo, reservedHi) + (largePage ? ` ${hex(largeReservedLo, largeReservedHi)}` : '');
}

describe('2-level reserved bits (SDM vol. 3A 4.3, table 4-4)', () => {
  // Masks worked out by hand: with M = 36, bits 21:17; with M = 40 bit 21 alone; with M = 32 bits 21:13.
  it.each([
    ['CR4.PSE = 0', false, {}, '00000000', '00000000'],
    ['CR4.PSE = 0, no PAT', false, { pat: false }, '00000000', '00000000'],
    ['PSE-36, 36 bits', true, {}, '00000000', '00000000 003e0000'],
    ['PSE-36, 40 bits', true, { maxPhysicalAddressBits: 40 }, '00000000', '00000000 00200000'],
    ['PSE-36 reaches 40 bits only', true, { maxPhysicalAddressBits: 48 }, '00000000', '00000000 00200000'],
    ['PSE-36, 32 bits', true, { maxPhysicalAddressBits: 32 }, '00000000', '00000000 003fe000'],
    ['no PSE-36', true, { pse36: false }, '00000000', '00000000 003fe000'],
    ['no PSE-36, no PAT', true, { pse36: false, pat: false }, '00000080', '00000000 003ff000'],
  ] as const)('%s', (_, pse, changes, pte, pde) => {
    const format = twoLevelFormat(pse, features(changes));
    expect([masks(format, 1), masks(format, 2)]).toEqual([pte, pde]);
  });
});

describe('PAE reserved bits (SDM vol. 3A 4.4, tables 4-8 to 4-11)', () => {
  it.each([
    ['36 bits, NX', {}, '7ffffff000000000', '7ffffff000000000 7ffffff0001fe000', 'fffffff0000001e6'],
    [
      '36 bits, no NX',
      { nx: false },
      'fffffff000000000',
      'fffffff000000000 fffffff0001fe000',
      'fffffff0000001e6',
    ],
    [
      '40 bits, NX',
      { maxPhysicalAddressBits: 40 },
      '7fffff0000000000',
      '7fffff0000000000 7fffff00001fe000',
      'ffffff00000001e6',
    ],
    [
      '52 bits, NX',
      { maxPhysicalAddressBits: 52 },
      '7ff0000000000000',
      '7ff0000000000000 7ff00000001fe000',
      'fff00000000001e6',
    ],
    [
      '32 bits, no NX',
      { maxPhysicalAddressBits: 32, nx: false },
      'ffffffff00000000',
      'ffffffff00000000 ffffffff001fe000',
      'ffffffff000001e6',
    ],
    [
      '36 bits, NX, no PAT',
      { pat: false },
      '7ffffff000000080',
      '7ffffff000000000 7ffffff0001ff000',
      'fffffff0000001e6',
    ],
  ] as const)('%s', (_, changes, pte, pde, pdpte) => {
    const format = paeFormat(features(changes));
    expect([masks(format, 1), masks(format, 2), masks(format, 3)]).toEqual([pte, pde, pdpte]);
  });

  it('accepts a PDPTE unless it is present with a reserved bit', () => {
    const format = paeFormat(features({}));
    expect(pdpteIsValid(format, 0x1001, 0)).toBe(true);
    expect(pdpteIsValid(format, 0x1019, 0xf)).toBe(true);
    for (const bit of [1, 2, 5, 6, 7, 8]) expect(pdpteIsValid(format, 0x1001 | (1 << bit), 0)).toBe(false);
    expect(pdpteIsValid(format, 0x1001, 0x10)).toBe(false);
    expect(pdpteIsValid(format, 0x1001, 0x8000_0000)).toBe(false);
    expect(pdpteIsValid(format, 0xffff_fffe, 0xffff_ffff)).toBe(true);
  });

  it('chooses the PDPTE by linear address bits 31:30', () => {
    expect([0x0, 0x3ffff, 0x40000, 0x80000, 0xfffff].map(pdpteIndex)).toEqual([0, 0, 1, 2, 3]);
  });
});

describe('long mode reserved bits (SDM vol. 3A 4.5, tables 4-15 to 4-20)', () => {
  const NX48 = '000f000000000000';
  it.each([
    [
      '48 bits, NX, 1G, AMD',
      { maxPhysicalAddressBits: 48 },
      [NX48, `${NX48} 000f0000001fe000`, '000f000000000000 000f00003fffe000', '000f000000000180'],
    ],
    [
      '48 bits, NX, 1G, Intel',
      { maxPhysicalAddressBits: 48, amd: false },
      [NX48, `${NX48} 000f0000001fe000`, `${NX48} 000f00003fffe000`, '000f000000000080'],
    ],
    [
      '40 bits, no NX, no 1G, Intel',
      { maxPhysicalAddressBits: 40, nx: false, pages1G: false, amd: false },
      ['800fff0000000000', '800fff0000000000 800fff00001fe000', '800fff0000000080', '800fff0000000080'],
    ],
    [
      '52 bits, NX, no 1G, AMD',
      { maxPhysicalAddressBits: 52, pages1G: false },
      ['0000000000000000', '0000000000000000 00000000001fe000', '0000000000000080', '0000000000000180'],
    ],
  ] as const)('%s', (_, changes, expected) => {
    const four = fourLevelFormat(features(changes));
    expect([1, 2, 3, 4].map((level) => masks(four, level))).toEqual(expected);
    const five = fiveLevelFormat(features(changes));
    expect([1, 2, 3, 4, 5].map((level) => masks(five, level))).toEqual([...expected, expected[3]]);
  });
});

describe('features', () => {
  it.each([31, 53, 36.5, Number.NaN])('rejects MAXPHYADDR %s', (maxPhysicalAddressBits) => {
    expect(() => paeFormat(features({ maxPhysicalAddressBits }))).toThrow(/MAXPHYADDR must be 32 to 52 bits/);
  });
});
