import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../../src/arch/cpu-model-text.ts';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { ACCESS } from '../../../src/arch/paging/permissions.ts';
import { CR0, CR4, EFER, EFLAGS, PFERR } from '../../../src/arch/registers.ts';
import { Cpu } from '../../../src/cpu/cpu.ts';
import { NESTED_PAGE_FAULT } from '../../../src/cpu/guest-exception.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import { type OracleCpu, oracleCpu, oracleFeatures } from '../../../src/oracle/cpu.ts';
import type { EntryWrite } from '../../../src/oracle/entry-writes.ts';
import type { PhysicalMemory } from '../../../src/oracle/memory.ts';
import { type NestedOutcome, translateNested } from '../../../src/oracle/nested.ts';
import type { Access } from '../../../src/oracle/rights.ts';

/**
 * The processor's two stages and its TLB against the oracle, on random tables: outcome, exit information, and what becomes
 * of accessed and dirty bits in either set of tables. A second access to the same page then shows whether an entry that the
 * first one made answers for a right that it was not asked about.
 */
const RUNS_PER_CELL = 1000; // four guests x three hosts

const HOSTS = ['2-level', '2-level+PSE', 'PAE'] as const;
const GUESTS = ['off', '2-level', '2-level+PSE', 'PAE'] as const;
type Mode = (typeof GUESTS)[number];

const RAM_SIZE = 0x10_0000;
/** Sixteen pages: the first half are the nested tables', the second the guest's, tables and data. */
const POOL = 0x4_0000;
const POOL_BYTES = 0x1_0000;
const GUEST_FRAME = (POOL + 0x8000) / 4096;
const ASID = 5;
const MODELS = ['current-amd', 'current-amd,-pse36', 'opteron'];
const WIDTHS = [32, 36, 40, 48];
const KINDS = ['read', 'write', 'fetch'] as const;

interface Case {
  /** Consumed one by one, each for an entry. */
  readonly entries: readonly number[];
  /** Index at each level, from the lowest; and the offset. */
  readonly indices: readonly number[];
  readonly offset: number;
  readonly switches: number;
  readonly model: number;
  readonly width: number;
  readonly kinds: readonly (typeof KINDS)[number][];
}
const cases: fc.Arbitrary<Case> = fc.record({
  entries: fc.array(fc.nat(0x7fff_ffff), { minLength: 96, maxLength: 96 }),
  indices: fc.tuple(fc.nat(1023), fc.nat(1023), fc.nat(3)),
  offset: fc.nat(4095),
  switches: fc.nat(0x7ff),
  model: fc.nat(MODELS.length - 1),
  width: fc.nat(WIDTHS.length - 1),
  kinds: fc.tuple(fc.constantFrom(...KINDS), fc.constantFrom(...KINDS)),
});
// biome-ignore format: table
const SWITCH = {
  HOST_NXE: 1, HOST_SMEP: 2, HOST_WP: 4, WP: 8, SMEP: 16, SMAP: 32, NXE: 64, USER: 128, AC: 256, IMPLICIT: 512, PGE: 1024,
} as const;

const processors = new Map<string, Cpu>();
function processor(name: string, maxPhysicalAddressBits: number): Cpu {
  const key = `${name}/${maxPhysicalAddressBits}`;
  let cpu = processors.get(key);
  if (cpu === undefined) {
    cpu = new Cpu({ model: { ...parseCpuModel(name), maxPhysicalAddressBits }, ramBytes: RAM_SIZE });
    processors.set(key, cpu);
  }
  return cpu;
}

/** The processor's memory as the oracle reads it. */
class SharedMemory implements PhysicalMemory {
  readonly #u8: Uint8Array;
  constructor(u8: Uint8Array) {
    this.#u8 = u8;
  }
  isRam(address: bigint): boolean {
    return address < BigInt(RAM_SIZE);
  }
  read(address: bigint, width: number): bigint {
    let value = 0n;
    for (let n = width - 1; n >= 0; n--) {
      const place = address + BigInt(n);
      value = (value << 8n) | BigInt(this.isRam(place) ? this.#u8[Number(place)]! : 0xff);
    }
    return value;
  }
  write(): void {
    throw new Error('the oracle only reads');
  }
  setPresent(): void {
    throw new Error('all of it is there');
  }
}

/** Bits that some format reserves, or almost does. */
const SPECIAL_BITS = [63, 62, 59, 52, 51, 48, 47, 40, 39, 36, 35, 32, 22, 21, 20, 17, 16, 13, 12, 8, 7, 6, 5];

/** Flags out of random bits: mostly P, W and U; now and then one or several missing, or a special bit. */
function flagsOf(n: number, width: 4 | 8): bigint {
  let flags = 7n;
  if (n % 16 === 0) flags = BigInt((n >>> 4) & 7);
  if (n % 7 === 0) flags |= BigInt((n >>> 8) & 0x7f) << 5n;
  if (n % 23 === 0) flags ^= 1n << BigInt(SPECIAL_BITS[(n >>> 16) % SPECIAL_BITS.length]!);
  return width === 4 ? flags & 0xffff_ffffn : flags;
}

class Setup {
  readonly cpu: Cpu;
  readonly memory: SharedMemory;
  readonly guest: OracleCpu;
  readonly host: OracleCpu;
  readonly linear: number;
  readonly #case: Case;
  #next = 0;

  constructor(hostMode: Mode, guestMode: Mode, c: Case) {
    this.#case = c;
    const width = WIDTHS[c.width]!;
    const cpu = processor(MODELS[c.model]!, width);
    this.cpu = cpu;
    this.memory = new SharedMemory(cpu.physical.u8.subarray(0, RAM_SIZE));
    cpu.physical.u8.fill(0, POOL, POOL + POOL_BYTES);
    const large = guestMode === 'PAE' ? 511 : 1023;
    const [first, second, third] = c.indices as [number, number, number];
    const shift = guestMode === 'PAE' ? 21 : 22;
    // Paging off, the linear address is guest-physical: of the pool, or thereabouts.
    this.linear =
      guestMode === 'off'
        ? (GUEST_FRAME + (first % 10)) * 4096 + c.offset
        : ((third % (guestMode === 'PAE' ? 4 : 1)) * 2 ** 30 +
            (second & large) * 2 ** shift +
            (first & large) * 4096 +
            c.offset) %
          2 ** 32;
    this.#buildNested(hostMode);
    if (guestMode !== 'off') this.#buildGuest(guestMode);
    const features = oracleFeatures({ vendor: 'amd', pse36: cpu.hasFeature('pse36') });
    const on = (bit: number): boolean => (c.switches & bit) !== 0;
    const bit = (yes: boolean, value: number): bigint => (yes ? BigInt(value >>> 0) : 0n);
    this.host = oracleCpu({
      cr0: BigInt((CR0.PE | CR0.PG) >>> 0) | bit(on(SWITCH.HOST_WP), CR0.WP),
      cr3: BigInt(POOL),
      cr4:
        bit(hostMode === 'PAE', CR4.PAE) |
        bit(hostMode === '2-level+PSE', CR4.PSE) |
        bit(on(SWITCH.HOST_SMEP), CR4.SMEP),
      efer: bit(on(SWITCH.HOST_NXE), EFER.NXE),
      maxPhyAddr: width,
      features,
    });
    this.guest = oracleCpu({
      cr0: BigInt(CR0.PE) | bit(guestMode !== 'off', CR0.PG) | bit(on(SWITCH.WP), CR0.WP),
      cr3: BigInt(POOL + 0x8000),
      cr4:
        bit(guestMode === 'PAE', CR4.PAE) |
        bit(guestMode === '2-level+PSE', CR4.PSE) |
        bit(on(SWITCH.SMEP), CR4.SMEP) |
        bit(on(SWITCH.SMAP), CR4.SMAP) |
        bit(on(SWITCH.PGE), CR4.PGE),
      efer: bit(on(SWITCH.NXE), EFER.NXE),
      maxPhyAddr: width,
      features,
      cpl: on(SWITCH.USER) ? 3 : 0,
      eflagsAc: on(SWITCH.AC),
    });
    this.#load();
  }

  get #random(): number {
    return this.#case.entries[this.#next++ % this.#case.entries.length]!;
  }

  #write(address: number, width: 4 | 8, value: bigint): void {
    this.cpu.physical.write32(address, Number(value & 0xffff_ffffn));
    if (width === 8) this.cpu.physical.write32(address + 4, Number((value >> 32n) & 0xffff_ffffn));
  }

  /** Page 0 is a PDPT, 1 and 2 are directories, 3 to 7 tables; without PAE page 0 is the directory. */
  #buildNested(mode: Mode): void {
    const width = mode === 'PAE' ? 8 : 4;
    const directories = mode === 'PAE' ? [1, 2] : [0];
    if (mode === 'PAE') {
      for (let index = 0; index < 4; index++) {
        const n = this.#random;
        const odd = n % 13 === 0 ? flagsOf(this.#random, 8) : 1n;
        this.#write(POOL + index * 8, 8, BigInt(POOL + 0x1000 * (1 + (n % 2))) | odd);
      }
    }
    for (const page of directories) {
      const n = this.#random;
      // PS maps the start of memory to itself.
      const target = n % 6 === 0 ? 0x80n : BigInt(POOL + 0x1000 * (3 + (n % 5)));
      this.#write(POOL + page * 4096, width, target ^ flagsOf(n >>> 3, width));
    }
    for (let page = 3; page < 8; page++) {
      for (let index = GUEST_FRAME; index < GUEST_FRAME + 8; index++) {
        const n = this.#random;
        const frame = n % 9 === 0 ? GUEST_FRAME + ((n >>> 5) % 10) : index;
        this.#write(
          POOL + page * 4096 + index * width,
          width,
          BigInt(frame * 4096) | flagsOf(n >>> 4, width),
        );
      }
    }
  }

  /** Any of the eight pages may be reached at any level: entries at the indices of the linear address. */
  #buildGuest(mode: Mode): void {
    const width = mode === 'PAE' ? 8 : 4;
    const mask = mode === 'PAE' ? 511 : 1023;
    const [first, second, third] = this.#case.indices as [number, number, number];
    for (let page = 8; page < 16; page++) {
      const places = new Set([first & mask, second & mask]);
      if (mode === 'PAE') places.delete(third);
      for (const index of places) {
        const n = this.#random;
        let target = BigInt((GUEST_FRAME + (n % 8)) * 4096);
        if (n % 17 === 0) target |= width === 8 ? 0x3_0000_0000n : 0x4000_0000n;
        if (n % 8 === 3) target = (target & ~0xf_ffffn) | 0x80n;
        this.#write(POOL + page * 4096 + index * width, width, target ^ flagsOf(n >>> 5, width));
      }
    }
    if (mode !== 'PAE') return;
    const n = this.#random;
    const odd = n % 13 === 0 ? flagsOf(n >>> 4, 8) : 1n;
    for (let page = 8; page < 16; page++)
      this.#write(POOL + page * 4096 + third * 8, 8, BigInt((GUEST_FRAME + (n % 8)) * 4096) | odd);
  }

  /** What VMRUN loads, with nothing in the TLB. */
  #load(): void {
    const { cpu, guest, host } = this;
    const { state, paging } = cpu;
    paging.leaveNested();
    paging.tlb.flushEverything();
    paging.enterNested(Number(host.cr3), Number(host.cr4), Number(host.efer));
    state.setSystem(SYSTEM.CR0, Number(guest.cr0));
    state.setSystem(SYSTEM.CR3, Number(guest.cr3));
    state.setSystem(SYSTEM.CR4, Number(guest.cr4));
    state.setSystem(SYSTEM.EFER, Number(guest.efer));
    state.eflags = EFLAGS.ONE | (guest.eflagsAc ? EFLAGS.AC : 0);
    cpu.cpl = guest.cpl;
    paging.switchAsid(ASID, false);
    cpu.updateContext();
  }

  access(kind: Access['kind']): Access {
    const implicit = (this.#case.switches & SWITCH.IMPLICIT) !== 0 && kind !== 'fetch';
    return { kind, implicit };
  }

  expected(access: Access): NestedOutcome {
    return translateNested(this.guest, { host: this.host }, this.memory, BigInt(this.linear), access);
  }

  /** System-physical address, or -1 with the processor's exception filled in. */
  run({ kind, implicit }: Access): number {
    const { cpu } = this;
    const mode = implicit === true ? ACCESS.IMPLICIT : cpu.dataAccess;
    const how = kind === 'write' ? ACCESS.WRITE : kind === 'fetch' ? ACCESS.FETCH : ACCESS.READ;
    return cpu.paging.translate(this.linear, mode | how);
  }

  pool(): Uint8Array {
    return this.cpu.physical.u8.slice(POOL, POOL + POOL_BYTES);
  }
}

const read64 = (pool: Uint8Array, address: bigint, width: number): bigint => {
  let value = 0n;
  for (let n = width - 1; n >= 0; n--) value = (value << 8n) | BigInt(pool[Number(address) - POOL + n]!);
  return value;
};

/** Bits that changed must be among those of `writes`; all of them have to be there if `all`. */
function compareFlags(
  before: Uint8Array,
  after: Uint8Array,
  writes: readonly EntryWrite[],
  all: boolean,
): void {
  const allowed = new Uint8Array(POOL_BYTES);
  for (const { address, width, before: old, after: set } of writes) {
    for (let n = 0; n < width; n++)
      allowed[Number(address) - POOL + n]! |= Number(((old ^ set) >> BigInt(8 * n)) & 0xffn);
    if (all) expect(read64(after, address, width)).toBe(set);
  }
  for (let place = 0; place < POOL_BYTES; place++) {
    if (before[place] === after[place]) continue;
    expect((before[place]! ^ after[place]!) & ~allowed[place]!).toBe(0);
  }
}

const counts = { ok: 0, fault: 0, 'nested fault': 0 };

function check(setup: Setup, access: Access): NestedOutcome {
  const expected = setup.expected(access);
  const before = setup.pool();
  const address = setup.run(access);
  const after = setup.pool();
  const { exception } = setup.cpu;
  counts[expected.outcome]++;
  if (expected.outcome === 'ok') {
    expect(BigInt(address)).toBe(expected.address);
    compareFlags(before, after, expected.writes, true);
    return expected;
  }
  expect(address).toBe(-1);
  compareFlags(before, after, expected.mayWrite, false);
  if (expected.outcome === 'fault') {
    expect(exception.vector).toBe(VECTOR.PF);
    expect(exception.errorCode).toBe(expected.errorCode);
    expect(BigInt(exception.linear)).toBe(expected.cr2);
    return expected;
  }
  expect(exception.vector).toBe(NESTED_PAGE_FAULT);
  const half = exception.inGuestTable ? 1n << 33n : 1n << 32n;
  expect(expected.exitInfo1).toContain(BigInt(exception.errorCode) | half);
  expect(BigInt(exception.guestAddress)).toBe(expected.exitInfo2);
  // Where the manual permits both, the fetch bit follows the host's NX and SMEP.
  const { cr4, efer } = setup.host;
  const hasNx = (Number(cr4) & CR4.PAE) !== 0 && (Number(efer) & EFER.NXE) !== 0;
  const reports =
    access.kind === 'fetch' && !exception.inGuestTable && (hasNx || (Number(cr4) & CR4.SMEP) !== 0);
  expect((exception.errorCode & PFERR.F) !== 0).toBe(reports);
  return expected;
}

describe.each(HOSTS)('a host in %s paging', (host) => {
  it.each(GUESTS)('and a guest with paging %s', (guest) => {
    fc.assert(
      fc.property(cases, (c) => {
        const setup = new Setup(host, guest, c);
        const [first, second] = c.kinds.map((kind) => setup.access(kind)) as [Access, Access];
        const outcome = check(setup, first);
        // Flags that the access set may have made other entries of its own tables: the TLB need not know.
        const again = setup.expected(first);
        const same = again.outcome === 'ok' && outcome.outcome === 'ok' && again.address === outcome.address;
        if (outcome.outcome === 'ok' && !same) return;
        check(setup, second);
      }),
      { numRuns: RUNS_PER_CELL, seed: 4 },
    );
  });

  it('meets every outcome', () => {
    for (const outcome of ['ok', 'fault', 'nested fault'] as const)
      expect(counts[outcome]).toBeGreaterThan(RUNS_PER_CELL / 4);
  });
});
