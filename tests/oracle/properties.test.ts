import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressSpaceModel } from '../../src/oracle/address-space.ts';
import { CR0, CR4, EFER, ENTRY } from '../../src/oracle/bits.ts';
import type { OracleCpu } from '../../src/oracle/cpu.ts';
import { oracleFeatures } from '../../src/oracle/cpu.ts';
import type { Expected } from '../../src/oracle/expected.ts';
import type { Access } from '../../src/oracle/rights.ts';
import { translate } from '../../src/oracle/translate.ts';
import {
  A,
  D,
  entries32,
  entries64,
  fourLevel,
  NX,
  P,
  PS,
  pae,
  ram,
  short,
  show,
  twoLevel,
  U,
  W,
} from './helpers.ts';

/** What must hold between answers of the oracle, whatever the tables: none of it repeats how they are computed. */

/** A page of a mapping that every format can express: within the first 4 MiB of RAM, at a page of the first 8 MiB. */
interface Mapping {
  readonly page: number;
  readonly frame: number;
  readonly writable: boolean;
  readonly user: boolean;
  readonly accessed: boolean;
  readonly dirty: boolean;
}

const mapping = fc.record<Mapping>({
  page: fc.nat(2047),
  frame: fc.nat(1023),
  writable: fc.boolean(),
  user: fc.boolean(),
  accessed: fc.boolean(),
  dirty: fc.boolean(),
});
const access = fc.record<Access>({
  kind: fc.constantFrom('read', 'write', 'fetch'),
  implicit: fc.boolean(),
});
const controls = fc.record({
  wp: fc.boolean(),
  smep: fc.boolean(),
  smap: fc.boolean(),
  ac: fc.boolean(),
  nxe: fc.boolean(),
  user: fc.boolean(),
});

function changes(c: { wp: boolean; smep: boolean; smap: boolean; ac: boolean; user: boolean }, cr4: bigint) {
  return {
    cr0: CR0.PE | CR0.PG | (c.wp ? CR0.WP : 0n),
    cr4: cr4 | (c.smep ? CR4.SMEP : 0n) | (c.smap ? CR4.SMAP : 0n),
    eflagsAc: c.ac,
    cpl: c.user ? 3 : 0,
  } as const;
}

const flags = (m: Mapping): bigint =>
  P | (m.writable ? W : 0n) | (m.user ? U : 0n) | (m.accessed ? A : 0n) | (m.dirty ? D : 0n);

/** The mapping list in each format; upper levels grant everything. Tables lie above 8 MiB. */
function asTwoLevel(list: readonly Mapping[]) {
  const memory = ram();
  entries32(memory, 0x80_0000n, 0x81_0000n | P | W | U, 0x80_0004n, 0x81_1000n | P | W | U);
  for (const m of list) memory.write(0x81_0000n + BigInt(4 * m.page), 4, (BigInt(m.frame) << 12n) | flags(m));
  return memory;
}
function asPae(list: readonly Mapping[]) {
  const memory = ram();
  for (let i = 0n; i < 4n; i++) memory.write(0x80_1000n + 8n * i, 8, (0x82_0000n + i * 0x1000n) | P | W | U);
  for (const m of list) memory.write(0x82_0000n + BigInt(8 * m.page), 8, (BigInt(m.frame) << 12n) | flags(m));
  return memory;
}
function asFourLevel(list: readonly Mapping[]) {
  const memory = asPae(list);
  entries64(memory, 0x80_2000n, 0x80_3000n | P | W | U, 0x80_3000n, 0x80_1000n | P | W | U);
  return memory;
}

const RUNS = 2000;

describe('formats agree', () => {
  it('the same mappings in 2-level, PAE and 4-level tables give the same outcome', () => {
    fc.assert(
      fc.property(
        fc.array(mapping, { minLength: 1, maxLength: 8 }),
        fc.nat(9),
        access,
        controls,
        (list, pick, a, c) => {
          const page = list[pick]?.page ?? pick * 200;
          const linear = BigInt(page * 4096 + 0x123);
          const efer = c.nxe ? EFER.NXE : 0n;
          const two = translate(
            twoLevel({ cr3: 0x80_0000n, ...changes(c, 0n) }),
            asTwoLevel(list),
            linear,
            a,
          );
          const three = translate(
            pae({ pdptes: [0x80_1000n | P, 0n, 0n, 0n], efer, ...changes(c, CR4.PAE) }),
            asPae(list),
            linear,
            a,
          );
          const four = translate(
            fourLevel({ cr3: 0x80_2000n, ...changes(c, CR4.PAE), efer: EFER.LME | EFER.LMA | efer }),
            asFourLevel(list),
            linear,
            a,
          );
          expect(short(four)).toBe(short(three));
          if (two.outcome === 'ok') expect(short(three)).toBe(short(two));
          else {
            // Only the instruction-fetch flag may differ: 2-level paging knows no NXE (SDM vol. 3A 4.7).
            expect(three.outcome === 'fault' && three.errorCode & ~0x10).toBe(two.errorCode & ~0x10);
          }
          // The entry that maps the page is the last one written, with the same flags before and after.
          const leaf = (outcome: typeof two) =>
            (outcome.outcome === 'ok' ? outcome.writes : []).map((w) => w.after & 0x7fn);
          expect(leaf(three).at(-1)).toBe(leaf(two).at(-1));
        },
      ),
      { numRuns: RUNS },
    );
  });
});

/** Dense random PAE tables: every entry points back into the same few pages. */
const entry64 = fc
  .record({
    large: fc.integer({ min: 0, max: 3 }),
    frame: fc.nat(7),
    flags: fc.bigInt({ min: 0n, max: 0x1ffn }),
    present: fc.integer({ min: 0, max: 9 }),
    high: fc.constantFrom(0n, 0n, 0n, 0n, NX, 1n << 40n, 1n << 62n),
  })
  .map(({ large, frame, flags: low, present, high }) => {
    const address = large === 0 ? BigInt(frame * 0x20_0000) | PS : BigInt(0x8000 + frame * 0x1000);
    const size = large === 0 ? low : low & ~PS;
    return ((address | size | high) & ~P) | (present > 0 ? P : 0n);
  });
const tables = fc.array(entry64, { minLength: 24, maxLength: 24 });

/** Tables of 3 pages at 0x8000, whose first 8 entries are used. */
function denseTables(list: readonly bigint[]) {
  const memory = ram();
  list.forEach((value, i) => {
    memory.write(0x8000n + BigInt(Math.floor(i / 8)) * 0x1000n + BigInt((i % 8) * 8), 8, value);
  });
  return memory;
}
const paeCpu = (c: Parameters<typeof changes>[0] & { nxe: boolean }): OracleCpu =>
  pae({
    pdptes: [0x8000n | P, 0x9000n | P, 0n, 0xa000n | P],
    efer: c.nxe ? EFER.NXE : 0n,
    ...changes(c, CR4.PAE),
  });
const linearAddress = fc
  .tuple(fc.nat(3), fc.nat(7), fc.nat(7), fc.nat(4095))
  .map(([a, b, c, d]) => BigInt(a * 0x4000_0000 + b * 0x20_0000 + c * 0x1000 + d));

/** Runs a check on random tables, controls, addresses and accesses, with the translation at hand. */
function onRandomTables(
  check: (cpu: OracleCpu, list: readonly bigint[], linear: bigint, a: Access) => void,
  numRuns = RUNS,
): void {
  fc.assert(
    fc.property(tables, controls, linearAddress, access, (list, c, linear, a) =>
      check(paeCpu(c), list, linear, a),
    ),
    { numRuns },
  );
}
const ok = (cpu: OracleCpu, list: readonly bigint[], linear: bigint, a: Access): boolean =>
  translate(cpu, denseTables(list), linear, a).outcome === 'ok';

describe('the random tables', () => {
  it('give accesses, protection faults, reserved bits and absent entries in plenty', () => {
    const seen = new Map<string, number>();
    const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
    onRandomTables((cpu, list, linear, a) => {
      const outcome = translate(cpu, denseTables(list), linear, a);
      if (outcome.outcome === 'ok') count(`${outcome.pageSize}`);
      else count(`fault ${outcome.errorCode & 9}`);
    });
    for (const what of ['4096', '2097152', 'fault 0', 'fault 1', 'fault 9']) {
      expect(seen.get(what) ?? 0, what).toBeGreaterThan(RUNS / 50);
    }
  });
});

describe('what permits more permits all that it permitted before', () => {
  it('a read or fetch that CPL 3 may do, CPL 0 may do too without SMAP and SMEP', () => {
    onRandomTables((cpu, list, linear, a) => {
      const open = { ...cpu, cr4: CR4.PAE };
      if (ok({ ...open, cpl: 3 }, list, linear, a))
        expect(ok({ ...open, cpl: 0 }, list, linear, a)).toBe(true);
    });
  });

  it('setting R/W or U/S in an entry never takes away an access, SMEP and SMAP apart', () => {
    onRandomTables((cpu, list, linear, a) => {
      const open = { ...cpu, cr4: CR4.PAE };
      if (!ok(open, list, linear, a)) return;
      for (const bit of [W, U])
        expect(
          ok(
            open,
            list.map((value) => value | bit),
            linear,
            a,
          ),
        ).toBe(true);
      expect(
        ok(
          cpu,
          list.map((value) => value | W),
          linear,
          a,
        ),
      ).toBe(ok(cpu, list, linear, a));
    });
  });

  it('clearing XD, WP, SMEP or SMAP, or setting EFLAGS.AC, never takes away an access', () => {
    onRandomTables((cpu, list, linear, a) => {
      if (!ok(cpu, list, linear, a)) return;
      expect(
        ok(
          cpu,
          list.map((value) => value & ~NX),
          linear,
          a,
        ),
      ).toBe(true);
      expect(ok({ ...cpu, cr0: cpu.cr0 & ~CR0.WP }, list, linear, a)).toBe(true);
      expect(ok({ ...cpu, cr4: cpu.cr4 & ~CR4.SMEP }, list, linear, a)).toBe(true);
      expect(ok({ ...cpu, cr4: cpu.cr4 & ~CR4.SMAP }, list, linear, a)).toBe(true);
      expect(ok({ ...cpu, eflagsAc: true }, list, linear, a)).toBe(true);
    });
  });

  it('a write that may be done can be done as a read', () => {
    onRandomTables((cpu, list, linear, a) => {
      if (ok(cpu, list, linear, { ...a, kind: 'write' }))
        expect(ok(cpu, list, linear, { ...a, kind: 'read' })).toBe(true);
    });
  });

  it('a narrower MAXPHYADDR only turns outcomes into reserved-bit faults or absent tables', () => {
    onRandomTables((cpu, list, linear, a) => {
      const wide = translate({ ...cpu, maxPhyAddr: 52 }, denseTables(list), linear, a);
      const narrow = translate({ ...cpu, maxPhyAddr: 36 }, denseTables(list), linear, a);
      if (narrow.outcome === 'ok') expect(narrow).toEqual(wide);
    });
  });
});

describe('shape of outcomes', () => {
  it('an error code tells the access, and RSVD and P go together', () => {
    onRandomTables((cpu, list, linear, a) => {
      const outcome = translate(cpu, denseTables(list), linear, a);
      if (outcome.outcome === 'ok') return;
      expect((outcome.errorCode & 2) !== 0).toBe(a.kind === 'write');
      expect((outcome.errorCode & 4) !== 0).toBe(cpu.cpl === 3 && a.implicit !== true);
      if ((outcome.errorCode & 8) !== 0) expect(outcome.errorCode & 1).toBe(1);
      if (a.kind !== 'fetch') expect(outcome.errorCode & 0x10).toBe(0);
      expect(outcome.cr2).toBe(linear);
    });
  });

  it('writes only set flags: accessed anywhere, dirty only on a write that is done', () => {
    onRandomTables((cpu, list, linear, a) => {
      const outcome = translate(cpu, denseTables(list), linear, a);
      for (const { before, after } of outcome.outcome === 'ok' ? outcome.writes : outcome.mayWrite) {
        expect(after & before).toBe(before);
        const set = after ^ before;
        expect(set & ~(ENTRY.A | ENTRY.D)).toBe(0n);
        if ((set & ENTRY.D) !== 0n) expect([outcome.outcome, a.kind]).toEqual(['ok', 'write']);
      }
    });
  });

  it('an access done twice writes nothing the second time, and goes to the same place', () => {
    onRandomTables((cpu, list, linear, a) => {
      const memory = denseTables(list);
      const first = translate(cpu, memory, linear, a);
      if (first.outcome !== 'ok') return;
      for (const { address, width, after } of first.writes) memory.write(address, width, after);
      expect(translate(cpu, memory, linear, a)).toEqual({ ...first, writes: [] });
    });
  });

  it('the page offset is the linear one, and the page is aligned to its size', () => {
    onRandomTables((cpu, list, linear, a) => {
      const outcome = translate(cpu, denseTables(list), linear, a);
      if (outcome.outcome !== 'ok' || outcome.pageSize === null) return;
      expect(outcome.address % BigInt(outcome.pageSize)).toBe(linear % BigInt(outcome.pageSize));
    });
  });
});

describe('sequences', () => {
  /** Edits of the dense tables between invalidations; the model must follow. */
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ op: fc.constant('edit' as const), slot: fc.nat(23), value: entry64 }),
    },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('invlpg' as const), linear: linearAddress }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('cr3' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('pge' as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({ op: fc.constant('access' as const), linear: linearAddress, a: access }),
    },
  );
  const sequence = fc.array(step, { maxLength: 12 });

  function play(
    list: readonly bigint[],
    cpu: OracleCpu,
    steps: readonly (typeof step extends fc.Arbitrary<infer S> ? S : never)[],
  ) {
    const memory = denseTables(list);
    entries64(memory, 0x1000n, 0x8000n | P, 0x1008n, 0x9000n | P, 0x1018n, 0xa000n | P);
    const model = new AddressSpaceModel(memory, cpu);
    for (const s of steps) {
      if (s.op === 'edit') {
        const at = 0x8000n + BigInt(Math.floor(s.slot / 8)) * 0x1000n + BigInt((s.slot % 8) * 8);
        model.store(at, 8, s.value);
      } else if (s.op === 'invlpg') model.invlpg(s.linear);
      else if (s.op === 'cr3') model.writeCr3(0x1000n);
      else if (s.op === 'pge') model.writeCr4(model.cpu.cr4 ^ CR4.PGE);
      else model.settle(model.allowed(s.linear, s.a).slice(0, 1));
    }
    return { model, memory };
  }
  const supervisor =
    (vendor: 'amd' | 'intel') =>
    (c: Parameters<typeof paeCpu>[0]): OracleCpu => ({
      ...paeCpu({ ...c, user: false }),
      cr3: 0x1000n,
      features: oracleFeatures({ vendor }),
    });

  it('always permit what the tables say now', () => {
    fc.assert(
      fc.property(tables, controls, sequence, linearAddress, access, (list, c, steps, linear, a) => {
        const { model, memory } = play(list, supervisor('amd')(c), steps);
        expect(short2(model.allowed(linear, a)[0]!)).toBe(short(translate(model.cpu, memory, linear, a)));
      }),
      { numRuns: 1000 },
    );
  });

  it('after a complete flush permit nothing else', () => {
    fc.assert(
      fc.property(tables, controls, sequence, linearAddress, access, (list, c, steps, linear, a) => {
        const { model, memory } = play(list, supervisor('intel')(c), steps);
        model.writeCr4(model.cpu.cr4 ^ CR4.PGE);
        const all = model.allowed(linear, a);
        const results = new Set(all.map(short2));
        expect([...results]).toEqual([short(translate(model.cpu, memory, linear, a))]);
      }),
      { numRuns: 1000 },
    );
  });

  it('INVLPG never permits more, and pruning changes nothing', () => {
    fc.assert(
      fc.property(tables, controls, sequence, linearAddress, access, (list, c, steps, linear, a) => {
        const { model } = play(list, supervisor('intel')(c), steps);
        const before = model.allowed(linear, a).map(short2);
        model.prune();
        expect(model.allowed(linear, a).map(short2)).toEqual(before);
        model.invlpg(linear);
        for (const outcome of model.allowed(linear, a).map(short2)) expect(before).toContain(outcome);
      }),
      { numRuns: 1000 },
    );
  });

  it('on AMD every fault is one that the tables give now', () => {
    fc.assert(
      fc.property(tables, controls, sequence, linearAddress, access, (list, c, steps, linear, a) => {
        const { model, memory } = play(list, supervisor('amd')(c), steps);
        const now = short(translate(model.cpu, memory, linear, a));
        for (const outcome of model.allowed(linear, a))
          if (outcome.outcome === 'fault') expect(short2(outcome)).toBe(now);
      }),
      { numRuns: 1000 },
    );
  });
});

const short2 = (expected: Expected): string =>
  expected.outcome === 'fault'
    ? `#${expected.vector}(0x${expected.errorCode.toString(16)})`
    : `0x${show(expected)}`;
