import { describe, expect, it } from 'vitest';
import { type Host, NestedBench } from './nested-bench.ts';

const MIB = 0x10_0000;

describe.each<Host>(['pae', 'pae without nx'])('nested tables that map memory as it is, host %s', (host) => {
  it('map every page to where its slot has it, with large pages where they fit', () => {
    const bench = new NestedBench(host);
    for (const address of [0, 0x1234, 2 * MIB, 8 * MIB - 4, 12 * MIB, 13 * MIB - 1]) {
      for (const access of ['read', 'write', 'fetch'] as const)
        expect(bench.l1Access(address, access)).toEqual({ outcome: 'ok', host: bench.host(address) });
    }
    // Four directories; small pages for the slot whose host addresses do not agree with the guest's.
    expect(bench.tables.statistics.shadowPages).toBe(5);
  });

  it('leave everything in no slot to the emulator', () => {
    const bench = new NestedBench(host);
    for (const address of [8 * MIB, 0xfee0_0000, 0xffff_ffff, 0x1_0000_0000, 0xf_ffff_ffff_ffff]) {
      expect(bench.l1Access(address)).toEqual({ outcome: 'emulate' });
      expect(bench.l1Access(address, 'write')).toEqual({ outcome: 'emulate' });
    }
  });

  it('follow memory that moves', () => {
    const bench = new NestedBench(host);
    bench.poke(0x5000, 0x1234n, 4);
    bench.l1Access(0x5000, 'write');
    bench.move(0x5000, 17 * MIB);
    expect(bench.l1Access(0x5123)).toEqual({ outcome: 'ok', host: 17 * MIB + 0x123 });
    expect(bench.peek(0x5000, 4)).toBe(0x1234n);
    expect(bench.l1Access(0x6123)).toEqual({ outcome: 'ok', host: 8 * MIB + 0x6123 });
  });

  it('are told apart for L1 and for an L2 whose L1 uses shadow paging', () => {
    const bench = new NestedBench(host);
    const own = bench.direct.load().address;
    bench.l1Access(0x1000);
    bench.current.guestMode = true;
    bench.direct.reconfigure('VMRUN');
    expect(bench.direct.load().directories[0]).not.toBe(null);
    const before = bench.tables.statistics.shadowPages;
    bench.l1Access(0x1000);
    expect(bench.direct.load().address).not.toBe(own);
    expect(before).toBeGreaterThanOrEqual(8);
  });
});
