import { describe, expect, it } from 'vitest';
import { gpa, hpa } from '../../src/arch/address.ts';
import { cpuModelNamed, pagingFeaturesOf } from '../../src/arch/cpu-models.ts';
import { ACCESS } from '../../src/arch/paging/permissions.ts';
import { CR0, CR4, PFERR } from '../../src/arch/registers.ts';
import { NPF } from '../../src/arch/vmcb.ts';
import { NO_MMIO } from '../../src/cpu/physical-memory.ts';
import { MemorySlots } from '../../src/l0/memslots.ts';
import { GuestFormats, MmuContext } from '../../src/l0/mmu/context.ts';
import { type LinearWalk, NestedWalk } from '../../src/l0/mmu/nested-walk.ts';
import type { ShadowTables } from '../../src/l0/mmu/shadow-tables.ts';
import { RULES } from '../../src/l0/rules.ts';

const P = 1;
const W = 2;
const U = 4;
const A = 0x20;
const D = 0x40;
const ALL = P | W | U;
const SIZE = 0x10_0000;
/** L1 has L2's page n in its own page n + 16. */
const SHIFT = 0x1_0000;
const [DIRECTORY, TABLE, PAGE, BAD] = [0x1000, 0x2000, 0x3000, 0x4000];
const WP = (CR0.PG | CR0.PE | CR0.WP) >>> 0;

class NestedTables implements LinearWalk {
  errorCode = 0;
  readonly seen: { address: number; access: number; marks: boolean }[] = [];
  readonly forbidden = new Map<number, number>();
  translate(address: number, access: number): number {
    return this.#go(address, access, true);
  }
  probe(address: number, access: number): number {
    return this.#go(address, access, false);
  }
  #go(address: number, access: number, marks: boolean): number {
    this.seen.push({ address, access, marks });
    const forbidden = this.forbidden.get(address >>> 12) ?? 0;
    if ((access & forbidden) === 0) return address + SHIFT;
    this.errorCode = PFERR.P | access;
    return -1;
  }
}

function setUp(registers: { cr0?: number; cr4?: number; cr3?: number } = {}) {
  const u32 = new Uint32Array(SIZE / 4);
  const memory = {
    size: SIZE,
    u8: new Uint8Array(u32.buffer),
    u16: new Uint16Array(u32.buffer),
    u32,
    written() {},
  };
  const slots = new MemorySlots();
  slots.add(gpa(0), { base: hpa(0), size: SIZE }, false);
  const tables = { memory, slots, mmio: NO_MMIO, rules: RULES, trace: null };
  const formats = new GuestFormats(pagingFeaturesOf(cpuModelNamed('current-amd')!, false));
  const state = {
    cr0: WP,
    cr3: DIRECTORY,
    cr4: 0,
    efer: 0,
    guestMode: true,
    pdptes: new Uint32Array(8),
    ...registers,
  };
  const context = new MmuContext(formats, state, RULES, 'direct', 0 as never);
  const nested = new NestedTables();
  const at = (address: number): number => (address + SHIFT) >>> 2;
  u32[at(DIRECTORY)] = TABLE | ALL;
  u32[at(TABLE)] = PAGE | ALL;
  u32[at(TABLE) + 1] = BAD | P | U;
  return { u32, at, state, nested, walk: new NestedWalk(tables as unknown as ShadowTables, context, nested) };
}

describe('the walk of an L2 with nested paging', () => {
  it('takes each table address and the result through the nested tables', () => {
    const { walk, nested } = setUp();
    expect(walk.translate(0x123, ACCESS.READ, false)).toBe(PAGE + SHIFT + 0x123);
    const user = ACCESS.USER;
    expect(nested.seen.filter(({ address }) => address < PAGE)).toEqual(
      [DIRECTORY, TABLE, DIRECTORY, TABLE].map((address) => ({
        address,
        access: ACCESS.WRITE | user,
        marks: true,
      })),
    );
    expect(nested.seen.at(-1)).toEqual({ address: PAGE + 0x123, access: user, marks: true });
  });

  it('sets A and D in the tables of L2 when it translates, and nothing when it looks', () => {
    const { walk, u32, at } = setUp();
    expect(walk.probe(0, ACCESS.WRITE, false)).toBe(PAGE + SHIFT);
    expect([u32[at(DIRECTORY)], u32[at(TABLE)]]).toEqual([TABLE | ALL, PAGE | ALL]);
    walk.translate(0, ACCESS.WRITE, false);
    expect([u32[at(DIRECTORY)], u32[at(TABLE)]]).toEqual([TABLE | ALL | A, PAGE | ALL | A | D]);
  });

  it("tells L2's own page faults from nested ones", () => {
    const { walk } = setUp();
    expect(walk.translate(0x1000, ACCESS.WRITE, false)).toBe(-1);
    expect(walk.nestedFault).toBeNull();
    expect(walk.errorCode).toBe(PFERR.P | PFERR.W);
    expect(walk.translate(0x2000, ACCESS.READ | ACCESS.USER, false)).toBe(-1);
    expect(walk.errorCode).toBe(PFERR.U);
  });

  it("sets A and D of nested entries on the way to L2's own fault, as the processor does", () => {
    const { walk, nested, u32, at } = setUp();
    expect(walk.probe(0x2000, ACCESS.READ, false)).toBe(-1);
    const marked = nested.seen.filter(({ marks }) => marks).map(({ address }) => address);
    expect(marked).toEqual([DIRECTORY, TABLE + 8]);
    expect(u32[at(DIRECTORY)]).toBe(TABLE | ALL);
  });

  it('reports a nested fault at a table', () => {
    const { walk, nested, u32, at } = setUp();
    nested.forbidden.set(TABLE >>> 12, ACCESS.WRITE);
    for (const look of [true, false]) {
      expect(look ? walk.probe(4, ACCESS.FETCH, false) : walk.translate(4, ACCESS.FETCH, false)).toBe(-1);
      expect(walk.nestedFault).toMatchObject({
        info1: PFERR.P | PFERR.W | PFERR.U,
        info1Hi: NPF.TABLE_HI,
        address: TABLE,
        fetch: true,
      });
    }
    expect(u32[at(DIRECTORY)]).toBe(TABLE | ALL);
  });

  it("reports a nested fault at the final address, with L2's flags set by then", () => {
    const { walk, nested, u32, at } = setUp();
    nested.forbidden.set(PAGE >>> 12, ACCESS.WRITE);
    expect(walk.probe(0x10, ACCESS.READ, false)).toBe(PAGE + SHIFT + 0x10);
    expect(walk.probe(0x10, ACCESS.WRITE, false)).toBe(-1);
    expect(walk.nestedFault).toMatchObject({
      info1: PFERR.P | PFERR.W | PFERR.U,
      info1Hi: NPF.FINAL_HI,
      address: PAGE + 0x10,
      fetch: false,
    });
    expect([u32[at(DIRECTORY)], u32[at(TABLE)]]).toEqual([TABLE | ALL | A, PAGE | ALL | A | D]);
  });

  it('translates with paging off, too', () => {
    const { walk, nested } = setUp({ cr0: CR0.PE });
    expect(walk.translate(0x5678, ACCESS.FETCH, false)).toBe(0x5678 + SHIFT);
    nested.forbidden.set(5, ACCESS.USER);
    expect(walk.translate(0x5678, ACCESS.READ, false)).toBe(-1);
    expect(walk.nestedFault).toMatchObject({ info1Hi: NPF.FINAL_HI, address: 0x5678 });
  });

  it('follows registers that L2 writes without an exit, and reads PDPTEs on use', () => {
    const { walk, u32, at, state } = setUp();
    expect(walk.translate(0, ACCESS.READ, false)).toBe(PAGE + SHIFT);
    state.cr4 = CR4.PAE;
    state.cr3 = 0x6020;
    u32[at(0x6020)] = 0x7000 | P;
    u32[at(0x7000)] = 0x8000 | ALL;
    u32[at(0x8000)] = 0x9000 | ALL;
    expect(walk.translate(0, ACCESS.READ, false)).toBe(0x9000 + SHIFT);
    // Bits 2:1 of a PDPTE are reserved, and nobody looks at them before the walk.
    u32[at(0x6020)] = 0x7000 | P | W;
    expect(walk.translate(0, ACCESS.READ, false)).toBe(-1);
    expect(walk.nestedFault).toBeNull();
    expect(walk.errorCode).toBe(PFERR.P | PFERR.RSVD);
  });

  it('hands on addresses above 4 GiB as they are', () => {
    const { walk, nested, u32, at } = setUp({ cr4: CR4.PSE });
    // A 4 MiB page at 4 GiB (PSE-36).
    u32[at(DIRECTORY)] = 0x2000 | 0x80 | ALL;
    expect(walk.translate(0x123, ACCESS.READ, false)).toBe(0x1_0000_0000 + SHIFT + 0x123);
    expect(nested.seen.at(-1)?.address).toBe(0x1_0000_0123);
  });
});
