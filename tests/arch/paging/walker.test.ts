import { beforeEach, describe, expect, it } from 'vitest';
import { fiveLevelFormat } from '../../../src/arch/paging/five-level.ts';
import { type PagingFeatures, type PagingFormat, RIGHTS } from '../../../src/arch/paging/format.ts';
import { fourLevelFormat } from '../../../src/arch/paging/four-level.ts';
import { paeFormat } from '../../../src/arch/paging/pae.ts';
import { twoLevelFormat } from '../../../src/arch/paging/two-level.ts';
import { IN_REGISTER, WALK, WalkResult, walk } from '../../../src/arch/paging/walker.ts';
import { EntryStore } from './entry-store.ts';

const FEATURES: PagingFeatures = {
  maxPhysicalAddressBits: 40,
  nx: true,
  pat: true,
  pse36: true,
  pages1G: true,
  amd: true,
};
const NX = 1n << 63n;
const { X, W, U } = RIGHTS;

let memory: EntryStore;
let result: WalkResult;

beforeEach(() => {
  memory = new EntryStore();
  result = new WalkResult();
});

/** Walks for a linear address and gives what a reader of the manual would ask. */
function walkLinear(format: PagingFormat, root: bigint, linear: bigint) {
  const status = walk(
    format,
    Number(root & 0xffff_ffffn),
    Number(root >> 32n),
    Number(linear >> 12n),
    memory,
    result,
  );
  return { status, level: result.level };
}
const entries = (...levels: number[]): number[] => levels.map((level) => result.entryAddress[level]);
const levelRights = (...levels: number[]): number[] => levels.map((level) => result.levelRights[level]);

describe('2-level paging', () => {
  const format = twoLevelFormat(true, FEATURES);
  // Linear 0xC040_1ABC: directory index 0x301, table index 0x001.
  const linear = 0xc040_1abcn;

  it('finds a 4 KiB page through directory and table', () => {
    memory.put(0x1000 + 4 * 0x301, 0x2007n);
    memory.put(0x2000 + 4 * 0x001, 0xfedc_b005n);
    // Low bits of CR3 (PWT, PCD and ignored ones) are no part of the address.
    expect(walkLinear(format, 0x1fffn, linear)).toEqual({ status: WALK.OK, level: 1 });
    expect(result.frame).toBe(0xfedcb);
    expect(result.pageShift).toBe(12);
    expect(entries(2, 1)).toEqual([0x1c04, 0x2004]);
    expect([result.tableFrame(2), result.tableFrame(1)]).toEqual([1, 2]);
    expect([result.entryLo[2], result.entryLo[1]]).toEqual([0x2007, 0xfedc_b005]);
    expect([result.entryHi[2], result.entryHi[1]]).toEqual([0, 0]);
    expect(levelRights(2, 1)).toEqual([X | W | U, X | U]);
    expect(result.rights).toBe(X | U);
  });

  it('grants only what both levels grant', () => {
    memory.put(0x1c04, 0x2003n);
    memory.put(0x2004, 0x3005n);
    walkLinear(format, 0x1000n, linear);
    expect(result.rights).toBe(X);
  });

  it('maps 4 MiB with PS, bits 31:22 from the entry and the rest from the address', () => {
    memory.put(0x1c04, 0x8000_0087n);
    expect(walkLinear(format, 0x1000n, 0xc07f_f123n)).toEqual({ status: WALK.OK, level: 2 });
    expect(result.pageShift).toBe(22);
    expect(result.frame).toBe(0x803ff);
    expect(memory.log).toEqual(['r 1c04']);
  });

  it.each([
    ['bit 13 is address bit 32', 1n << 13n, 0x1_0040_1000],
    ['bits 16:13 are address bits 35:32', 0xfn << 13n, 0xf_0040_1000],
    ['bit 20 is address bit 39', 1n << 20n, 0x80_0040_1000],
  ])('PSE-36: %s', (_, bits, physical) => {
    memory.put(0x1c04, 0x0040_0083n | bits);
    // Directory index 0x301, offset 0x1000 in the large page.
    expect(walkLinear(format, 0x1000n, 0xc040_1000n).status).toBe(WALK.OK);
    expect(result.frame * 4096).toBe(physical);
  });

  it('does not take the PAT bit of a large page for an address bit', () => {
    memory.put(0x1c04, 0x0040_1083n);
    expect(walkLinear(format, 0x1000n, 0xc040_0000n).status).toBe(WALK.OK);
    expect(result.frame).toBe(0x400);
  });

  it('faults on bits 21:17 with 36 physical address bits, and on 21:13 without PSE-36', () => {
    const pse36 = twoLevelFormat(true, { ...FEATURES, maxPhysicalAddressBits: 36 });
    const plain = twoLevelFormat(true, { ...FEATURES, pse36: false });
    memory.put(0x1c04, 0x0040_0083n | (1n << 17n));
    expect(walkLinear(pse36, 0x1000n, linear)).toEqual({ status: WALK.RESERVED, level: 2 });
    memory.put(0x1c04, 0x0040_0083n | (1n << 16n));
    expect(walkLinear(pse36, 0x1000n, linear).status).toBe(WALK.OK);
    expect(walkLinear(plain, 0x1000n, linear)).toEqual({ status: WALK.RESERVED, level: 2 });
  });

  it('without CR4.PSE takes an entry with PS for a table', () => {
    const noPse = twoLevelFormat(false, FEATURES);
    memory.put(0x1c04, 0x003f_f087n);
    memory.put(0x3f_f004, 0x5007n);
    expect(walkLinear(noPse, 0x1000n, linear)).toEqual({ status: WALK.OK, level: 1 });
    expect(result.frame).toBe(5);
  });

  it('reports the level of an absent entry and reads no further', () => {
    expect(walkLinear(format, 0x1000n, linear)).toEqual({ status: WALK.NOT_PRESENT, level: 2 });
    expect(memory.log).toEqual(['r 1c04']);
    memory.put(0x1c04, 0x2007n);
    memory.put(0x2004, 0xffff_fffen);
    expect(walkLinear(format, 0x1000n, linear)).toEqual({ status: WALK.NOT_PRESENT, level: 1 });
  });

  it('does not look at reserved bits of an absent entry', () => {
    memory.put(0x1c04, 0x0020_0082n);
    expect(walkLinear(format, 0x1000n, linear).status).toBe(WALK.NOT_PRESENT);
  });

  it('says which table is not in memory', () => {
    memory.put(0x1c04, 0x2007n);
    memory.absent.add(0x2004);
    expect(walkLinear(format, 0x1000n, linear)).toEqual({ status: WALK.TABLE_ABSENT, level: 1 });
    expect(result.entryAddress[1]).toBe(0x2004);
  });
});

describe('PAE paging', () => {
  const format = paeFormat(FEATURES);
  // Linear 0xC060_3000: PDPTE 3, directory index 3, table index 3. Tables lie above 4 GiB.
  const linear = 0xc060_3000n;
  const pdpte = 0x1_2345_6001n;

  it('finds a 4 KiB page from a cached PDPTE', () => {
    memory.put(0x1_2345_6018, 0x80_0000_2007n);
    memory.put(0x80_0000_2018, 0xff_ffff_f007n | NX);
    expect(walkLinear(format, pdpte, linear)).toEqual({ status: WALK.OK, level: 1 });
    expect(result.frame).toBe(0xfff_ffff);
    expect(entries(3, 2, 1)).toEqual([IN_REGISTER, 0x1_2345_6018, 0x80_0000_2018]);
    expect([result.entryLo[3], result.entryHi[3]]).toEqual([0x2345_6001, 1]);
    expect(levelRights(3, 2, 1)).toEqual([X | W | U, X | W | U, W | U]);
  });

  it('loses the right to execute to NX at any level', () => {
    memory.put(0x1_2345_6018, 0x2007n | NX);
    memory.put(0x2018, 0x5007n);
    walkLinear(format, pdpte, linear);
    expect(levelRights(2, 1)).toEqual([W | U, W | U]);
  });

  it('takes NX for a reserved bit while EFER.NXE is clear', () => {
    const noNx = paeFormat({ ...FEATURES, nx: false });
    memory.put(0x1_2345_6018, 0x2007n);
    memory.put(0x2018, 0x5007n | NX);
    expect(walkLinear(noNx, pdpte, linear)).toEqual({ status: WALK.RESERVED, level: 1 });
  });

  it('maps 2 MiB with PS', () => {
    memory.put(0x1_2345_6018, 0x7f_ffe0_0083n);
    expect(walkLinear(format, pdpte, linear)).toEqual({ status: WALK.OK, level: 2 });
    expect(result.pageShift).toBe(21);
    expect(result.frame).toBe(0x7f_ffe0_3000 / 4096);
    expect(result.rights).toBe(X | W);
  });

  it('needs the cached PDPTE to be present', () => {
    expect(walkLinear(format, 0x1_2345_6000n, linear)).toEqual({ status: WALK.NOT_PRESENT, level: 3 });
    expect(memory.log).toEqual([]);
  });

  it.each([40n, 51n, 52n, 62n])('faults on bit %i of an entry, above 40 physical address bits', (bit) => {
    memory.put(0x1_2345_6018, 0x2007n | (1n << bit));
    expect(walkLinear(format, pdpte, linear)).toEqual({ status: WALK.RESERVED, level: 2 });
  });

  it('reads the PDPTE from memory where the format says so', () => {
    const inMemory = paeFormat(FEATURES, true);
    memory.put(0x7fe0 + 24, 0x3001n);
    memory.put(0x3018, 0x4007n);
    memory.put(0x4018, 0x5007n);
    expect(walkLinear(inMemory, 0x7fffn, linear)).toEqual({ status: WALK.OK, level: 1 });
    expect(entries(3, 2, 1)).toEqual([0x7ff8, 0x3018, 0x4018]);
    expect(result.rights).toBe(X | W | U);
    memory.put(0x7ff8, 0x3003n);
    expect(walkLinear(inMemory, 0x7fffn, linear)).toEqual({ status: WALK.RESERVED, level: 3 });
  });
});

describe('long mode paging', () => {
  // Indices 0x1ff, 0x001, 0x0aa, 0x155 from PML4 down: linear 0xFFFF_FF80_5555_5000.
  const linear = 0xffff_ff80_5555_5000n;
  const four = fourLevelFormat(FEATURES);

  beforeEach(() => {
    memory.put(0x1000 + 8 * 0x1ff, 0x2007n);
    memory.put(0x2000 + 8 * 0x001, 0x3007n);
    memory.put(0x3000 + 8 * 0x0aa, 0x4007n);
    memory.put(0x4000 + 8 * 0x155, 0x12_3456_7001n | NX);
  });

  it('finds a 4 KiB page through four levels', () => {
    expect(walkLinear(four, 0x1000n, linear)).toEqual({ status: WALK.OK, level: 1 });
    expect(entries(4, 3, 2, 1)).toEqual([0x1ff8, 0x2008, 0x3550, 0x4aa8]);
    expect(result.frame).toBe(0x123_4567);
    expect(levelRights(4, 3, 2, 1)).toEqual([7, 7, 7, 0]);
  });

  it('maps 1 GiB at level 3 if the CPU has such pages', () => {
    memory.put(0x2008, 0xc0_4000_0087n);
    expect(walkLinear(four, 0x1000n, linear)).toEqual({ status: WALK.OK, level: 3 });
    expect(result.pageShift).toBe(30);
    expect(result.frame * 4096).toBe(0xc0_4000_0000 + 0x1555_5000);
    const no1G = fourLevelFormat({ ...FEATURES, pages1G: false });
    expect(walkLinear(no1G, 0x1000n, linear)).toEqual({ status: WALK.RESERVED, level: 3 });
  });

  it('never maps a page at level 4', () => {
    memory.put(0x1ff8, 0x2087n);
    expect(walkLinear(four, 0x1000n, linear)).toEqual({ status: WALK.RESERVED, level: 4 });
  });

  it('ignores bits 62:52', () => {
    memory.put(0x3550, 0x4007n | (0x7ffn << 52n));
    expect(walkLinear(four, 0x1000n, linear).status).toBe(WALK.OK);
    expect(entries(1)).toEqual([0x4aa8]);
  });

  it('keeps all 57 bits of an address in five levels', () => {
    const five = fiveLevelFormat(FEATURES);
    // Level 5 index 0x0f3 above the same lower indices.
    memory.put(0xff_ffff_f000 + 8 * 0x0f3, 0x1007n);
    const wide = (0x0f3n << 48n) | (linear & 0xffff_ffff_ffffn);
    expect(walkLinear(five, 0xff_ffff_f000n, wide)).toEqual({ status: WALK.OK, level: 1 });
    expect(entries(5, 4, 3, 2, 1)).toEqual([0xff_ffff_f798, 0x1ff8, 0x2008, 0x3550, 0x4aa8]);
    expect(result.rootLevel).toBe(5);
  });
});
