import { describe, expect, it } from 'vitest';
import { AddressSpaceModel, TLB_CONTROL } from '../../src/oracle/address-space.ts';
import { CR0, CR4, EFER } from '../../src/oracle/bits.ts';
import type { OracleCpu } from '../../src/oracle/cpu.ts';
import type { EntryExpectation } from '../../src/oracle/expected.ts';
import type { Access } from '../../src/oracle/rights.ts';
import { Undecided } from '../../src/oracle/undecided.ts';
import { A, D, entries32, entries64, G, NX, P, PS, pae, ram, show, twoLevel, U, W } from './helpers.ts';

/** What may be cached of two stages, and what removes it: APM vol. 2 5.5.3, 15.16, 15.25. */

const read = { kind: 'read' } as const;
const write = { kind: 'write' } as const;
const fetch = { kind: 'fetch' } as const;
const ALL = P | W | U | A | D;
/** EXITINFO1 of a nested page fault, without its last byte. */
const FINAL = '1000000';
const TABLE = '2000000';

/** A 2-level guest with its root at guest-physical 0x1000 and a table at 0x2000. */
const guest = twoLevel({ cr3: 0x1000n });
/** PDE 3, PTE 5: guest-physical 0x7678. */
const linear = 0x00c0_5678n;
const PDE = 0xcn;
const PTE = 0x14n;
/** 2-level nested tables at 0x8000 and 0x9000. */
const host = twoLevel({ cr3: 0x8000n });
const l1 = twoLevel({ cr3: 0xf000n });
const leaf = (n: bigint): bigint => 0x9000n + 4n * n;
/** Guest-physical page n is at first system-physical page 0x100 + n. */
const system = (n: bigint): bigint => 0x10_0000n + n * 0x1000n;
/** What the byte of `linear` is in page n of the guest. */
const at = (n: bigint): string => (system(n) + 0x678n).toString(16);

interface Entry {
  readonly cpu?: OracleCpu;
  readonly asid?: number;
  readonly flush?: number;
  /** Null: without nested paging. */
  readonly under?: OracleCpu | null;
}

function start(cpu = guest, under = host) {
  const memory = ram();
  entries32(memory, 0x8000n, 0x9000n | ALL);
  for (let n = 0n; n < 16n; n++) memory.write(leaf(n), 4, system(n) | ALL);
  entries32(memory, system(1n) + PDE, 0x2000n | ALL, system(2n) + PTE, 0x7000n | ALL);
  const model = new AddressSpaceModel(memory, l1);
  const enter = ({
    cpu: state = cpu,
    asid = 1,
    flush = TLB_CONTROL.NOTHING,
    under: by = under,
  }: Entry = {}) => {
    if (model.asid !== 0) model.vmexit(l1);
    const nested = by === null ? {} : { nested: { host: by } };
    expect(model.vmrun({ cpu: state, asid, tlbControl: flush, ...nested })).toBe('entered');
  };
  enter();
  const outcomes = (access: Access = read, where = linear): string[] =>
    model.allowed(where, access).map(show);
  return { model, memory, enter, outcomes };
}

describe('an edited nested entry of the page', () => {
  const edited = (value = system(8n) | ALL) => {
    const all = start();
    all.model.store(leaf(7n), 4, value);
    return all;
  };

  it('may still be used as it was', () => {
    const { outcomes } = edited();
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    expect(outcomes(write)).toEqual([at(8n), at(7n)]);
    expect(outcomes(fetch)).toEqual([at(8n), at(7n)]);
  });

  it('not after TLB_CONTROL 1, 3 or 7, or under another ASID (table 15-9)', () => {
    for (const flush of [1, 3, 7]) {
      const { enter, outcomes } = edited();
      enter({ flush });
      expect(outcomes()).toEqual([at(8n)]);
    }
    const { enter, outcomes } = edited();
    enter({ asid: 2 });
    expect(outcomes()).toEqual([at(8n)]);
    enter({ asid: 1 });
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    enter({ asid: 2, flush: TLB_CONTROL.THIS_ASID });
    enter({ asid: 1 });
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    enter({ asid: 2, flush: TLB_CONTROL.ALL_ASIDS });
    enter({ asid: 1 });
    expect(outcomes()).toEqual([at(8n)]);
  });

  it('still after #VMEXIT and VMRUN, which flush nothing, and after all that the guest can do', () => {
    const { model, enter, outcomes } = edited();
    enter();
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    model.invlpg(linear);
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    model.writeCr3(0x1000n);
    model.writeCr4(CR4.PGE);
    model.writeCr0(CR0.PE);
    model.writeCr0(CR0.PE | CR0.PG | CR0.WP);
    model.invlpga(linear, 1);
    expect(outcomes()).toEqual([at(8n), at(7n)]);
  });

  it('absent: a nested page fault or the old page; present again: no fault (5.5.3)', () => {
    const { model, outcomes } = edited(0n);
    expect(outcomes()).toEqual([`NPF(${FINAL}04)7678`, at(7n)]);
    model.store(leaf(7n), 4, system(9n) | ALL);
    expect(outcomes()).toEqual([at(9n), at(7n)]);
  });

  it('that gives fewer rights: either; that gives more: they are there at once (5.5.3)', () => {
    const { model, outcomes } = edited(system(7n) | P | U | A | D);
    expect(outcomes(read)).toEqual([at(7n)]);
    expect(outcomes(write)).toEqual([`NPF(${FINAL}07)7678`, at(7n)]);
    const later = start();
    later.model.store(leaf(7n), 4, system(7n) | P | U | A);
    later.enter({ flush: TLB_CONTROL.THIS_ASID });
    expect(later.outcomes(write)).toEqual([`NPF(${FINAL}07)7678`]);
    later.model.store(leaf(7n), 4, system(7n) | P | W | U | A);
    expect(later.outcomes(write)).toEqual([at(7n)]);
    model.store(leaf(7n), 4, system(7n) | P | W | A | D);
    expect(outcomes(read)).toEqual([`NPF(${FINAL}05)7678`, at(7n)]);
  });

  it('a guest without rights is refused by its own tables, whatever is cached below', () => {
    const { model, outcomes } = edited();
    model.store(system(2n) + PTE, 4, 0x7000n | P | U | A);
    model.invlpg(linear);
    expect(outcomes(write)).toEqual(['#14(3)']);
  });
});

describe('flags of nested entries', () => {
  it('a nested entry that still has A = 0 was not cached: the access sets A, a write D', () => {
    const { model, memory, enter } = start();
    memory.write(leaf(7n), 4, system(7n) | P | W | U);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    const changed = (access: Access) => model.allowed(linear, access).map(({ entries }) => entries);
    expect(changed(read)).toEqual([[{ address: leaf(7n), width: 4, values: [system(7n) | P | W | U | A] }]]);
    expect(changed(write)).toEqual([[{ address: leaf(7n), width: 4, values: [system(7n) | ALL] }]]);
  });

  it('guest tables are written by each walk: nested D is set, and a translation without it is no use (15.25.5)', () => {
    const { model, memory, enter } = start();
    memory.write(leaf(2n), 4, system(2n) | P | W | U | A);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    expect(model.allowed(linear, read).map(({ entries }) => entries)).toEqual([
      [{ address: leaf(2n), width: 4, values: [system(2n) | ALL] }],
    ]);
  });

  it('an overwritten nested entry of a guest table may have had A and D set by a walk that nobody saw', () => {
    for (const flags of [0n, A, A | D]) {
      const { model, memory, enter, outcomes } = start();
      memory.write(system(10n) + PTE, 4, 0x8000n | ALL);
      memory.write(leaf(2n), 4, system(2n) | P | W | U | flags);
      enter({ flush: TLB_CONTROL.THIS_ASID });
      model.store(leaf(2n), 4, system(10n) | ALL);
      expect(outcomes()).toEqual([at(8n), at(7n)]);
    }
  });

  it('a write through a translation whose nested entry had D = 0 goes to the tables', () => {
    const { model, memory, enter, outcomes } = start();
    memory.write(leaf(7n), 4, system(7n) | P | W | U | A);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    model.store(leaf(7n), 4, system(8n) | P | W | U | A);
    expect(outcomes(read)).toEqual([at(8n), at(7n)]);
    expect(outcomes(write)).toEqual([at(8n)]);
  });

  it('software clears D of a nested entry: the write may set it, or find a translation that has it', () => {
    const { model } = start();
    model.store(leaf(7n), 4, system(7n) | P | W | U | A);
    expect(model.allowed(linear, write).map(({ entries }) => entries)).toEqual([
      [{ address: leaf(7n), width: 4, values: [system(7n) | ALL] }],
      [],
    ]);
  });

  it('a fault leaves those of the way there either way, each for itself (SDM vol. 3A 4.8)', () => {
    const { model, memory, enter } = start();
    memory.write(leaf(2n), 4, system(2n) | P | W | U);
    memory.write(system(2n) + PTE, 4, 0n);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    const fault = model.allowed(linear, read);
    expect(fault.map(show)).toEqual(['#14(0)']);
    expect(fault[0]!.entries).toHaveLength(1);
    const [{ address, values }] = fault[0]!.entries as [EntryExpectation];
    expect(address).toBe(leaf(2n));
    const set = (flags: bigint) => system(2n) | P | W | U | flags;
    expect(new Set(values)).toEqual(new Set([set(0n), set(A), set(D), set(A | D)]));
  });
});

describe('an edited nested entry of a guest table', () => {
  it('the guest entry may be read at the old place or the new one', () => {
    const { model, memory, outcomes, enter } = start();
    memory.write(system(10n) + PTE, 4, 0x8000n | ALL);
    model.store(leaf(2n), 4, system(10n) | ALL);
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    // What the guest does to its own caches leaves the place open.
    model.writeCr3(0x1000n);
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    // A new entry at the old place is seen there.
    model.store(system(2n) + PTE, 4, 0x9000n | ALL);
    model.invlpg(linear);
    expect(outcomes()).toEqual([at(8n), at(9n)]);
    // A page fault may come from there too: that entry is in memory, only its place is cached.
    model.store(system(2n) + PTE, 4, 0n);
    model.invlpg(linear);
    expect(outcomes()).toEqual([at(8n), '#14(0)']);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes()).toEqual([at(8n)]);
  });

  it('absent: a nested fault for the table, or on by the old place', () => {
    const { model, outcomes } = start();
    model.store(leaf(2n), 4, 0n);
    expect(outcomes()).toEqual([`NPF(${TABLE}06)2014`, at(7n)]);
    model.store(system(2n) + PTE, 4, 0x8000n | ALL);
    expect(outcomes()).toEqual([`NPF(${TABLE}06)2014`, at(8n), at(7n)]);
  });

  it('a cached upper-level entry leads past the edited root', () => {
    const { model, outcomes } = start();
    model.store(leaf(1n), 4, 0n);
    model.invlpg(linear + 0x40_0000n);
    expect(outcomes()).toEqual([`NPF(${TABLE}06)100c`, at(7n)]);
  });
});

describe('old and new entries together', () => {
  it('an old guest entry with a new nested one, if a walk could have met both', () => {
    const { model, outcomes } = start();
    model.store(leaf(7n), 4, system(11n) | ALL);
    model.store(system(2n) + PTE, 4, 0x8000n | ALL);
    expect(new Set(outcomes())).toEqual(new Set([at(8n), at(7n), at(11n)]));
    // Only the nested entry of its own time: the guest's last entry is cached only as part of a whole translation.
    const late = start();
    late.model.store(system(2n) + PTE, 4, 0x8000n | ALL);
    late.model.store(leaf(7n), 4, system(11n) | ALL);
    expect(late.outcomes()).toEqual([at(8n), at(7n)]);
  });

  it('a new guest entry with an old nested one, and INVLPG of it with the nested one still old', () => {
    const { model, outcomes } = start();
    model.store(leaf(8n), 4, system(12n) | ALL);
    model.store(system(2n) + PTE, 4, 0x8000n | ALL);
    expect(new Set(outcomes())).toEqual(new Set([at(12n), at(8n), at(7n)]));
    model.invlpg(linear);
    expect(outcomes()).toEqual([at(12n), at(8n)]);
  });

  it('an old upper-level entry of the guest with all that is below it now', () => {
    const { model, memory, outcomes } = start();
    entries32(memory, system(3n) + PTE, 0x9000n | ALL);
    model.store(system(1n) + PDE, 4, 0x3000n | ALL);
    expect(outcomes()).toEqual([at(9n), at(7n)]);
    model.store(system(2n) + PTE, 4, 0x8000n | ALL);
    model.store(leaf(8n), 4, system(13n) | ALL);
    expect(new Set(outcomes())).toEqual(new Set([at(9n), at(13n), at(8n), at(7n)]));
    // A nested fault on such a way: 5.5.3 speaks of page faults only.
    model.store(system(2n) + PTE, 4, 0xd00_0000n | ALL);
    expect(outcomes()).toContain(`NPF(${FINAL}04)d000678`);
    model.store(system(2n) + PTE, 4, 0n);
    expect(outcomes()).not.toContain('#14(0)');
  });

  it('a nested entry that came after a guest entry was flushed is not combined with it', () => {
    const { model, outcomes } = start();
    model.store(system(2n) + PTE, 4, 0x8000n | ALL);
    model.invlpg(linear);
    model.store(leaf(7n), 4, system(11n) | ALL);
    expect(outcomes()).toEqual([at(8n)]);
  });

  it('a guest entry from before the ASID was flushed is gone with the nested ones', () => {
    const { model, enter, outcomes } = start();
    model.store(system(2n) + PTE, 4, 0x8000n | ALL);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes()).toEqual([at(8n)]);
  });
});

describe('upper-level nested entries', () => {
  it('an old nested table may be followed to entries that it has now', () => {
    const { model, memory, outcomes } = start();
    for (let n = 0n; n < 16n; n++) memory.write(0xa000n + 4n * n, 4, system(n) | ALL);
    model.store(0x8000n, 4, 0xa000n | ALL);
    model.store(leaf(7n), 4, system(8n) | ALL);
    // New table, whole translation cached from the old one, old table as it is now.
    expect(new Set(outcomes())).toEqual(new Set([at(7n), at(8n)]));
    model.store(0xa000n + 4n * 7n, 4, system(9n) | ALL);
    expect(new Set(outcomes())).toEqual(new Set([at(9n), at(7n), at(8n)]));
    expect(outcomes()[0]).toBe(at(9n));
  });

  it('gives no fault: a fault comes from another walk of the nested tables', () => {
    const { model, memory, outcomes } = start();
    for (let n = 0n; n < 16n; n++) memory.write(0xa000n + 4n * n, 4, system(n) | ALL);
    memory.write(leaf(7n), 4, 0n);
    model.store(0x8000n, 4, 0xa000n | ALL);
    expect(outcomes()).toEqual([at(7n)]);
  });
});

describe('the host changes between VMRUNs without a flush', () => {
  it('another nCR3: what was cached under the old one stays', () => {
    const { memory, enter, outcomes } = start();
    entries32(memory, 0xb000n, 0xc000n | ALL);
    for (let n = 0n; n < 16n; n++) memory.write(0xc000n + 4n * n, 4, system(n) | ALL);
    memory.write(0xc000n + 4n * 7n, 4, system(8n) | ALL);
    enter({ under: twoLevel({ cr3: 0xb000n }) });
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    enter({ under: twoLevel({ cr3: 0xb000n }), flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes()).toEqual([at(8n)]);
  });

  it('another format: upper-level entries do not mix, whole translations may', () => {
    const { memory, enter, outcomes } = start();
    entries64(memory, 0xb000n, 0xc000n | P, 0xc000n, 0xd000n | ALL);
    for (let n = 0n; n < 16n; n++) memory.write(0xd000n + 8n * n, 8, system(n) | ALL);
    memory.write(0xd000n + 8n * 7n, 8, system(8n) | ALL | NX);
    const changed = pae({ cr3: 0xb000n });
    enter({ under: changed });
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    expect(outcomes(fetch)).toEqual([`NPF(${FINAL}15)7678`, at(7n)]);
    enter({ under: changed, flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes(fetch)).toEqual([`NPF(${FINAL}15)7678`]);
    // EFER.NXE counts as at VMRUN; whether a cached execute-disable does so after it is clear, nobody says.
    enter({ under: { ...changed, efer: 0n } });
    expect(outcomes(read)).toEqual([`NPF(${FINAL}0d)7678`, at(8n)]);
    expect(outcomes(fetch)).toEqual([`NPF(${FINAL}0d|${FINAL}1d)7678`, at(8n)]);
  });

  it('CR4.SMEP: reported as at the last VMRUN, also where an earlier one walked the same tables (15.25.6)', () => {
    const { memory, enter, outcomes } = start();
    memory.write(leaf(7n), 4, 0n);
    const smep = { ...host, cr4: host.cr4 | CR4.SMEP };
    enter({ under: smep });
    expect(outcomes(fetch)).toEqual([`NPF(${FINAL}14)7678`]);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes(fetch)).toEqual([`NPF(${FINAL}04|${FINAL}14)7678`]);
    enter({ under: smep });
    expect(outcomes(fetch)).toEqual([`NPF(${FINAL}14)7678`]);
  });

  it('nested paging switched off or on: whole translations may remain, as under any change of the tables', () => {
    const { model, memory, enter, outcomes } = start();
    entries32(memory, 0x1000n + PDE, 0x2000n | ALL, 0x2000n + PTE, 0x7000n | ALL);
    enter({ under: null });
    expect(outcomes()).toEqual(['7678', at(7n)]);
    enter({ under: null, flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes()).toEqual(['7678']);
    enter();
    expect(outcomes()).toEqual([at(7n), '7678']);
    // The guest's own flushes reach both.
    model.writeCr3(0x1000n);
    expect(outcomes()).toEqual([at(7n)]);
  });

  it('upper-level entries that were cached with nested paging are not used without, nor the reverse', () => {
    const { model, enter, outcomes } = start();
    enter({ under: null });
    expect(outcomes()).toEqual(['#14(0)', at(7n)]);
    // Only a walk with nested paging reads this, and there was none while it held 0x9000.
    model.store(system(2n) + PTE, 4, 0x9000n | ALL);
    model.store(system(2n) + PTE, 4, 0x8000n | ALL);
    expect(outcomes()).toEqual(['#14(0)', at(7n)]);
    enter();
    expect(outcomes()).toEqual([at(8n), at(7n)]);
  });
});

describe('global pages of the guest', () => {
  it('TLB_CONTROL 7 keeps their translations, with the nested entry that they were cached with', () => {
    const { model, enter, outcomes } = start(twoLevel({ cr3: 0x1000n }, CR4.PGE));
    model.store(system(2n) + PTE, 4, 0x7000n | ALL | G);
    model.store(leaf(7n), 4, system(8n) | ALL);
    model.store(leaf(9n), 4, system(9n) | ALL);
    enter({ flush: TLB_CONTROL.THIS_ASID_NON_GLOBAL });
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    // The nested translation itself is gone: a page that is newly mapped goes by the tables.
    model.invlpg(linear);
    expect(outcomes()).toEqual([at(8n)]);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes()).toEqual([at(8n)]);
  });
});

describe('INVLPGA and page faults (15.16.2, 5.5.3)', () => {
  it('INVLPGA drops the combined translation of its ASID, not the nested one', () => {
    const { model, outcomes } = start();
    model.store(system(2n) + PTE, 4, 0x8000n | ALL);
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    model.invlpga(linear, 2);
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    model.invlpga(linear, 1);
    expect(outcomes()).toEqual([at(8n)]);
  });

  it('a page fault drops what led to it in the guest; a nested page fault is not said to drop anything', () => {
    const { model, outcomes } = start();
    model.store(system(2n) + PTE, 4, 0n);
    model.settle(model.allowed(linear, read).slice(0, 1));
    model.store(system(2n) + PTE, 4, 0x8000n | ALL);
    expect(outcomes()).toEqual([at(8n)]);
    model.store(leaf(8n), 4, 0n);
    expect(outcomes()).toEqual([`NPF(${FINAL}04)8678`, at(8n)]);
    model.settle(model.allowed(linear, read).slice(0, 1));
    model.store(leaf(8n), 4, system(9n) | ALL);
    expect(outcomes()).toEqual([at(9n), at(8n)]);
  });
});

describe('a guest without paging', () => {
  const off = twoLevel({ cr0: CR0.PE });
  const where = 0x7678n;

  it('is translated by the nested tables, and cached', () => {
    const { model, enter, outcomes } = start(off);
    expect(model.allowed(where, read)).toEqual([
      { outcome: 'ok', address: system(7n) + 0x678n, pageSize: null, entries: [], source: 'tables' },
    ]);
    model.store(leaf(7n), 4, system(8n) | ALL);
    expect(outcomes(read, where)).toEqual([at(8n), at(7n)]);
    model.adjust({ cpl: 3 });
    expect(outcomes(write, where)).toEqual([at(8n), at(7n)]);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes(read, where)).toEqual([at(8n)]);
    expect(outcomes(read, linear)).toEqual([`NPF(${FINAL}04)c05678`]);
  });

  it('what was cached without paging may be found with it, and the reverse, until a flush', () => {
    const { model, enter, outcomes } = start(off);
    enter({ cpu: guest });
    expect(outcomes(read, where)).toEqual(['#14(0)', at(7n)]);
    model.writeCr3(0x1000n);
    expect(outcomes(read, where)).toEqual(['#14(0)']);
    expect(outcomes(read, linear)).toEqual([at(7n)]);
    enter({ cpu: off });
    expect(outcomes(read, linear)).toEqual([`NPF(${FINAL}04)c05678`, at(7n)]);
    // MOV CR0 that changes PG flushes.
    model.writeCr0(CR0.PE | CR0.PG);
    model.writeCr0(CR0.PE);
    expect(outcomes(read, linear)).toEqual([`NPF(${FINAL}04)c05678`]);
  });

  it('SMEP, SMAP and WP have nothing to check', () => {
    const { outcomes } = start(twoLevel({ cr0: CR0.PE }, CR4.SMEP | CR4.SMAP));
    for (const access of [read, write, fetch]) expect(outcomes(access, where)).toEqual([at(7n)]);
  });
});

describe('a PAE guest', () => {
  const cpu = pae({ cr3: 0x4000n });
  const paeStart = () => {
    const all = start(cpu);
    entries64(all.memory, system(4n), 0x5000n | P, system(5n) + 0x30n, 0x6000n | ALL);
    entries64(all.memory, system(6n) + 0x28n, 0x7000n | ALL);
    return all;
  };

  it('reads PDPTEs on use and may cache them, as upper-level entries (15.25.10)', () => {
    const { model, outcomes } = paeStart();
    expect(outcomes()).toEqual([at(7n)]);
    model.store(system(4n), 8, P | 2n);
    expect(outcomes()).toEqual(['#14(9)', at(7n)]);
    model.writeCr3(0x4000n);
    expect(outcomes()).toEqual(['#14(9)']);
  });

  it('the table of its PDPTEs is one: edited, the old place may be read', () => {
    const { model, memory, outcomes } = paeStart();
    entries64(memory, system(11n), 0x5000n | P | 2n);
    model.store(leaf(4n), 4, system(11n) | ALL);
    expect(outcomes()).toEqual(['#14(9)', at(7n)]);
    model.writeCr3(0x4000n);
    expect(outcomes()).toEqual(['#14(9)', at(7n)]);
  });

  it('its addresses above 4 GBytes are not present under a 32-bit host', () => {
    const { model, outcomes, enter } = paeStart();
    model.store(system(6n) + 0x28n, 8, 0x1_0000_7000n | ALL);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes()).toEqual([`NPF(${FINAL}04)100007678`]);
    model.store(system(5n) + 0x30n, 8, 0x2_0000_6000n | ALL);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes()).toEqual([`NPF(${TABLE}06)200006028`]);
  });

  it('EFER.NXE of the guest and of the host are two things', () => {
    const { model, outcomes, enter } = paeStart();
    enter({ cpu: { ...cpu, efer: 0n } });
    model.store(system(6n) + 0x28n, 8, 0x7000n | ALL | NX);
    enter({ cpu: { ...cpu, efer: 0n }, flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes(read)).toEqual(['#14(9)']);
    enter({ cpu: { ...cpu, efer: EFER.NXE }, flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes(fetch)).toEqual(['#14(17)']);
  });
});

describe('large pages', () => {
  it('INVLPG of any address of a large guest page drops every piece of it', () => {
    const { model, outcomes } = start(twoLevel({ cr3: 0x1000n }, CR4.PSE));
    model.store(system(1n) + PDE, 4, P | W | U | A | D | PS);
    model.invlpg(linear);
    expect(outcomes()).toEqual([at(5n)]);
    model.store(system(1n) + PDE, 4, 0x40_0000n | P | W | U | A | D | PS);
    expect(outcomes()).toEqual([`NPF(${FINAL}04)405678`, at(5n)]);
    model.invlpg(linear + 0x8000n);
    expect(outcomes()).toEqual([`NPF(${FINAL}04)405678`]);
  });

  it('a 4-MByte nested page is cached whole', () => {
    const { model, enter, outcomes } = start(guest, twoLevel({ cr3: 0x8000n }, CR4.PSE));
    model.store(0x8000n, 4, 0x40_0000n | ALL | PS);
    model.store(0x40_100cn, 4, 0x2000n | ALL);
    model.store(0x40_2014n, 4, 0x7000n | ALL);
    enter({ flush: TLB_CONTROL.THIS_ASID });
    expect(outcomes()).toEqual(['407678']);
    model.store(0x8000n, 4, 0x9000n | ALL);
    expect(new Set(outcomes())).toEqual(new Set([at(7n), '407678']));
  });
});

describe('bounds', () => {
  it('many edits cost little; more than can be told apart are undecided', () => {
    const { model, outcomes } = start();
    for (let n = 0n; n < 300n; n++) model.store(leaf(7n), 4, (0x20_0000n + n * 0x1000n) | ALL);
    expect(outcomes()).toHaveLength(301);
    for (let n = 0n; n < 300n; n++) model.store(leaf(2n), 4, (0x40_0000n + n * 0x1000n) | ALL);
    for (let n = 0n; n < 300n; n++) model.store(leaf(1n), 4, (0x80_0000n + n * 0x1000n) | ALL);
    // The last root is empty, and so is each place but the first: faults, and one old way on.
    expect(outcomes()[0]).toBe('#14(0)');
    for (let n = 0n; n < 300n; n++) model.store(0x80_0000n + n * 0x1000n + PDE, 4, 0x2000n | ALL);
    expect(() => outcomes()).toThrow(Undecided);
  });

  it('many walks and many pages at the end of each are undecided too', () => {
    const { model, outcomes } = start();
    for (let n = 0n; n < 100n; n++) {
      model.store(0x40_0000n + n * 0x1000n + PTE, 4, ((n % 10n) << 12n) | ALL);
      model.store(leaf(2n), 4, (0x40_0000n + n * 0x1000n) | ALL);
    }
    const few = outcomes().length;
    expect(few).toBeLessThan(200);
    for (let n = 3n; n < 10n; n++)
      for (let i = 0n; i < 600n; i++) model.store(leaf(n), 4, (0x60_0000n + (n * 600n + i) * 0x1000n) | ALL);
    expect(() => outcomes()).toThrow(/more than 4096 combinations/);
  });

  it('forgetting what was flushed changes nothing; the guest alone flushes nothing for good', () => {
    const { model, enter, outcomes } = start();
    model.store(leaf(7n), 4, system(8n) | ALL);
    model.writeCr3(0x1000n);
    model.vmexit(l1);
    model.writeCr3(0xf000n);
    enter();
    model.prune();
    expect(outcomes()).toEqual([at(8n), at(7n)]);
    for (let n = 0n; n < 20n; n++) model.store(leaf(7n), 4, system(n % 8n) | ALL);
    model.vmexit(l1);
    model.writeCr3(0xf000n);
    enter({ flush: TLB_CONTROL.ALL_ASIDS });
    const { historySize } = model;
    const before = outcomes();
    model.prune();
    expect(model.historySize).toBeLessThan(historySize - 20);
    expect(outcomes()).toEqual(before);
  });
});
