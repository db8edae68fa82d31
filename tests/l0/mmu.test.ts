import { describe, expect, it } from 'vitest';
import { gpa, hpa } from '../../src/arch/address.ts';
import { CR0, CR4, EFER, PFERR } from '../../src/arch/registers.ts';
import { Bench } from './bench.ts';

const P = 1n;
const W = 2n;
const U = 4n;
const PS = 0x80n;
const PAGING = (CR0.PE | CR0.PG | CR0.WP) >>> 0;

/** 2-level tables: page directory at 1000h, page table at 2000h mapping linear 0 to physical 10000h onwards. */
function twoLevel(options = {}): Bench {
  const bench = new Bench(options);
  bench.poke(0x1000, 0x2000n | P | W | U, 4);
  for (let i = 0; i < 16; i += 1) {
    bench.poke(0x2000 + 4 * i, BigInt(0x10000 + 0x1000 * i) | P | W | U, 4);
    bench.poke(0x10000 + 0x1000 * i, BigInt(0xabc0 + i), 4);
  }
  // The tables themselves at linear 400000h.
  bench.poke(0x1004, 0x3000n | P | W, 4);
  for (let i = 0; i < 16; i += 1) bench.poke(0x3000 + 4 * i, BigInt(0x1000 * i) | P | W, 4);
  bench.cr(3, 0x1000);
  bench.cr(0, PAGING);
  return bench;
}

describe('the shadow MMU', () => {
  it('maps a guest without paging with large pages', () => {
    const bench = new Bench();
    bench.poke(0x12_3450, 0x1234_5678n, 4);
    expect(bench.access('read', 0x12_3450, 4)).toEqual({ outcome: 'ok', lo: 0x1234_5678, hi: 0 });
    expect(bench.access('write', 0x20_0000, 4, 0x55n)).toMatchObject({ outcome: 'ok' });
    // Four directories, nothing below: both accesses hit 2 MiB pages.
    expect(bench.vm.statistics.mmu.shadowPages).toBe(4);
  });

  it('answers an access outside memory like an empty bus', () => {
    const bench = new Bench();
    expect(bench.access('read', 0xfee0_0000, 4)).toEqual({ outcome: 'ok', lo: 0xffff_ffff, hi: 0 });
    expect(bench.access('write', 0x48_0000, 4, 1n)).toMatchObject({ outcome: 'ok' });
  });

  it('shadows 2-level tables in quadrants', () => {
    const bench = twoLevel();
    expect(bench.access('read', 0x3004, 4)).toEqual({ outcome: 'ok', lo: 0, hi: 0 });
    expect(bench.access('read', 0x3000, 4)).toEqual({ outcome: 'ok', lo: 0xabc3, hi: 0 });
    expect(bench.access('write', 0x5008, 4, 7n)).toMatchObject({ outcome: 'ok' });
    expect(bench.peek(0x1_5008, 4)).toBe(7n);
    // A and D as the processor sets them: read 3000h, written 5000h.
    expect(bench.peek(0x2000 + 4 * 3, 4)).toBe(0x1_3027n);
    expect(bench.peek(0x2000 + 4 * 5, 4)).toBe(0x1_5067n);
  });

  it('lets a level-1 table go unsync and obeys INVLPG', () => {
    const bench = twoLevel();
    bench.access('read', 0x3000, 4);
    // The guest redirects page 3 to page 4's frame: allowed to be seen late, but not after INVLPG.
    bench.access('write', 0x40_0000 + 0x2000 + 4 * 3, 4, 0x1_4000n | P | W | U);
    expect(bench.vm.statistics.mmu.unsyncs).toBe(1);
    bench.access('read', 0x3000, 4);
    bench.invlpg(0x3000);
    expect(bench.access('read', 0x3000, 4)).toEqual({ outcome: 'ok', lo: 0xabc4, hi: 0 });
  });

  it('sees a write to a page directory at once', () => {
    const bench = twoLevel();
    bench.access('read', 0x3000, 4);
    bench.access('write', 0x40_0000 + 0x1000, 4, 0n);
    bench.cr(3, 0x1000);
    expect(bench.access('read', 0x3000, 4)).toMatchObject({ outcome: 'fault', errorCode: 0, cr2: 0x3000 });
  });

  it('inherits rights from every level above', () => {
    // CVE-2021-38198: the directory entry forbids writing, the table entry allows it.
    const bench = twoLevel();
    bench.access('write', 0x40_0000 + 0x1000, 4, 0x2000n | P | U);
    bench.cr(3, 0x1000);
    expect(bench.access('read', 0x3000, 4)).toMatchObject({ outcome: 'ok' });
    expect(bench.access('write', 0x3000, 4, 1n)).toMatchObject({
      outcome: 'fault',
      errorCode: PFERR.P | PFERR.W,
    });
  });

  it('emulates CR0.WP = 0 without opening the page to users or to SMEP', () => {
    const bench = twoLevel();
    bench.access('write', 0x40_0000 + 0x2000 + 4 * 3, 4, 0x1_3000n | P | U);
    bench.cr(4, CR4.SMEP);
    bench.cr(0, (PAGING & ~CR0.WP) >>> 0);
    expect(bench.access('write', 0x3000, 4, 9n)).toMatchObject({ outcome: 'ok' });
    expect(bench.access('fetch', 0x3000, 1)).toMatchObject({
      outcome: 'fault',
      errorCode: PFERR.P | PFERR.F,
    });
    bench.privilege(3, false);
    expect(bench.access('read', 0x3000, 4)).toMatchObject({ outcome: 'ok', lo: 9 });
    expect(bench.access('fetch', 0x3000, 1)).toMatchObject({ outcome: 'ok' });
    expect(bench.access('write', 0x3000, 4, 1n)).toMatchObject({ outcome: 'fault' });
    bench.privilege(0, false);
    bench.cr(0, PAGING);
    expect(bench.access('write', 0x3000, 4, 1n)).toMatchObject({ outcome: 'fault' });
  });

  it('does not let CR0.WP = 0 hide a user page from SMAP', () => {
    const bench = twoLevel();
    bench.access('write', 0x40_0000 + 0x2000 + 4 * 3, 4, 0x1_3000n | P | U);
    bench.cr(4, CR4.SMAP);
    bench.cr(0, (PAGING & ~CR0.WP) >>> 0);
    bench.privilege(0, true);
    expect(bench.access('write', 0x3000, 4, 9n)).toMatchObject({ outcome: 'ok' });
    bench.privilege(0, false);
    expect(bench.access('write', 0x3000, 4, 10n)).toMatchObject({ outcome: 'fault' });
  });

  it('keeps page directories of CR4.PSE = 0 and 1 apart', () => {
    const bench = twoLevel();
    // PS in an entry means nothing without PSE; with it, a 4 MiB page at 0.
    bench.access('write', 0x40_0000 + 0x1000 + 4 * 2, 4, 0x2000n | P | W | PS);
    expect(bench.access('read', 0x80_3000, 4)).toMatchObject({ lo: 0xabc3 });
    bench.access('write', 0x40_0000 + 0x1000 + 4 * 2, 4, P | W | PS);
    bench.cr(4, CR4.PSE);
    expect(bench.access('read', 0x80_0000 + 0x1_3000, 4)).toMatchObject({ lo: 0xabc3 });
    bench.access('write', 0x40_0000 + 0x1000 + 4 * 2, 4, 0x2000n | P | W | PS);
    bench.cr(4, 0);
    expect(bench.access('read', 0x80_3000, 4)).toMatchObject({ lo: 0xabc3 });
    bench.cr(4, CR4.PSE);
    // As a 4 MiB page, bit 13 is address bit 32 (PSE-36): nothing is there.
    expect(bench.access('read', 0x80_3000, 4)).toMatchObject({ lo: 0xffff_ffff });
  });

  it('brings a table up to date before it links it to another directory entry', () => {
    const bench = twoLevel();
    bench.access('read', 0x3000, 4);
    bench.access('write', 0x40_0000 + 0x2000 + 4 * 3, 4, 0x1_4000n | P | W | U);
    // No invalidation is needed where nothing was present before.
    bench.access('write', 0x40_0000 + 0x1000 + 4 * 2, 4, 0x2000n | P | W | U);
    expect(bench.access('read', 0x80_3000, 4)).toMatchObject({ lo: 0xabc4 });
  });

  it('synchronises a root that an invalidation under another role did not reach', () => {
    const bench = twoLevel();
    bench.access('read', 0x3000, 4);
    bench.cr(0, (PAGING & ~CR0.WP) >>> 0);
    bench.access('read', 0x3000, 4);
    bench.access('write', 0x40_0000 + 0x2000 + 4 * 3, 4, 0x1_4000n | P | W | U);
    bench.invlpg(0x3000);
    expect(bench.access('read', 0x3000, 4)).toMatchObject({ lo: 0xabc4 });
    bench.cr(0, PAGING);
    expect(bench.access('read', 0x3000, 4)).toMatchObject({ lo: 0xabc4 });
  });

  it('gives a page back that the guest uses as data', () => {
    const bench = twoLevel();
    bench.access('read', 0x3000, 4);
    // Four quadrants of the one directory.
    expect(bench.vm.slots.find(1)?.shadowed[1]).toBe(4);
    // Bytes in the middle of directory entries are no way to write a table.
    bench.access('write', 0x40_0000 + 0x1802, 1, 1n);
    expect(bench.vm.statistics.mmu.floodings).toBeGreaterThan(0);
    bench.access('write', 0x40_0000 + 0x1802, 1, 0n);
    expect(bench.access('read', 0x3000, 4)).toMatchObject({ lo: 0xabc3 });
  });

  it('zaps a directory that is written again and again', () => {
    const bench = twoLevel();
    bench.access('read', 0x3000, 4);
    for (let i = 0; i < 4; i += 1) bench.access('write', 0x40_0000 + 0x1800, 4, 0n);
    expect(bench.vm.statistics.mmu.floodings).toBeGreaterThan(0);
  });

  it('works within its limit of shadow pages', () => {
    const bench = twoLevel({ shadowPageLimit: 64 });
    // 200 page tables, each with one page.
    for (let i = 0; i < 200; i += 1) {
      bench.poke(0x10_0000 + 0x1000 * i, BigInt(0x10000 + 0x1000 * (i % 16)) | P | W | U, 4);
      bench.poke(0x1000 + 4 * (8 + i), BigInt(0x10_0000 + 0x1000 * i) | P | W | U, 4);
    }
    bench.cr(3, 0x1000);
    for (let i = 0; i < 200; i += 1) {
      expect(bench.access('read', (8 + i) * 0x40_0000, 4)).toMatchObject({ lo: 0xabc0 + (i % 16) });
    }
    expect(bench.vm.statistics.mmu.evictions).toBeGreaterThan(100);
    expect(bench.vm.statistics.mmu.shadowPages).toBeLessThanOrEqual(64);
  });

  it('loses no translation into a memory slot that is removed, and finds one that is added', () => {
    const bench = twoLevel();
    bench.poke(0x50_0000, 0x5555n, 4);
    bench.access('write', 0x40_0000 + 0x2000, 4, 0x50_0000n | P | W);
    bench.invlpg(0);
    expect(bench.do({ kind: 'access', access: 'read', linear: 0, size: 4 })).toMatchObject({ lo: 0x5555 });
    const slot = bench.vm.slots.find(0x500)!;
    bench.vm.removeMemory(slot);
    expect(bench.do({ kind: 'access', access: 'read', linear: 0, size: 4 })).toMatchObject({
      lo: 0xffff_ffff,
    });
    bench.vm.addMemory(gpa(0x50_0000), { base: hpa(slot.basePfn * 0x1000), size: slot.pages * 0x1000 });
    expect(bench.do({ kind: 'access', access: 'read', linear: 0, size: 4 })).toMatchObject({ lo: 0x5555 });
  });

  it('sends stores to a read-only slot to the device behind it', () => {
    const bench = twoLevel();
    const slot = bench.vm.slots.find(0x500)!;
    bench.vm.removeMemory(slot);
    bench.vm.addMemory(gpa(0x50_0000), { base: hpa(slot.basePfn * 0x1000), size: slot.pages * 0x1000 }, true);
    bench.poke(0x50_0000, 0x5555n, 4);
    bench.access('write', 0x40_0000 + 0x2000, 4, 0x50_0000n | P | W);
    bench.invlpg(0);
    bench.do({ kind: 'access', access: 'write', linear: 0, size: 4, lo: 1 });
    expect(bench.do({ kind: 'access', access: 'read', linear: 0, size: 4 })).toMatchObject({ lo: 0x5555 });
  });

  it('switches between 2-level and PAE paging of one guest', () => {
    const bench = twoLevel();
    for (let round = 0; round < 3; round += 1) {
      bench.access('read', 0x3000, 4);
      bench.cr(0, CR0.PE);
      bench.cr(4, CR4.PAE);
      bench.efer(round % 2 === 0 ? EFER.NXE : 0);
      bench.poke(0x8000, 0x9000n | P, 8);
      bench.poke(0x9000, 0xa000n | P | W | U, 8);
      bench.poke(0xa000, 0x1_2000n | P | W | U | (1n << 63n), 8);
      bench.cr(3, 0x8000);
      bench.cr(0, PAGING);
      const reserved = { outcome: 'fault', errorCode: PFERR.P | PFERR.RSVD };
      expect(bench.access('read', 0, 4)).toMatchObject(round % 2 === 0 ? { lo: 0xabc2 } : reserved);
      bench.cr(0, CR0.PE);
      bench.cr(4, 0);
      bench.cr(3, 0x1000);
      bench.cr(0, PAGING);
    }
    expect(bench.vm.statistics.mmu.roleChanges).toBeGreaterThan(6);
  });

  it('runs an L2 in another paging mode than L1', () => {
    const bench = twoLevel();
    bench.efer(EFER.SVME | EFER.NXE);
    bench.poke(0x8000, 0x9000n | P, 8);
    bench.poke(0x9000, 0xa000n | P | W | U, 8);
    bench.poke(0xa000, 0x1_2000n | P | W | U, 8);
    for (let round = 0; round < 3; round += 1) {
      bench.access('read', 0x3000, 4);
      const state = {
        cr0: PAGING,
        cr3: 0x8000,
        cr4: CR4.PAE,
        efer: EFER.NXE,
        cpl: 0,
        asid: 1,
        tlbControl: 0,
      } as const;
      expect(bench.vmrun(0x30000, state)).toBe('entered');
      expect(bench.access('read', 0, 4)).toMatchObject({ lo: 0xabc2 });
      expect(bench.access('read', 0x3000, 4)).toMatchObject({ outcome: 'fault', errorCode: 0 });
      bench.vmmcall();
      expect(bench.access('read', 0x3000, 4)).toMatchObject({ lo: 0xabc3 });
    }
    expect(bench.vm.statistics.mmu.rootHits).toBeGreaterThanOrEqual(4);
  });
});
