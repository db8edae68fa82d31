import { describe, expect, it } from 'vitest';
import type { PagingLevel } from '../../src/arch/paging/format.ts';
import { CR4, PFERR } from '../../src/arch/registers.ts';
import { RULES, type Rules } from '../../src/l0/rules.ts';
import { HOSTS, type Host, NestedBench, type Seen } from './nested-bench.ts';
import { A, D, NestedTables, NX, npf, P, PS, SHAPES, type Shape, U, W } from './nested-tables.ts';

const MIB = 0x10_0000;
const GIB = 0x4000_0000;
const FULL = P | W | U;

/** Each of L0's formats under each of L1's; NX where L0 can offer it. */
const CELLS = (Object.keys(HOSTS) as Host[]).flatMap((host) =>
  (Object.keys(SHAPES) as Shape[])
    .filter((shape) => shape !== 'PAE with NX' || host === 'pae')
    .map((shape) => [host, shape] as const),
);

/** L2-physical pages in every gigabyte, in both halves of a page table, and at either end of what a table covers. */
const PAGES = [0, 0x5000, 0x1f_f000, 0x20_0000, 0x3f_f000, 0x40_0000, GIB, 2 * GIB + 0x20_3000, 0xffff_f000];

describe.each(CELLS)("L1's nested tables under a host kernel %s: %s", (host, shape) => {
  const make = (rules?: Rules): { bench: NestedBench; tables: NestedTables } => {
    const bench = new NestedBench(host, rules);
    return { bench, tables: new NestedTables(bench, shape) };
  };
  const ok = (bench: NestedBench, address: number): Seen => ({ outcome: 'ok', host: bench.host(address) });

  it('lead every address to where they say', () => {
    const { bench, tables } = make();
    for (const [i, page] of PAGES.entries()) tables.map(page, 0x40_0000 + i * 0x1000, FULL);
    tables.run();
    for (const access of ['read', 'write', 'fetch'] as const) {
      for (const [i, page] of PAGES.entries())
        expect(bench.l2Access(page + 0x123, access)).toEqual(ok(bench, 0x40_0123 + i * 0x1000));
    }
    expect(bench.l2Access(0x6000)).toEqual(npf(0));
    expect(bench.l2Access(3 * GIB, 'write')).toEqual(npf(PFERR.W));
    expect(bench.l2Access(0x1_0000_5000)).toEqual(npf(0));
  });

  it('give no right that an entry on the way does not give, whoever asks', () => {
    const { bench, tables } = make();
    tables.map(0x1000, 0x40_1000, P | U);
    tables.map(0x2000, 0x40_2000, P | W);
    tables.map(0x40_0000, 0x40_3000, FULL, P | U);
    tables.map(0x80_0000, 0x40_4000, FULL, P | W);
    tables.run();
    expect(bench.l2Access(0x1000)).toEqual(ok(bench, 0x40_1000));
    expect(bench.l2Access(0x1000, 'write')).toEqual(npf(PFERR.P | PFERR.W));
    expect(bench.l2Access(0x2000)).toEqual(npf(PFERR.P));
    expect(bench.l2Access(0x40_0000)).toEqual(ok(bench, 0x40_3000));
    expect(bench.l2Access(0x40_0000, 'write')).toEqual(npf(PFERR.P | PFERR.W));
    expect(bench.l2Access(0x80_0000)).toEqual(npf(PFERR.P));
  });

  it('share a table under two directories, each with its own rights', () => {
    const { bench, tables } = make();
    tables.map(0x1000, 0x40_1000, FULL | D);
    const [directory] = tables.path(0x1000).slice(-2);
    // The neighbouring directory entry of the same size refers to the same table, read-only.
    const step = tables.width === 8 ? 0x20_0000 : 0x40_0000;
    bench.poke(directory + tables.width, bench.peek(directory, tables.width) & ~W, tables.width);
    tables.run();
    for (let round = 0; round < 2; round += 1) {
      expect(bench.l2Access(0x1000, 'write')).toEqual(ok(bench, 0x40_1000));
      expect(bench.l2Access(step + 0x1000)).toEqual(ok(bench, 0x40_1000));
      expect(bench.l2Access(step + 0x1000, 'write')).toEqual(npf(PFERR.P | PFERR.W));
    }
  });

  it('get accessed and dirty bits as from the processor', () => {
    const { bench, tables } = make();
    tables.map(0x5000, 0x40_5000, FULL);
    tables.run();
    bench.l2Access(0x5000);
    expect(tables.entry(0x5000)).toBe(0x40_5000n | FULL | A);
    const [directory] = tables.path(0x5000).slice(-2);
    expect(bench.peek(directory, tables.width) & (A | D)).toBe(A);
    bench.l2Access(0x5000, 'write');
    expect(tables.entry(0x5000)).toBe(0x40_5000n | FULL | A | D);
    // A PDPTE has neither.
    if (tables.width === 8) expect(bench.peek(tables.path(0x5000)[0], 8) & 0xfffn).toBe(P);
  });

  it('count as soon as L1 has changed them and enters again', () => {
    const { bench, tables } = make();
    for (const page of [0x5000, 0x6000, 0x7000]) tables.map(page, 0x40_0000 + page, FULL | A | D);
    tables.run();
    for (const page of [0x5000, 0x6000, 0x7000]) bench.l2Access(page, 'write');
    const [at] = tables.path(0x5000).slice(-1);
    const { width } = tables;
    for (let round = 0; round < 3; round += 1) {
      bench.vmexit();
      bench.write(at, 0x40_5000n | P | U | A, width);
      bench.write(at + width, 0n, width);
      bench.write(at + 2 * width, 0x40_9000n | FULL | A, width);
      tables.run();
      expect(bench.l2Access(0x5000, 'write')).toEqual(npf(PFERR.P | PFERR.W));
      expect(bench.l2Access(0x5000)).toEqual(ok(bench, 0x40_5000));
      expect(bench.l2Access(0x6000)).toEqual(npf(0));
      expect(bench.l2Access(0x7000)).toEqual(ok(bench, 0x40_9000));
      expect(tables.entry(0x7000) & D).toBe(0n);
      bench.l2Access(0x7000, 'write');
      expect(tables.entry(0x7000) & D).toBe(D);
      bench.vmexit();
      bench.write(at, 0x40_5000n | FULL, width);
      bench.write(at + width, 0x40_6000n | FULL, width);
      tables.run();
      expect(bench.l2Access(0x5000, 'write')).toEqual(ok(bench, 0x40_5000));
      expect(bench.l2Access(0x6000, 'write')).toEqual(ok(bench, 0x40_6000));
    }
  });

  it('count at once when L2 itself changes them', () => {
    const { bench, tables } = make();
    tables.map(0x5000, 0x40_5000, FULL);
    const [at] = tables.path(0x5000).slice(-1);
    const [directory] = tables.path(0x5000).slice(-2);
    // The tables themselves are mapped where they are.
    for (let page = 0x10_0000; page < 0x10_8000; page += 0x1000) tables.map(page, page, FULL);
    tables.run();
    bench.l2Access(0x5000, 'write');
    bench.l2Write(at, 0x40_6000n | FULL, tables.width);
    expect(bench.l2Access(0x5000, 'write')).toEqual(ok(bench, 0x40_6000));
    bench.l2Write(at, 0x40_6000n | P | U, tables.width);
    expect(bench.l2Access(0x5000, 'write')).toEqual(npf(PFERR.P | PFERR.W));
    const before = bench.peek(directory, tables.width);
    bench.l2Write(directory, 0n, tables.width);
    expect(bench.l2Access(0x5000)).toEqual(npf(0));
    bench.poke(directory, before, tables.width);
    expect(bench.l2Access(0x5000)).toEqual(ok(bench, 0x40_6000));
  });

  it('stay protected from L2 where L1 has just written them', () => {
    const { bench, tables } = make();
    tables.map(0x5000, 0x40_5000, FULL);
    const [at] = tables.path(0x5000).slice(-1);
    for (let page = 0x10_0000; page < 0x10_8000; page += 0x1000) tables.map(page, page, FULL);
    tables.run();
    bench.l2Access(0x5000);
    bench.vmexit();
    // L1 finds its table writable from here on.
    bench.write(at, 0x40_6000n | FULL, tables.width);
    expect(bench.l1Access(at, 'write')).toEqual(ok(bench, at));
    tables.run();
    expect(bench.l2Access(0x5000)).toEqual(ok(bench, 0x40_6000));
    expect(bench.l2Access(at, 'write')).toEqual({ outcome: 'emulate' });
    bench.l2Write(at, 0x40_7000n | FULL, tables.width);
    expect(bench.l2Access(0x5000)).toEqual(ok(bench, 0x40_7000));
  });

  it('lead to nothing but the emulator where L1 has no memory', () => {
    const { bench, tables } = make();
    tables.map(0x5000, 0xfee0_0000, FULL);
    tables.map(0x6000, 9 * MIB, FULL);
    tables.run();
    for (let round = 0; round < 2; round += 1) {
      expect(bench.l2Access(0x5000)).toEqual({ outcome: 'emulate' });
      expect(bench.l2Access(0x6000, 'write')).toEqual({ outcome: 'emulate' });
    }
    bench.vmrun(9 * MIB, SHAPES[shape].cr4, SHAPES[shape].efer);
    expect(bench.l2Access(0x5000)).toMatchObject({ outcome: expect.not.stringMatching('ok') });
  });

  it('follow memory that moves underneath, pages and tables', () => {
    const { bench, tables } = make();
    tables.map(0x5000, 0x40_5000, FULL);
    tables.run();
    bench.l2Access(0x5000, 'write');
    bench.move(0x40_5000, 17 * MIB);
    expect(bench.l2Access(0x5000, 'write')).toEqual({ outcome: 'ok', host: 17 * MIB });
    const table = Math.floor(tables.path(0x5000).at(-1)! / 0x1000) * 0x1000;
    bench.move(table, 17 * MIB + 0x1000);
    bench.vmexit();
    bench.write(tables.path(0x5000).at(-1)!, 0x40_6000n | FULL, tables.width);
    tables.run();
    expect(bench.l2Access(0x5000, 'write')).toEqual(ok(bench, 0x40_6000));
  });

  it('are empty of memory that is removed, and have it again', () => {
    const { bench, tables } = make();
    tables.map(0x5000, 12 * MIB, FULL);
    tables.run();
    expect(bench.l2Access(0x5000)).toEqual(ok(bench, 12 * MIB));
    const back = bench.remove(12 * MIB);
    expect(bench.l2Access(0x5000)).toEqual({ outcome: 'emulate' });
    back();
    expect(bench.l2Access(0x5000)).toEqual(ok(bench, 12 * MIB));
  });

  it('of several guests of L1 are kept apart and found again', () => {
    const { bench, tables } = make();
    const others = [0x20_0000, 0x28_0000, 0x30_0000].map((first) => new NestedTables(bench, shape, first));
    const all = [tables, ...others];
    for (const [i, each] of all.entries()) each.map(0x5000, 0x40_0000 + i * 0x1000, FULL);
    for (let round = 0; round < 3; round += 1) {
      for (const [i, each] of all.entries()) {
        each.run();
        expect(bench.l2Access(0x5000, 'write')).toEqual(ok(bench, 0x40_0000 + i * 0x1000));
        bench.vmexit();
      }
    }
    expect(bench.tables.statistics.rootHits).toBeGreaterThan(3);
  });

  it('work within the limit of shadow pages', () => {
    const bench = new NestedBench(host, RULES, 64);
    const tables = new NestedTables(bench, shape);
    for (let i = 0; i < 100; i += 1) tables.map(i * 0x40_0000, 0x40_0000 + i * 0x1000, FULL);
    tables.run();
    for (let round = 0; round < 2; round += 1) {
      for (let i = 0; i < 100; i += 1)
        expect(bench.l2Access(i * 0x40_0000)).toEqual(ok(bench, 0x40_0000 + i * 0x1000));
    }
    expect(bench.tables.statistics.evictions).toBeGreaterThan(0);
    expect(bench.tables.pool.used).toBeLessThanOrEqual(64);
  });

  it("report fetches by L1's own SMEP, or NX", () => {
    const { bench, tables } = make();
    tables.run();
    bench.current.cr4 = CR4.SMEP;
    const nx = SHAPES[shape].efer === 0 ? 0 : PFERR.F;
    expect(bench.l2Access(0x5000, 'fetch')).toEqual(npf(nx));
    tables.run(CR4.SMEP);
    bench.current.cr4 = 0;
    expect(bench.l2Access(0x5000, 'fetch')).toEqual(npf(PFERR.F));
  });

  it('need no page of their own for CR4.SMEP and SMAP, which decide no nested rights', () => {
    const { bench, tables } = make();
    tables.map(0x5000, 0x40_5000, FULL);
    tables.run();
    bench.l2Access(0x5000, 'fetch');
    const before = bench.tables.statistics.shadowPagesCreated;
    tables.run(CR4.SMEP | CR4.SMAP);
    for (const access of ['read', 'write', 'fetch'] as const)
      expect(bench.l2Access(0x5000, access)).toEqual(ok(bench, 0x40_5000));
    expect(bench.tables.statistics.shadowPagesCreated).toBe(before);
  });

  if (SHAPES[shape].largeShift !== 0) {
    const size = 2 ** SHAPES[shape].largeShift;

    it('may have large pages', () => {
      const { bench, tables } = make();
      tables.mapLarge(GIB, 4 * MIB, FULL);
      tables.run();
      for (const offset of [0, 0x1234, size - 4]) {
        expect(bench.l2Access(GIB + offset)).toEqual(ok(bench, 4 * MIB + offset));
        expect(tables.entry(GIB) & D).toBe(0n);
      }
      bench.l2Access(GIB + 0x5000, 'write');
      expect(tables.entry(GIB)).toBe(BigInt(4 * MIB) | FULL | PS | A | D);
      expect(bench.l2Access(GIB + 0x7000, 'write')).toEqual(ok(bench, 4 * MIB + 0x7000));
    });

    it('may have large pages over the end of memory, over tables, and read-only', () => {
      const { bench, tables } = make();
      tables.mapLarge(GIB, 12 * MIB, P | U);
      tables.mapLarge(2 * GIB, 0, FULL);
      tables.map(0x5000, 0x40_5000, FULL);
      tables.run();
      expect(bench.l2Access(GIB + 0xf_f000)).toEqual(ok(bench, 12 * MIB + 0xf_f000));
      expect(bench.l2Access(GIB + 0xf_f000, 'write')).toEqual(npf(PFERR.P | PFERR.W));
      expect(bench.l2Access(GIB + 0x10_0000)).toEqual({ outcome: 'emulate' });
      bench.l2Access(0x5000);
      const at = tables.path(0x5000).at(-1)!;
      bench.l2Write(2 * GIB + at, 0x40_6000n | FULL, tables.width);
      expect(bench.l2Access(0x5000)).toEqual(ok(bench, 0x40_6000));
    });

    it('have reserved bits in large pages', () => {
      const { bench, tables } = make();
      const bit = tables.width === 8 ? 1n << 13n : 1n << 21n;
      tables.mapLarge(GIB, 4 * MIB, FULL | bit);
      tables.run();
      expect(bench.l2Access(GIB)).toEqual(npf(PFERR.P | PFERR.RSVD));
      expect(bench.l2Access(GIB, 'write')).toEqual(npf(PFERR.P | PFERR.RSVD | PFERR.W));
    });
  } else {
    it('know no large pages', () => {
      const { bench, tables } = make();
      tables.map(0x5000, 0x40_5000, FULL | PS, FULL | PS);
      tables.run();
      expect(bench.l2Access(0x5000)).toEqual(ok(bench, 0x40_5000));
    });
  }

  if (SHAPES[shape].width === 8) {
    it('have their PDPTEs in memory, whoever changes them', () => {
      const { bench, tables } = make();
      tables.map(GIB + 0x5000, 0x40_5000, FULL);
      tables.map(2 * GIB + 0x5000, 0x40_6000, FULL);
      for (let page = 0x10_0000; page < 0x10_8000; page += 0x1000) tables.map(page, page, FULL);
      const [first] = tables.path(GIB);
      const [second] = tables.path(2 * GIB);
      const other = bench.peek(second, 8);
      tables.run();
      expect(bench.l2Access(GIB + 0x5000)).toEqual(ok(bench, 0x40_5000));
      expect(bench.l2Access(3 * GIB + 0x5000)).toEqual(npf(0));
      // L1: one present entry for another, an absent one made present.
      bench.vmexit();
      const before = bench.peek(first, 8);
      bench.write(first, other, 8);
      bench.write(second + 8, before, 8);
      tables.run();
      expect(bench.l2Access(GIB + 0x5000)).toEqual(ok(bench, 0x40_6000));
      expect(bench.l2Access(3 * GIB + 0x5000)).toEqual(ok(bench, 0x40_5000));
      // L2, without any VMRUN.
      bench.l2Write(first, before, 8);
      expect(bench.l2Access(GIB + 0x5000)).toEqual(ok(bench, 0x40_5000));
      bench.l2Write(first, 0n, 8);
      expect(bench.l2Access(GIB + 0x5000)).toEqual(npf(0));
      for (const reserved of [2n, 4n, 0x20n, 0x100n, 1n << 62n]) {
        bench.l2Write(first, before | reserved, 8);
        expect(bench.l2Access(GIB + 0x5000)).toEqual(npf(PFERR.P | PFERR.RSVD));
      }
      bench.l2Write(first, before, 8);
      expect(bench.l2Access(GIB + 0x5000)).toEqual(ok(bench, 0x40_5000));
    });

    it('have NX, or a reserved bit in its place', () => {
      const { bench, tables } = make();
      tables.map(0x5000, 0x40_5000, FULL | NX);
      tables.run();
      const read = bench.l2Access(0x5000);
      if (SHAPES[shape].efer === 0) expect(read).toEqual(npf(PFERR.P | PFERR.RSVD));
      else {
        expect(read).toEqual(ok(bench, 0x40_5000));
        expect(bench.l2Access(0x5000, 'write')).toEqual(ok(bench, 0x40_5000));
        expect(bench.l2Access(0x5000, 'fetch')).toEqual(npf(PFERR.P | PFERR.F));
        bench.current.efer = 0;
        expect(bench.l2Access(0x5000, 'fetch')).toEqual(npf(PFERR.P | PFERR.F));
      }
    });
  }
});

const EVERYTHING = Uint8Array.from({ length: 16 }, (_, bits) => (bits & 6) | 1);

/** L1's format with something else in each level. */
const changedLevels =
  (change: () => Partial<PagingLevel>): Rules['nestedFormat'] =>
  (formats, base) => {
    const format = formats.of(base, true);
    return format && { ...format, levels: format.levels.map((level) => ({ ...level, ...change() })) };
  };

describe('the role of nested tables', () => {
  it.each(Object.keys(HOSTS) as Host[])('keeps formats of one table apart, host %s', (host) => {
    const bench = new NestedBench(host);
    const tables = new NestedTables(bench, '2-level with PSE');
    // As a 4-byte table: a 4 MiB page, or with PSE off a table at 400000h. As a PDPT at the same place: absent.
    tables.mapLarge(0, 4 * MIB, FULL);
    bench.poke(4 * MIB + 4 * 5, 0x12_3000n | FULL, 4);
    for (let round = 0; round < 3; round += 1) {
      bench.vmrun(tables.root, CR4.PSE);
      expect(bench.l2Access(0x5000)).toEqual({ outcome: 'ok', host: bench.host(4 * MIB + 0x5000) });
      bench.vmrun(tables.root, 0);
      expect(bench.l2Access(0x5000)).toEqual({ outcome: 'ok', host: bench.host(0x12_3000) });
      bench.vmrun(tables.root, CR4.PAE);
      expect(bench.l2Access(0x5000)).toEqual(npf(PFERR.P | PFERR.RSVD));
    }
  });

  it.each<[string, Host, Shape, Partial<Rules>]>([
    ['levels of L1', 'pae', '2-level', { nestedRootRole: (base) => base }],
    ['no page of PDPTEs', 'pae', '2-level', { rootHasPointers: () => false }],
    ['registers of L2', 'pae', 'PAE', { nestedRegisters: (_saved, current) => current }],
    [
      'no guest mode',
      'nopae',
      '2-level',
      { nestedRoleBase: (cr4, efer) => RULES.nestedRoleBase(cr4, efer, false) },
    ],
    ['half of the role compared', 'pae', 'PAE', { roleChanged: (_c, base, _e, now) => base !== now }],
    ["the leaf's rights", 'pae', 'PAE', { tableAccess: (_inherited, leaf) => leaf }],
    ['no dirty bit', 'nopae', '2-level', { rightsWhileClean: (rights) => rights }],
    ['supervisor accesses', 'pae', '2-level', { nestedAccess: (access) => access & ~4 }],
    ['unsync tables under L2', 'pae', '2-level', { toleratesUnsync: () => true }],
    ['stale PDPTEs', 'pae', 'PAE', { guardedTablesServe: () => true }],
    ['stale private tables', 'nopae', 'PAE', { guardedTablesServe: () => true }],
    ['NX dropped', 'pae', 'PAE with NX', { nestedFormat: changedLevels(() => ({ rights: EVERYTHING })) }],
    ['reserved bits ignored', 'pae', 'PAE', { nestedFormat: changedLevels(() => ({ reservedHi: 0 })) }],
    ['no NX', 'pae', 'PAE with NX', { permissionControl: (b, e) => RULES.permissionControl(b, e) & ~8 }],
  ])('or a wrong rule is found out: %s', (_what, host, shape, rules) => {
    const run = (of: Rules): void => {
      const bench = new NestedBench(host, of);
      const tables = new NestedTables(bench, shape);
      tables.map(0x4000, 0x40_4000, P | W);
      tables.map(0x5000, 0x40_5000, FULL);
      tables.map(0x6000, 0x40_6000, P | U);
      tables.map(0x7000, 0x40_7000, tables.width === 8 ? FULL | NX : FULL);
      for (let page = 0x10_0000; page < 0x10_8000; page += 0x1000) tables.map(page, page, FULL);
      bench.current.cr4 = CR4.SMEP;
      tables.run();
      expect(bench.l2Access(0x5000)).toEqual({ outcome: 'ok', host: bench.host(0x40_5000) });
      expect(bench.l2Access(0x4000)).toEqual(npf(PFERR.P));
      expect(bench.l2Access(0x6000)).toEqual({ outcome: 'ok', host: bench.host(0x40_6000) });
      if (shape === 'PAE with NX') expect(bench.l2Access(0x7000, 'fetch')).toEqual(npf(PFERR.P | PFERR.F));
      if (shape === 'PAE') expect(bench.l2Access(0x7000)).toEqual(npf(PFERR.P | PFERR.RSVD));
      bench.l2Access(0x5000, 'write');
      expect(tables.entry(0x5000) & D).toBe(D);
      bench.l2Write(tables.path(0x5000).at(-1)!, 0x40_7000n | FULL, tables.width);
      bench.l2Write(tables.path(0x5000).at(-1)!, 0x40_8000n | FULL, tables.width);
      expect(bench.l2Access(0x5000)).toEqual({ outcome: 'ok', host: bench.host(0x40_8000) });
      const [top] = tables.path(0x5000);
      bench.l2Write(top, 0n, tables.width);
      expect(bench.l2Access(0x5000)).toEqual(npf(0));
      tables.run(CR4.SMEP);
      expect(bench.l2Access(0x5000, 'fetch')).toEqual(npf(PFERR.F));
    };
    run(RULES);
    expect(() => run({ ...RULES, ...rules })).toThrow();
  });
});
