import fc from 'fast-check';
import { describe, it } from 'vitest';
import { CR0, CR4, EFER } from '../../src/arch/registers.ts';
import { Bench, type GuestRegisters } from './bench.ts';

/**
 * Random sequences of table edits, invalidations, register writes, mode switches, L1 <-> L2 transitions and accesses,
 * with invariants checked after each MMU operation and every access judged by the oracle.
 *
 * Frames: 1 and 3 page directories of 2-level paging, 4 two PDPTs, 5 a PAE page directory, 2, 6, 7 page tables of the
 * window; 8 to 23 tables of either kind, 32 to 47 data. The window maps all RAM at F0000000h in either format, so that
 * the guest can edit its tables.
 */
const WINDOW = 0xf000_0000;
const P = 1n;
const W = 2n;
const U = 4n;
const PAGING = (CR0.PE | CR0.PG | CR0.WP) >>> 0;
const FIRST_TABLE = 8;
const TABLES = 16;
const FIRST_DATA = 32;
const DATA = 16;
const ROOTS_2 = [0x1000, 0x3000] as const;
const ROOTS_PAE = [0x4000, 0x4020] as const;
const VMCBS = [0x3d000, 0x3e000] as const;

/** Linear addresses that probes use: few, so that they meet the same entries again. */
const LINEARS = [
  0x0000_0000, 0x0000_1000, 0x0000_3ff8, 0x0020_0000, 0x0020_1004, 0x0040_0000, 0x0040_2000, 0x0060_1000,
  0x3fff_f000, 0x4000_0000, 0x4020_1000, 0x8000_0000, 0x8040_3000, 0xc000_0000, 0xc020_0000, 0xc040_1000,
  0xffff_f000,
] as const;

type Step =
  | {
      readonly do: 'access';
      readonly kind: 'read' | 'write' | 'fetch';
      readonly linear: number;
      readonly offset: number;
      readonly size: 1 | 4 | 8;
      readonly user: boolean;
      readonly ac: boolean;
    }
  | {
      readonly do: 'edit';
      readonly table: number;
      readonly linear: number;
      readonly level: number;
      readonly entry: bigint;
      readonly wide: boolean;
    }
  | { readonly do: 'invlpg'; readonly linear: number }
  | {
      readonly do: 'path';
      readonly linear: number;
      readonly level: number;
      readonly bit: number;
      readonly frame: number;
      readonly access: 'read' | 'write' | 'fetch' | 'none';
      readonly invalidate: 'none' | 'invlpg' | 'reload';
    }
  | { readonly do: 'reload' }
  | { readonly do: 'root'; readonly root: number }
  | { readonly do: 'cr0'; readonly flip: number }
  | { readonly do: 'cr4'; readonly flip: number }
  | { readonly do: 'nx' }
  | { readonly do: 'mode'; readonly mode: 'off' | '2-level' | 'pae'; readonly root: number }
  | {
      readonly do: 'vmrun';
      readonly mode: 'off' | '2-level' | 'pae';
      readonly root: number;
      readonly cr4: number;
      readonly wp: boolean;
      readonly nx: boolean;
      readonly user: boolean;
      readonly asid: number;
      readonly tlb: number;
      readonly vmcb: number;
    }
  | { readonly do: 'vmmcall' };

const linear = fc.constantFrom(...LINEARS);
const bit = (n: number): fc.Arbitrary<bigint> => fc.constantFrom(0n, 1n << BigInt(n));
const often = (n: number): fc.Arbitrary<bigint> =>
  fc.constantFrom(1n << BigInt(n), 1n << BigInt(n), 1n << BigInt(n), 0n);
const rarely = (n: number): fc.Arbitrary<bigint> => fc.nat(19).map((x) => (x === 0 ? 1n << BigInt(n) : 0n));

/** Frames that entries refer to: tables, data, the second slot, nothing, above 4 GiB. */
const frame = fc.oneof(
  { weight: 6, arbitrary: fc.nat(TABLES - 1).map((n) => FIRST_TABLE + n) },
  { weight: 6, arbitrary: fc.nat(DATA - 1).map((n) => FIRST_DATA + n) },
  { weight: 2, arbitrary: fc.constantFrom(0x500, 0x501, 0x200, 0x1, 0x5) },
  { weight: 1, arbitrary: fc.constantFrom(0x480, 0xfee00) },
);

const entry: fc.Arbitrary<bigint> = fc
  .tuple(frame, often(0), often(1), often(2), bit(5), bit(6), rarely(7), bit(63), rarely(51), rarely(21))
  .map(([f, ...flags]) => flags.reduce((all, flag) => all | flag, BigInt(f) << 12n));

const size = fc.constantFrom<1 | 4 | 8>(1, 4, 4, 8);
const kind = fc.constantFrom<'read' | 'write' | 'fetch'>('read', 'write', 'write', 'fetch');
const mode = fc.constantFrom<'off' | '2-level' | 'pae'>('off', '2-level', 'pae', '2-level', 'pae');
const cr4 = fc.constantFrom(0, CR4.PSE, CR4.PSE | CR4.SMEP, CR4.SMAP, CR4.PGE, CR4.SMEP | CR4.SMAP);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('access' as const),
      kind,
      linear,
      offset: fc.constantFrom(0, 8, 0x800),
      size,
      user: fc.boolean(),
      ac: fc.boolean(),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('edit' as const),
      table: fc.constantFrom(1, 3, 4, 5, ...Array.from({ length: TABLES }, (_, i) => FIRST_TABLE + i)),
      linear,
      level: fc.constantFrom(1, 2, 3),
      entry,
      wide: fc.boolean(),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('path' as const),
      linear,
      level: fc.constantFrom(1, 1, 2),
      // -1 changes the frame instead.
      bit: fc.constantFrom(-1, -1, 0, 1, 1, 2, 5, 6, 6, 7, 63),
      frame,
      access: fc.constantFrom('read', 'write', 'write', 'fetch', 'none'),
      invalidate: fc.constantFrom('none', 'invlpg', 'invlpg', 'reload'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('invlpg' as const), linear }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reload' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('root' as const), root: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cr0' as const), flip: fc.constant(CR0.WP) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('cr4' as const),
      flip: fc.constantFrom(CR4.PSE, CR4.SMEP, CR4.SMAP, CR4.PGE, CR4.PAE),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('nx' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('mode' as const), mode, root: fc.nat(1) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('vmrun' as const),
      mode,
      root: fc.nat(1),
      cr4,
      wp: fc.boolean(),
      nx: fc.boolean(),
      user: fc.boolean(),
      asid: fc.constantFrom(1, 1, 2),
      tlb: fc.constantFrom(0, 0, 0, 1, 3),
      vmcb: fc.nat(1),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('vmmcall' as const) }) },
);

/** Index of an address in a table, by entry size and level. */
function indexOf(address: number, wide: boolean, level: number): number {
  if (level === 3) return (address >>> 30) & 3;
  if (wide) return (address >>> (level === 2 ? 21 : 12)) & 511;
  return (address >>> (level === 2 ? 22 : 12)) & 1023;
}

/** Makes every value stored by a probe another one. */
let counter = 0;

/** A small generator (mulberry32), so that a sequence's tables are one number. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Directories that mostly lead to tables, tables that mostly lead to data: enough to get somewhere. */
function fillTables(bench: Bench, seed: number): void {
  const random = randomFrom(seed);
  const flags = (): bigint =>
    P | (random(5) > 0 ? W : 0n) | (random(4) > 0 ? U : 0n) | BigInt(random(4) << 5);
  const tableEntry = (): bigint => (BigInt(FIRST_TABLE + random(6)) << 12n) | flags();
  const dataEntry = (): bigint =>
    (BigInt(random(8) > 0 ? FIRST_DATA + random(DATA) : FIRST_TABLE + random(6)) << 12n) | flags();
  for (const address of LINEARS) {
    for (const root of ROOTS_2) bench.poke(root + 4 * indexOf(address, false, 2), tableEntry(), 4);
    bench.poke(0x5000 + 8 * indexOf(address, true, 2), tableEntry(), 8);
    for (let table = FIRST_TABLE; table < FIRST_TABLE + TABLES; table += 1) {
      const wide = table % 2 === 1;
      const at = table * 0x1000 + indexOf(address, wide, 1) * (wide ? 8 : 4);
      bench.poke(at, random(2) === 0 ? dataEntry() : tableEntry(), wide ? 8 : 4);
    }
  }
  for (const root of ROOTS_PAE) {
    for (let i = 0; i < 3; i += 1)
      bench.poke(root + 8 * i, (BigInt(FIRST_TABLE + TABLES - 1 - 2 * random(4)) << 12n) | P, 8);
  }
}

/** Address and width of the entry that translates `linear` at `level` now, as the guest's tables stand; undefined where none does. */
function entryOnPath(
  bench: Bench,
  linear: number,
  level: number,
): { address: number; width: 4 | 8 } | undefined {
  const { cr0, cr3, cr4, pdptes } = bench.model.cpu;
  if ((Number(cr0) & CR0.PG) === 0) return undefined;
  const wide = (Number(cr4) & CR4.PAE) !== 0;
  const width = wide ? 8 : 4;
  let table = wide ? pdptes[linear >>> 30] & 0xffff_f000n : cr3 & 0xffff_f000n;
  for (let at = 2; ; at -= 1) {
    const address = Number(table) + indexOf(linear, wide, at) * width;
    if (!bench.isRam(address)) return undefined;
    if (at === level) return { address, width };
    table = bench.peek(address, width) & 0xffff_f000n;
  }
}

function editPath(bench: Bench, s: Step & { do: 'path' }): void {
  const place = entryOnPath(bench, s.linear, s.level);
  if (place === undefined) return;
  setPrivilege(bench, false, true);
  const before = bench.peek(place.address, place.width);
  const after = s.bit < 0 ? (before & 0xfffn) | (BigInt(s.frame) << 12n) : before ^ (1n << BigInt(s.bit));
  const value = BigInt.asUintN(8 * place.width, after);
  bench.access('write', (windowBase(bench) + place.address) >>> 0, place.width, value);
  if (s.invalidate === 'invlpg') bench.invlpg(s.linear);
  else if (s.invalidate === 'reload') bench.cr(3, Number(bench.model.cpu.cr3));
  if (s.access === 'none') return;
  counter += 1;
  bench.access(s.access, s.linear, s.access === 'fetch' ? 1 : 4, BigInt(counter));
}

function buildTables(bench: Bench): void {
  for (let i = 0; i < 1024; i += 1) bench.poke(0x2000 + 4 * i, (BigInt(i) << 12n) | P | W, 4);
  for (let i = 0; i < 1024; i += 1) bench.poke(0x6000 + 8 * i, (BigInt(i) << 12n) | P | W, 8);
  const pde = WINDOW >>> 22;
  for (const root of ROOTS_2) bench.poke(root + 4 * pde, 0x2000n | P | W, 4);
  for (const root of ROOTS_PAE) bench.poke(root + 8 * 3, 0x5000n | P, 8);
  const wide = (WINDOW >>> 21) & 511;
  bench.poke(0x5000 + 8 * wide, 0x6000n | P | W, 8);
  bench.poke(0x5000 + 8 * (wide + 1), 0x7000n | P | W, 8);
  for (let i = 0; i < DATA; i += 1) {
    for (let offset = 0; offset < 0x1000; offset += 0x400) {
      bench.poke((FIRST_DATA + i) * 0x1000 + offset, BigInt(0xd000_0000 + i * 0x1000 + offset), 4);
    }
  }
}

/** Where the guest can write physical memory: through the window, or directly with paging off. */
const windowBase = (bench: Bench): number => ((Number(bench.model.cpu.cr0) & CR0.PG) === 0 ? 0 : WINDOW);

function setPrivilege(bench: Bench, user: boolean, ac: boolean): void {
  const { cpl, eflagsAc } = bench.model.cpu;
  if (cpl !== (user ? 3 : 0) || eflagsAc !== ac) bench.privilege(user ? 3 : 0, ac);
}

function switchMode(bench: Bench, target: 'off' | '2-level' | 'pae', root: number): void {
  setPrivilege(bench, false, false);
  const { cr0, cr4: now } = bench.model.cpu;
  bench.cr(0, (Number(cr0) & ~CR0.PG) >>> 0);
  if (target === 'off') return;
  bench.cr(4, target === 'pae' ? Number(now) | CR4.PAE : Number(now) & ~CR4.PAE);
  bench.cr(3, target === 'pae' ? ROOTS_PAE[root] : ROOTS_2[root]);
  bench.cr(0, (Number(cr0) | CR0.PG) >>> 0);
}

/** False once the processor has shut down. */
function run(bench: Bench, s: Step): boolean {
  const { cpu } = bench.model;
  switch (s.do) {
    case 'access':
      setPrivilege(bench, s.user, s.ac);
      counter += 1;
      bench.access(s.kind, (s.linear + s.offset) >>> 0, s.kind === 'fetch' ? 1 : s.size, BigInt(counter));
      break;
    case 'edit': {
      setPrivilege(bench, false, true);
      const index = indexOf(s.linear, s.wide, s.level);
      const at = s.table * 0x1000 + index * (s.wide ? 8 : 4);
      bench.access('write', (windowBase(bench) + at) >>> 0, s.wide ? 8 : 4, s.entry);
      break;
    }
    case 'path':
      editPath(bench, s);
      break;
    case 'invlpg':
      setPrivilege(bench, false, false);
      bench.invlpg(s.linear);
      break;
    case 'reload':
      setPrivilege(bench, false, false);
      bench.cr(3, Number(cpu.cr3));
      break;
    case 'root':
      setPrivilege(bench, false, false);
      bench.cr(3, (Number(cpu.cr4) & CR4.PAE) !== 0 ? ROOTS_PAE[s.root] : ROOTS_2[s.root]);
      break;
    case 'cr0':
      setPrivilege(bench, false, false);
      bench.cr(0, (Number(cpu.cr0) ^ s.flip) >>> 0);
      break;
    case 'cr4':
      setPrivilege(bench, false, false);
      bench.cr(4, Number(cpu.cr4) ^ s.flip);
      break;
    case 'nx':
      setPrivilege(bench, false, false);
      bench.efer(Number(cpu.efer) ^ EFER.NXE);
      break;
    case 'mode':
      switchMode(bench, s.mode, s.root);
      break;
    case 'vmrun':
      if (!bench.guestMode) enter(bench, s);
      break;
    case 'vmmcall':
      if (bench.guestMode) return bench.vmmcall() === 'left';
      break;
  }
  return true;
}

function enter(bench: Bench, s: Step & { do: 'vmrun' }): void {
  setPrivilege(bench, false, false);
  const pae = s.mode === 'pae';
  const guest: GuestRegisters = {
    cr0: s.mode === 'off' ? CR0.PE : s.wp ? PAGING : (PAGING & ~CR0.WP) >>> 0,
    cr3: pae ? ROOTS_PAE[s.root] : ROOTS_2[s.root],
    cr4: s.cr4 | (pae ? CR4.PAE : 0),
    efer: s.nx ? EFER.NXE : 0,
    cpl: s.user ? 3 : 0,
    asid: s.asid,
    tlbControl: s.tlb,
  };
  bench.vmrun(VMCBS[s.vmcb], guest);
}

const MIB = 0x10_0000;

describe('random sequences', () => {
  it('show a guest nothing that a processor could not have shown it', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(fc.nat(), fc.array(step, { minLength: 20, maxLength: 80, size: 'max' }), (seed, steps) => {
        const bench = new Bench({ shadowPageLimit: 64 });
        fillTables(bench, seed);
        buildTables(bench);
        bench.efer(EFER.SVME);
        for (const s of steps) {
          if (!run(bench, s)) return;
          bench.model.prune();
        }
        bench.vm.checker?.checkAll(bench.vcpu.mmu, 'sequence');
        bench.compareMemory(0x1000, VMCBS[0]);
        bench.compareMemory(5 * MIB, 5 * MIB + 0x4000);
      }),
      {
        numRuns: Number(process.env.UMBRA_SEQUENCES ?? 150),
        seed: Number(process.env.UMBRA_SEED ?? 1),
        endOnFailure: process.env.UMBRA_SHRINK === undefined,
      },
    );
  });
});
