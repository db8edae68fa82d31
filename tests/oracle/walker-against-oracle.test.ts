import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fiveLevelFormat } from '../../src/arch/paging/five-level.ts';
import { type PagingFeatures, type PagingFormat, RIGHTS } from '../../src/arch/paging/format.ts';
import { fourLevelFormat } from '../../src/arch/paging/four-level.ts';
import { paeFormat, pdpteIndex, pdpteIsValid } from '../../src/arch/paging/pae.ts';
import {
  ACCESS,
  accessAllowed,
  pageFaultErrorCode,
  pagingControl,
} from '../../src/arch/paging/permissions.ts';
import { twoLevelFormat } from '../../src/arch/paging/two-level.ts';
import {
  translate as archTranslate,
  type EntryMemory,
  UPDATE,
  type Update,
  WALK,
  WalkResult,
} from '../../src/arch/paging/walker.ts';
import { CR0, CR4, EFER } from '../../src/oracle/bits.ts';
import { type OracleCpu, oracleCpu, oracleFeatures } from '../../src/oracle/cpu.ts';
import { SparseMemory } from '../../src/oracle/memory.ts';
import { loadPdptes } from '../../src/oracle/pdptes.ts';
import { type Access, pageFaultErrorCode as oracleErrorCode, rightsPermit } from '../../src/oracle/rights.ts';
import { type Outcome, translate } from '../../src/oracle/translate.ts';

/**
 * The processor's walker (src/arch/paging) against the oracle, on random tables dense with present, absent, large and
 * reserved entries. The oracle is written from the manuals alone; a difference is settled by the manuals, here or there.
 */
const RUNS_PER_FORMAT = 20_000; // five formats: 100,000 cases

type Format = '2-level' | 'PAE' | 'PAE, PDPTEs in memory' | '4-level' | '5-level';
const FORMATS: readonly Format[] = ['2-level', 'PAE', 'PAE, PDPTEs in memory', '4-level', '5-level'];

/** RAM of the cases; what lies above is open bus. */
const RAM_SIZE = 0x10_0000;
/** Four pages of tables; each may be reached at any level. */
const TABLES = 0x1_0000;
const TABLE_PAGES = 4;
const LEVELS: Record<Format, number> = {
  '2-level': 2,
  PAE: 3,
  'PAE, PDPTEs in memory': 3,
  '4-level': 4,
  '5-level': 5,
};

interface Case {
  /** One number for each (table page, level): see `entryOf`. */
  readonly entries: readonly number[];
  /** Index into the tables at each level, from the lowest. */
  readonly indices: readonly number[];
  readonly offset: number;
  /** Bits: WP, SMEP, SMAP, AC, NXE, PSE, PAT, PSE-36, 1-GByte pages, AMD, user, implicit, sign of the address. */
  readonly switches: number;
  readonly maxPhyAddr: number;
  readonly kind: Access['kind'];
}
const cases = (format: Format): fc.Arbitrary<Case> =>
  fc.record({
    entries: fc.array(fc.nat(0x7fff_ffff), {
      minLength: TABLE_PAGES * LEVELS[format],
      maxLength: TABLE_PAGES * LEVELS[format],
    }),
    indices: fc.array(fc.nat(1023), { minLength: LEVELS[format], maxLength: LEVELS[format] }),
    offset: fc.nat(4095),
    switches: fc.nat(0x1fff),
    maxPhyAddr: fc.constantFrom(32, 36, 40, 46, 52),
    kind: fc.constantFrom('read', 'write', 'fetch'),
  });
const SWITCH = {
  WP: 1,
  SMEP: 2,
  SMAP: 4,
  AC: 8,
  NXE: 16,
  PSE: 32,
  PAT: 64,
  PSE36: 128,
  GIB: 256,
  AMD: 512,
  USER: 1024,
  IMPLICIT: 2048,
  SIGN: 4096,
};

/** Bits that some format reserves, or almost does. */
const SPECIAL_BITS = [63, 62, 59, 58, 52, 51, 46, 40, 36, 32, 31, 29, 22, 21, 20, 17, 16, 13, 12, 8, 7, 1];

/** An entry out of 31 random bits: mostly present, pointing back into the tables, often large, sometimes odd. */
function entryOf(n: number, width: 4 | 8, level: number): bigint {
  let value = BigInt(n & 0xfff) & ~0x80n;
  if (((n >>> 12) & 15) !== 0) value |= 1n;
  const target = (n >>> 16) & 15;
  value |= BigInt(TABLES + (target % TABLE_PAGES) * 0x1000);
  if (target === 14) value |= 0x4000_0000n; // outside RAM
  if (target === 15) value |= 0x3_0000_0000n; // above 4 GiB
  // Above level 3 (2 here) most entries are plain, or few walks of 4 and 5 levels would get far.
  const plain = level > 2 && n % 7 !== 0;
  const shape = plain ? 7 : (n >>> 20) & 7;
  if (shape === 0) value |= 0x80n;
  if (shape === 1) value = (value & ~0x3fff_f000n) | 0x80n | (BigInt(target) << 30n);
  const special = (n >>> 23) & 127;
  if (!plain && special < SPECIAL_BITS.length) value ^= 1n << BigInt(SPECIAL_BITS[special]!);
  return width === 4 ? value & 0xffff_ffffn : value;
}

/** The entry without the bits that a present PDPTE reserves (SDM vol. 3A table 4-8). */
const pdpteLegal = (value: bigint, maxPhyAddr: number): bigint =>
  (value & 1n) === 0n ? value : value & ~(0x1e6n | (((1n << 64n) - 1n) << BigInt(maxPhyAddr)));

interface Setup {
  readonly cpu: OracleCpu;
  readonly memory: SparseMemory;
  readonly linear: bigint;
  readonly access: Access;
  readonly format: PagingFormat;
  readonly rootLo: number;
  readonly rootHi: number;
  readonly pageNumber: number;
  readonly archAccess: number;
  readonly control: number;
}

function setUp(name: Format, c: Case): Setup {
  const on = (bit: number): boolean => (c.switches & bit) !== 0;
  const width = name === '2-level' ? 4 : 8;
  const levels = LEVELS[name];
  const indexBits = name === '2-level' ? 10 : 9;
  const pae = name !== '2-level';
  const long = name === '4-level' || name === '5-level';
  // What AMD reserves more in long mode has its own tests below.
  const amd = on(SWITCH.AMD) && !long;
  const memory = new SparseMemory([{ base: 0n, size: BigInt(RAM_SIZE) }]);

  const indices = c.indices.map((index, level) => {
    if (!name.startsWith('PAE')) return index & ((1 << indexBits) - 1);
    if (level === 2) return index & 3; // four PDPTEs
    // Away from the PDPTEs in memory: one that is a PDE too gets its accessed flag set, which a PDPTE reserves, and
    // no manual says whether the same access still sees the PDPTE as it was.
    return (index & 511) | 16;
  });
  for (let page = 0; page < TABLE_PAGES; page++) {
    for (let level = 0; level < levels; level++) {
      const address = BigInt(TABLES + page * 0x1000 + indices[level]! * width);
      memory.write(address, width, entryOf(c.entries[page * levels + level]!, width, level));
    }
  }
  let cr3 = BigInt(TABLES) + (name === 'PAE' ? 0n : 0x18n);
  if (name === 'PAE, PDPTEs in memory') {
    // The page-directory-pointer table need not be page-aligned. Most bits of its entries are reserved: random ones
    // would hardly ever lead on.
    cr3 = BigInt(TABLES + 0x20 * (c.entries[0]! % 4));
    const random = c.entries[2]!;
    const value = entryOf(random, 8, 2);
    memory.write(
      cr3 + BigInt(8 * indices[2]!),
      8,
      random % 8 === 0 ? value : pdpteLegal(value, c.maxPhyAddr),
    );
  }
  let linear = BigInt(c.offset);
  indices.forEach((index, level) => {
    linear |= BigInt(index) << BigInt(12 + level * indexBits);
  });
  if (long) linear = BigInt.asUintN(64, BigInt.asIntN(name === '5-level' ? 57 : 48, linear));

  const features = oracleFeatures({
    vendor: amd ? 'amd' : 'intel',
    pat: on(SWITCH.PAT) || long,
    pse36: on(SWITCH.PSE36),
    gigabytePages: on(SWITCH.GIB),
    longMode: true,
  });
  // Registers hold only what a load lets in (SDM vol. 3A 4.4.1).
  const pdpte = (i: number): bigint =>
    pdpteLegal(entryOf(c.entries[i * levels + 2] ?? 0, 8, 2), c.maxPhyAddr);
  const implicit = on(SWITCH.IMPLICIT);
  const cpu = oracleCpu({
    cr0: CR0.PE | CR0.PG | (on(SWITCH.WP) ? CR0.WP : 0n),
    cr3,
    cr4:
      (pae ? CR4.PAE : 0n) |
      (on(SWITCH.PSE) ? CR4.PSE : 0n) |
      (on(SWITCH.SMEP) ? CR4.SMEP : 0n) |
      (on(SWITCH.SMAP) ? CR4.SMAP : 0n) |
      (name === '5-level' ? CR4.LA57 : 0n),
    efer: (on(SWITCH.NXE) ? EFER.NXE : 0n) | (long ? EFER.LME | EFER.LMA : 0n),
    pdptes: [pdpte(0), pdpte(1), pdpte(2), pdpte(3)],
    pdptesInMemory: name === 'PAE, PDPTEs in memory',
    maxPhyAddr: c.maxPhyAddr,
    features,
    cpl: on(SWITCH.USER) ? 3 : 0,
    eflagsAc: on(SWITCH.AC),
    csLong: long,
  });

  const archFeatures: PagingFeatures = {
    maxPhysicalAddressBits: c.maxPhyAddr,
    nx: on(SWITCH.NXE),
    pat: features.pat,
    pse36: features.pse36,
    pages1G: features.gigabytePages,
    amd,
  };
  const pageNumber = Number(linear >> 12n);
  const root = name === 'PAE' ? cpu.pdptes[pdpteIndex(pageNumber)]! : cr3;
  let archAccess = c.kind === 'write' ? ACCESS.WRITE : c.kind === 'fetch' ? ACCESS.FETCH : ACCESS.READ;
  if (on(SWITCH.USER) && !implicit) archAccess |= ACCESS.USER;
  if (implicit) archAccess |= ACCESS.IMPLICIT;
  return {
    cpu,
    memory,
    linear,
    access: { kind: c.kind, implicit },
    format: archFormat(name, archFeatures, on(SWITCH.PSE)),
    rootLo: Number(root & 0xffff_ffffn),
    rootHi: Number(root >> 32n),
    pageNumber,
    archAccess,
    control: pagingControl(Number(cpu.cr0), Number(cpu.cr4), Number(cpu.efer), on(SWITCH.AC) ? 0x4_0000 : 0),
  };
}

function archFormat(name: Format, features: PagingFeatures, pse: boolean): PagingFormat {
  switch (name) {
    case '2-level':
      return twoLevelFormat(pse, features);
    case 'PAE':
      return paeFormat(features);
    case 'PAE, PDPTEs in memory':
      return paeFormat(features, true);
    case '4-level':
      return fourLevelFormat(features);
    case '5-level':
      return fiveLevelFormat(features);
  }
}

/** The walker's view of the case's memory, which it also updates. Open bus: all ones, and writes are lost. */
class WalkerMemory implements EntryMemory {
  lo = 0;
  hi = 0;
  readonly updated = new Map<string, bigint>();
  readonly #memory: SparseMemory;

  constructor(memory: SparseMemory) {
    this.#memory = memory;
  }

  readEntry(address: number, size: 4 | 8): boolean {
    const value = this.updated.get(`${address}/${size}`) ?? this.#memory.read(BigInt(address), size);
    this.lo = Number(value & 0xffff_ffffn);
    this.hi = Number(value >> 32n);
    return true;
  }

  updateEntry(address: number, size: 4 | 8, lo: number, hi: number, newLo: number): Update {
    if (address >= RAM_SIZE) return UPDATE.READ_ONLY;
    this.readEntry(address, size);
    if (this.lo !== lo || this.hi !== hi) return UPDATE.CHANGED;
    this.updated.set(`${address}/${size}`, (BigInt(hi) << 32n) | BigInt(newLo >>> 0));
    return UPDATE.DONE;
  }
}

const result = new WalkResult();

/** What the walker did, in the oracle's terms. */
function walkerOutcome(s: Setup): { outcome: string; updates: Map<string, bigint> } {
  const memory = new WalkerMemory(s.memory);
  const status = archTranslate(
    s.format,
    s.rootLo,
    s.rootHi,
    s.pageNumber,
    s.archAccess,
    s.control,
    memory,
    result,
  );
  const outcome =
    status === WALK.OK
      ? `0x${(BigInt(result.frame) * 4096n + (s.linear & 0xfffn)).toString(16)} in ${2 ** result.pageShift} bytes`
      : `#PF(0x${result.errorCode.toString(16)})`;
  return { outcome, updates: memory.updated };
}

const oracleOutcome = (o: Outcome): string =>
  o.outcome === 'ok'
    ? `0x${o.address.toString(16)} in ${o.pageSize} bytes`
    : `#PF(0x${o.errorCode.toString(16)})`;

/** Updates the walker made that the oracle does not permit, or left out though it must make them. */
function wrongUpdates(oracle: Outcome, updates: ReadonlyMap<string, bigint>): string[] {
  const permitted = oracle.outcome === 'ok' ? oracle.writes : oracle.mayWrite;
  const wrong: string[] = [];
  const known = new Set<string>();
  for (const { address, width, after } of permitted) {
    const key = `${address}/${width}`;
    known.add(key);
    const done = updates.get(key);
    if (done !== after && (done !== undefined || oracle.outcome === 'ok')) {
      wrong.push(`entry ${key} must be 0x${after.toString(16)} and is 0x${(done ?? 0n).toString(16)}`);
    }
  }
  for (const key of updates.keys()) if (!known.has(key)) wrong.push(`entry ${key} must not be written`);
  return wrong;
}

describe.each(FORMATS)('%s', (name) => {
  it("address, page size, error code, accessed and dirty flags are the oracle's", () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(cases(name), (c) => {
        const s = setUp(name, c);
        const expected = translate(s.cpu, s.memory, s.linear, s.access);
        const { outcome, updates } = walkerOutcome(s);
        if (outcome !== oracleOutcome(expected) || wrongUpdates(expected, updates).length > 0) {
          expect({ outcome, updates: wrongUpdates(expected, updates) }).toEqual({
            outcome: oracleOutcome(expected),
            updates: [],
          });
        }
        const kind = expected.outcome === 'ok' ? `${expected.pageSize}` : `fault ${expected.errorCode & 9}`;
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
      }),
      { numRuns: RUNS_PER_FORMAT },
    );
    // The cases must be worth something: every kind of outcome, each in plenty. The rarest is one case in 100 on average.
    const large = { '2-level': ['4194304'], PAE: ['2097152'], '4-level': ['2097152', '1073741824'] };
    const kinds = [
      '4096',
      'fault 0',
      'fault 1',
      'fault 9',
      ...(large[name as keyof typeof large] ?? ['2097152']),
    ];
    for (const kind of kinds)
      expect(seen.get(kind) ?? 0, `${kind} of ${[...seen]}`).toBeGreaterThan(RUNS_PER_FORMAT / 200);
  }, 60_000);
});

describe('bit 8 of upper entries in long mode on AMD', () => {
  const at = (name: '4-level' | '5-level', level: number, amd: boolean): string[] => {
    const features = { maxPhysicalAddressBits: 40, nx: true, pat: true, pse36: true, pages1G: true, amd };
    const levels = LEVELS[name];
    const memory = new SparseMemory([{ base: 0n, size: BigInt(RAM_SIZE) }]);
    // Linear address 0; each table is a page of its own.
    for (let i = levels; i >= 1; i--) {
      const entry = BigInt((levels - i + 2) * 0x1000) | 7n | (i === level ? 0x100n : 0n);
      memory.write(BigInt((levels - i + 1) * 0x1000), 8, entry);
    }
    const cpu = oracleCpu({
      cr0: CR0.PE | CR0.PG,
      cr3: 0x1000n,
      cr4: CR4.PAE | (name === '5-level' ? CR4.LA57 : 0n),
      efer: EFER.LME | EFER.LMA | EFER.NXE,
      features: oracleFeatures({ vendor: amd ? 'amd' : 'intel', gigabytePages: true, longMode: true }),
    });
    const walker = new WalkerMemory(memory);
    archTranslate(archFormat(name, features, false), 0x1000, 0, 0, ACCESS.READ, 0, walker, result);
    return [
      `#PF(0x${result.errorCode.toString(16)})`,
      oracleOutcome(translate(cpu, memory, 0n, { kind: 'read' })).replace(/^0x.*/, '#PF(0x0)'),
    ];
  };

  it('is reserved in PML4E and PML5E (APM vol. 2 figures 5-19 and 5-20), and not on Intel', () => {
    for (const [name, level] of [
      ['4-level', 4],
      ['5-level', 4],
      ['5-level', 5],
    ] as const) {
      expect(at(name, level, true)).toEqual(['#PF(0x9)', '#PF(0x9)']);
      expect(at(name, level, false)).toEqual(['#PF(0x0)', '#PF(0x0)']);
    }
  });

  it('is ignored in a PDE', () => {
    expect(at('4-level', 2, true)).toEqual(['#PF(0x0)', '#PF(0x0)']);
  });

  it('is ignored in a PDPE (APM vol. 2 figure 5-21)', () => {
    expect(at('4-level', 3, true)).toEqual(['#PF(0x0)', '#PF(0x0)']);
  });
});

describe('rights and error codes', () => {
  it('agree for every combination', () => {
    const both = [false, true];
    let count = 0;
    for (const kind of ['read', 'write', 'fetch'] as const)
      for (const user of both)
        for (const implicit of both)
          for (let rights = 0; rights <= RIGHTS.ALL; rights++)
            for (let switches = 0; switches < 32; switches++)
              for (const pae of both) {
                const on = (bit: number): boolean => (switches & bit) !== 0;
                const cpu = oracleCpu({
                  cr0: CR0.PE | CR0.PG | (on(SWITCH.WP) ? CR0.WP : 0n),
                  cr4:
                    (pae ? CR4.PAE : 0n) |
                    (on(SWITCH.SMEP) ? CR4.SMEP : 0n) |
                    (on(SWITCH.SMAP) ? CR4.SMAP : 0n),
                  efer: on(SWITCH.NXE) ? EFER.NXE : 0n,
                  cpl: user ? 3 : 0,
                  eflagsAc: on(SWITCH.AC),
                });
                const access = { kind, implicit };
                let asked = kind === 'write' ? ACCESS.WRITE : kind === 'fetch' ? ACCESS.FETCH : ACCESS.READ;
                if (user && !implicit) asked |= ACCESS.USER;
                if (implicit) asked |= ACCESS.IMPLICIT;
                const control = pagingControl(
                  Number(cpu.cr0),
                  Number(cpu.cr4),
                  Number(cpu.efer),
                  on(SWITCH.AC) ? 0x4_0000 : 0,
                );
                const oracleRights = {
                  writable: (rights & RIGHTS.W) !== 0,
                  user: (rights & RIGHTS.U) !== 0,
                  // Where NXE is off no entry can take execution away (SDM vol. 3A 4.6.1).
                  executable: (rights & RIGHTS.X) !== 0,
                };
                const nxCounts = pae && on(SWITCH.NXE);
                if (nxCounts || oracleRights.executable) {
                  expect(accessAllowed(rights, asked, control)).toBe(rightsPermit(cpu, oracleRights, access));
                  count++;
                }
                for (const [cause, present, reserved] of [
                  [0, false, false],
                  [1, true, false],
                  [9, true, true],
                ] as const) {
                  expect(pageFaultErrorCode(cause, asked, control)).toBe(
                    oracleErrorCode(cpu, access, { present, reserved, protectionKey: false }),
                  );
                }
              }
    expect(count).toBeGreaterThan(3000);
  });
});

describe('PDPTEs', () => {
  it('are loaded or refused alike', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        fc.nat(63),
        fc.constantFrom(32, 36, 40, 52),
        (value, bit, maxPhyAddr) => {
          const cpu = oracleCpu({ maxPhyAddr });
          const features = {
            maxPhysicalAddressBits: maxPhyAddr,
            nx: true,
            pat: true,
            pse36: true,
            pages1G: false,
            amd: true,
          };
          const format = paeFormat(features);
          for (const pdpte of [
            value,
            value & 0xfff_fe19n,
            (value & 0xfff_fe19n) | 1n | (1n << BigInt(bit)),
          ]) {
            const memory = new SparseMemory([{ base: 0n, size: 0x1000n }]);
            memory.write(0x10n, 8, pdpte);
            const legal = pdpteIsValid(format, Number(pdpte & 0xffff_ffffn), Number(pdpte >> 32n));
            expect(legal).toBe(loadPdptes(cpu, memory, 0n) !== undefined);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
