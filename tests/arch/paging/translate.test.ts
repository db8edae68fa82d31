import { beforeEach, describe, expect, it } from 'vitest';
import type { PagingFeatures, PagingFormat } from '../../../src/arch/paging/format.ts';
import { paeFormat } from '../../../src/arch/paging/pae.ts';
import { ACCESS, PAGING_CONTROL } from '../../../src/arch/paging/permissions.ts';
import { twoLevelFormat } from '../../../src/arch/paging/two-level.ts';
import { markAccessed, translate, UPDATE, WALK, WalkResult, walk } from '../../../src/arch/paging/walker.ts';
import { EntryStore } from './entry-store.ts';

const FEATURES: PagingFeatures = {
  maxPhysicalAddressBits: 36,
  nx: true,
  pat: true,
  pse36: true,
  pages1G: false,
  amd: true,
};
const TWO_LEVEL = twoLevelFormat(true, FEATURES);
const PAE = paeFormat(FEATURES);
const WRITE = ACCESS.WRITE;
const A = 0x20n;
const D = 0x40n;

let memory: EntryStore;
let result: WalkResult;

beforeEach(() => {
  memory = new EntryStore();
  result = new WalkResult();
});

const run = (format: PagingFormat, root: number, page: number, access: number, control = 0) =>
  translate(format, root, 0, page, access, control, memory, result);

/** 2-level tables: linear page 0 through directory 0x1000 and table 0x2000 to frame 3. */
function mapTwoLevel(pde: bigint, pte: bigint): void {
  memory.put(0x1000, pde);
  memory.put(0x2000, pte);
}

describe('accessed and dirty bits (SDM vol. 3A 4.8)', () => {
  it('a read sets A on every level and D nowhere', () => {
    mapTwoLevel(0x2007n, 0x3007n);
    expect(run(TWO_LEVEL, 0x1000, 0, ACCESS.USER)).toBe(WALK.OK);
    expect([memory.get(0x1000), memory.get(0x2000)]).toEqual([0x2007n | A, 0x3007n | A]);
    expect([result.entryLo[2], result.entryLo[1]]).toEqual([0x2027, 0x3027]);
  });

  it('a write sets D in the leaf only', () => {
    mapTwoLevel(0x2007n, 0x3007n);
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE)).toBe(WALK.OK);
    expect([memory.get(0x1000), memory.get(0x2000)]).toEqual([0x2007n | A, 0x3007n | A | D]);
  });

  it('a write sets D in the entry of a large page', () => {
    memory.put(0x1000, 0x0040_0083n);
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE)).toBe(WALK.OK);
    expect(memory.get(0x1000)).toBe(0x0040_0083n | A | D);
  });

  it('writes nothing when the bits are set already', () => {
    mapTwoLevel(0x2007n | A, 0x3007n | A | D);
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE)).toBe(WALK.OK);
    expect(memory.log).toEqual(['r 1000', 'r 2000']);
  });

  it('keeps the high half of an 8-byte entry and leaves the PDPTE alone', () => {
    memory.put(0x5000, (1n << 63n) | 0x6003n);
    memory.put(0x6000, 0xf_ffff_f003n);
    expect(run(PAE, 0x5001, 0, WRITE)).toBe(WALK.OK);
    expect(memory.get(0x5000)).toBe((1n << 63n) | 0x6003n | A);
    expect(memory.get(0x6000)).toBe(0xf_ffff_f003n | A | D);
    expect(result.entryLo[3]).toBe(0x5001);
    expect(memory.log).toEqual(['r 5000', 'r 6000', 'w 5000', 'w 6000']);
  });

  it.each([
    ['absent leaf', 0x2007n, 0x3006n, WALK.NOT_PRESENT, 0x6],
    ['no right to write', 0x2007n, 0x3005n, WALK.DENIED, 0x7],
    ['supervisor page', 0x2003n, 0x3007n, WALK.DENIED, 0x7],
  ] as const)('an access that faults sets none: %s', (_, pde, pte, status, errorCode) => {
    mapTwoLevel(pde, pte);
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE | ACCESS.USER)).toBe(status);
    expect(result.errorCode).toBe(errorCode);
    expect([memory.get(0x1000), memory.get(0x2000)]).toEqual([pde, pte]);
  });

  it('does without them in memory that ignores writes', () => {
    mapTwoLevel(0x2007n, 0x3007n);
    memory.readOnly.add(0x1000).add(0x2000);
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE)).toBe(WALK.OK);
    expect([memory.get(0x1000), memory.get(0x2000)]).toEqual([0x2007n, 0x3007n]);
    expect(result.entryLo[1]).toBe(0x3007);
  });

  it('ends where an entry cannot be reached for writing', () => {
    mapTwoLevel(0x2007n, 0x3007n);
    memory.writeAbsent.add(0x1000);
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE)).toBe(WALK.TABLE_ABSENT);
    expect([result.status, result.level, result.errorCode]).toEqual([WALK.TABLE_ABSENT, 2, 0]);
  });
});

describe('restart when an entry changes under the walk', () => {
  it('uses the new entry', () => {
    mapTwoLevel(0x2007n, 0x3007n);
    memory.beforeUpdate = (address) => {
      if (address !== 0x2000) return;
      memory.beforeUpdate = () => {};
      memory.put(0x2000, 0x9007n);
    };
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE)).toBe(WALK.OK);
    expect(result.frame).toBe(9);
    expect(memory.get(0x2000)).toBe(0x9007n | A | D);
    expect(memory.log).toEqual(['r 1000', 'r 2000', 'w 1000', 'w 2000', 'r 1000', 'r 2000', 'w 2000']);
  });

  it('judges the new rights', () => {
    mapTwoLevel(0x2007n, 0x3007n);
    memory.beforeUpdate = (address) => {
      if (address === 0x2000) memory.put(0x2000, 0x3005n);
    };
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE | ACCESS.USER)).toBe(WALK.DENIED);
    expect(memory.get(0x2000)).toBe(0x3005n);
  });

  it('sees a change of the high half alone', () => {
    memory.put(0x5000, 0x6007n | A);
    memory.put(0x6000, 0x3007n);
    memory.beforeUpdate = () => {
      memory.beforeUpdate = () => {};
      memory.put(0x6000, 0x1_0000_3007n);
    };
    expect(run(PAE, 0x5001, 0, ACCESS.READ)).toBe(WALK.OK);
    expect(result.frame).toBe(0x10_0003);
  });

  it('lets markAccessed report the change to a caller that walks by itself', () => {
    mapTwoLevel(0x2007n | A, 0x3007n);
    expect(walk(TWO_LEVEL, 0x1000, 0, 0, memory, result)).toBe(WALK.OK);
    memory.put(0x2000, 0x4007n);
    expect(markAccessed(TWO_LEVEL, false, memory, result)).toBe(UPDATE.CHANGED);
    expect(memory.get(0x2000)).toBe(0x4007n);
  });

  it('ends for a directory that maps itself, where one entry is used at both levels', () => {
    // The last directory entry refers to the directory: linear 0xFFFF_F000 is the directory itself.
    memory.put(0x1ffc, 0x1003n);
    expect(run(TWO_LEVEL, 0x1000, 0xfffff, WRITE)).toBe(WALK.OK);
    expect(result.frame).toBe(1);
    expect(memory.get(0x1ffc)).toBe(0x1003n | A | D);
  });
});

describe('order of faults', () => {
  it('a reserved bit counts before rights', () => {
    memory.put(0x5000, 0x6001n | (1n << 36n));
    expect(run(PAE, 0x5001, 0, WRITE | ACCESS.USER)).toBe(WALK.RESERVED);
    expect(result.errorCode).toBe(0xf);
  });

  it('a lower level that is absent counts before rights of an upper one', () => {
    mapTwoLevel(0x2001n, 0n);
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE | ACCESS.USER)).toBe(WALK.NOT_PRESENT);
    expect(result.errorCode).toBe(0x6);
  });

  it('a reserved bit of an upper level hides an absent lower one', () => {
    memory.put(0x5000, 0x6007n | (1n << 62n));
    expect(run(PAE, 0x5001, 0, ACCESS.READ)).toBe(WALK.RESERVED);
    expect([result.level, result.errorCode]).toEqual([2, 0x9]);
  });

  it('reports a fetch only with NX or SMEP', () => {
    memory.put(0x5000, 0n);
    run(PAE, 0x5001, 0, ACCESS.FETCH | ACCESS.USER);
    expect(result.errorCode).toBe(0x4);
    run(PAE, 0x5001, 0, ACCESS.FETCH | ACCESS.USER, PAGING_CONTROL.NX);
    expect(result.errorCode).toBe(0x14);
  });

  it('clears the error code of an earlier fault', () => {
    run(TWO_LEVEL, 0x1000, 0, WRITE);
    expect(result.errorCode).toBe(0x2);
    mapTwoLevel(0x2007n, 0x3007n);
    run(TWO_LEVEL, 0x1000, 0, WRITE);
    expect(result.errorCode).toBe(0);
  });

  it('lets CR0.WP = 0 write as supervisor to a read-only user page and marks it dirty', () => {
    mapTwoLevel(0x2005n, 0x3005n);
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE)).toBe(WALK.OK);
    expect(memory.get(0x2000)).toBe(0x3005n | A | D);
    expect(run(TWO_LEVEL, 0x1000, 0, WRITE, PAGING_CONTROL.WP)).toBe(WALK.DENIED);
    expect(result.errorCode).toBe(0x3);
  });
});
