import { describe, expect, it } from 'vitest';
import { AddressSpaceModel, TLB_CONTROL } from '../../src/oracle/address-space.ts';
import { CR0, CR4, EFER } from '../../src/oracle/bits.ts';
import { type OracleCpu, oracleFeatures } from '../../src/oracle/cpu.ts';
import type { SparseMemory } from '../../src/oracle/memory.ts';
import { A, D, entries32, entries64, G, NX, P, PS, pae, ram, show, twoLevel, U, W } from './helpers.ts';

const read = { kind: 'read' } as const;
const write = { kind: 'write' } as const;
const fetch = { kind: 'fetch' } as const;
// Linear 0x00c0_5678: PDE at 0x100c, PTE at 0x2014 of the table at 0x2000.
const linear = 0x00c0_5678n;
const PDE = 0x100cn;
const PTE = 0x2014n;
const ALL = P | W | U | A | D;
const intel = oracleFeatures({ vendor: 'intel' });

const outcomes = (
  model: AddressSpaceModel,
  access: Parameters<AddressSpaceModel['allowed']>[1] = read,
  at = linear,
) => model.allowed(at, access).map(show);

/** A 2-level address space that maps the linear page to frame 0x7000. */
function mapped(
  cpu: OracleCpu = twoLevel(),
  pte = 0x7000n | ALL,
): { model: AddressSpaceModel; memory: SparseMemory } {
  const memory = ram();
  entries32(memory, PDE, 0x2000n | ALL, PTE, pte);
  return { model: new AddressSpaceModel(memory, cpu), memory };
}

describe('an edited leaf entry (SDM vol. 3A 4.10.2, APM vol. 2 5.5.3)', () => {
  it('may still be used as it was, until INVLPG', () => {
    const { model } = mapped();
    expect(outcomes(model)).toEqual(['7678']);
    model.store(PTE, 4, 0x8000n | ALL);
    expect(outcomes(model)).toEqual(['8678', '7678']);
    model.store(PTE, 4, 0x9000n | ALL);
    expect(outcomes(model)).toEqual(['9678', '7678', '8678']);
    model.invlpg(linear);
    expect(outcomes(model)).toEqual(['9678']);
  });

  it('may be used after it became absent', () => {
    const { model } = mapped();
    model.store(PTE, 4, 0n);
    expect(outcomes(model)).toEqual(['#14(0)', '7678']);
    model.invlpg(linear & ~0xfffn);
    expect(outcomes(model)).toEqual(['#14(0)']);
  });

  it('INVLPG of another page does not help a 4-KByte translation', () => {
    const { model } = mapped();
    model.store(PTE, 4, 0x8000n | ALL);
    model.invlpg(linear + 0x1000n);
    expect(outcomes(model)).toEqual(['8678', '7678']);
  });

  it('an entry that was absent or reserved was never cached', () => {
    const { model } = mapped(twoLevel({}, CR4.PSE), 0n);
    model.store(PTE, 4, 0x7000n | ALL);
    expect(outcomes(model)).toEqual(['7678']);
    model.store(PDE, 4, P | A | PS | (1n << 21n));
    model.store(PDE, 4, 0x40_0000n | ALL | PS);
    expect(outcomes(model)).toEqual(['405678', '7678']);
  });

  it('an entry that is still there with A = 0 was not cached (4.10.2.2): the access sets it', () => {
    const { model } = mapped(twoLevel(), 0x7000n | P | W | U);
    expect(model.allowed(linear, read)).toEqual([
      {
        outcome: 'ok',
        address: 0x7678n,
        pageSize: 4096,
        entries: [{ address: PTE, width: 4, values: [0x7000n | P | W | U | A] }],
        source: 'tables',
      },
    ]);
  });

  it('software clears A without INVLPG: the flag may stay clear', () => {
    const { model } = mapped();
    model.store(PTE, 4, 0x7000n | P | W | U | D);
    const entries = model.allowed(linear, read).map((expected) => expected.entries);
    expect(entries).toEqual([[{ address: PTE, width: 4, values: [0x7000n | P | W | U | A | D] }], []]);
    model.invlpg(linear);
    expect(model.allowed(linear, read)).toHaveLength(1);
  });

  it('a store through a translation cached with D = 0 goes to the entry in memory', () => {
    const { model } = mapped(twoLevel(), 0x7000n | P | W | U | A);
    model.store(PTE, 4, 0x8000n | P | W | U | A);
    expect(outcomes(model, read)).toEqual(['8678', '7678']);
    // No cached translation has D set, so the write sees the tables and sets it there.
    expect(model.allowed(linear, write)).toEqual([
      {
        outcome: 'ok',
        address: 0x8678n,
        pageSize: 4096,
        entries: [{ address: PTE, width: 4, values: [0x8000n | ALL] }],
        source: 'tables',
      },
    ]);
  });
});

describe('rights', () => {
  it('taken away may linger; CR0.WP, SMEP, SMAP and CPL count at once', () => {
    const { model } = mapped();
    model.store(PTE, 4, 0x7000n | P | U | A | D);
    expect(outcomes(model, write)).toEqual(['#14(3)', '7678']);
    model.writeCr0(CR0.PE | CR0.PG);
    expect(outcomes(model, write)).toEqual(['7678']);
    model.writeCr0(CR0.PE | CR0.PG | CR0.WP);
    model.invlpg(linear);
    expect(outcomes(model, write)).toEqual(['#14(3)']);
    model.writeCr4(CR4.SMAP);
    expect(outcomes(model, read)).toEqual(['#14(1)']);
    model.adjust({ cpl: 3 });
    expect(outcomes(model, read)).toEqual(['7678']);
  });

  it('given: AMD never faults from the old entry (APM vol. 2 5.5.3), Intel may once (SDM vol. 3A 4.10.4.3)', () => {
    const readOnly = 0x7000n | P | U | A | D;
    const amd = mapped(twoLevel(), readOnly).model;
    amd.store(PTE, 4, 0x7000n | ALL);
    expect(outcomes(amd, write)).toEqual(['7678']);

    const { model } = mapped(twoLevel({ features: intel }), readOnly);
    model.store(PTE, 4, 0x7000n | ALL);
    expect(outcomes(model, write)).toEqual(['7678', '#14(3)']);
    // The fault invalidates: it cannot happen again.
    model.settle(model.allowed(linear, write).filter((expected) => expected.outcome === 'fault'));
    expect(outcomes(model, write)).toEqual(['7678']);
  });

  it('a fault invalidates its own page only', () => {
    const { model, memory } = mapped();
    memory.write(PTE + 4n, 4, 0xa000n | ALL);
    model.store(PTE, 4, 0n);
    model.store(PTE + 4n, 4, 0n);
    model.settle(model.allowed(linear, read).filter((expected) => expected.outcome === 'fault'));
    expect(outcomes(model)).toEqual(['#14(0)']);
    expect(outcomes(model, read, linear + 0x1000n)).toEqual(['#14(0)', 'a678']);
  });
});

describe('a fault and upper levels', () => {
  it('drops only those on the way to its page (SDM vol. 3A 4.10.4.1, footnote)', () => {
    const { model } = mapped();
    model.settle(model.allowed(0n, read)); // PDE 0 is absent
    model.store(PDE, 4, 0x3000n | ALL);
    model.settle(model.allowed(0n, read));
    model.store(PTE, 4, 0xb000n | ALL);
    expect(outcomes(model)).toContain('b678');
  });

  it('takes what was seen only for the entry it was seen in', () => {
    const memory = ram();
    entries32(memory, PDE, 0x2000n | P | W | U, PTE, 0x7000n | P);
    const model = new AddressSpaceModel(memory, twoLevel({ cpl: 3 }));
    model.settle(model.allowed(linear, read), [{ address: PTE, width: 4, value: 0x7000n | P }]);
    expect([model.unknown(PTE, 4), model.unknown(PDE, 4)]).toEqual([0n, A]);
  });
});

describe('upper levels (SDM vol. 3A 4.10.3)', () => {
  it('an old table may be followed to entries written later', () => {
    const { model } = mapped();
    model.store(0x3014n, 4, 0x9000n | ALL);
    model.store(PDE, 4, 0x3000n | ALL);
    model.store(PTE, 4, 0x8000n | ALL);
    // New table; old table as it is now; old table as it was.
    expect(outcomes(model)).toEqual(['9678', '8678', '7678']);
    const sorted = () => outcomes(model).toSorted();
    // INVLPG of any page drops all upper-level entries, but only its own translation.
    model.invlpg(0n);
    expect(sorted()).toEqual(['7678', '8678', '9678']);
    model.store(PTE, 4, 0xb000n | ALL);
    expect(sorted()).toEqual(['7678', '8678', '9678']);
    model.invlpg(linear);
    expect(outcomes(model)).toEqual(['9678']);
  });

  it('with EFER.TCE, INVLPG of a distant page keeps them (APM vol. 2 5.5.3)', () => {
    const { model } = mapped(twoLevel({ features: oracleFeatures({ tce: true }), efer: EFER.TCE }));
    model.store(0x3014n, 4, 0x9000n | ALL);
    model.store(PDE, 4, 0x3000n | ALL);
    model.invlpg(0n);
    model.store(PTE, 4, 0xb000n | ALL);
    expect(outcomes(model)).toContain('b678');
    model.invlpg(linear + 0x1000n);
    model.store(PTE, 4, 0xc000n | ALL);
    expect(outcomes(model)).not.toContain('c678');
  });

  it('the times of one walk go forward: an entry older than the pointer to it was not reached', () => {
    const { model } = mapped();
    model.store(0x3014n, 4, 0x9000n | ALL);
    model.store(0x3014n, 4, 0xa000n | ALL);
    model.store(PDE, 4, 0x3000n | ALL);
    expect(outcomes(model)).toEqual(['a678', '7678']);
  });

  it('a cached upper level without write permission can fault on Intel only', () => {
    for (const [features, expected] of [
      [oracleFeatures(), ['7678']],
      [intel, ['7678', '#14(3)']],
    ] as const) {
      const memory = ram();
      entries32(memory, PDE, 0x2000n | P | U | A, PTE, 0x7000n | ALL);
      const model = new AddressSpaceModel(memory, twoLevel({ features }));
      model.store(PDE, 4, 0x2000n | ALL);
      expect(outcomes(model, write)).toEqual(expected);
    }
  });
});

describe('large pages', () => {
  const large = 0x40_0000n | ALL | PS;

  it('INVLPG anywhere in the page covers all of it (SDM vol. 3A 4.10.4.1)', () => {
    const memory = ram();
    entries32(memory, PDE, large, PTE, 0x7000n | ALL);
    const model = new AddressSpaceModel(memory, twoLevel({}, CR4.PSE));
    model.store(PDE, 4, 0x2000n | ALL);
    expect(outcomes(model)).toEqual(['7678', '405678']);
    model.invlpg(0x00ff_f000n);
    expect(outcomes(model)).toEqual(['7678']);
  });

  it('G makes a large page global too', () => {
    const run = (pde: bigint) => {
      const memory = ram();
      entries32(memory, PDE, pde);
      const model = new AddressSpaceModel(memory, twoLevel({}, CR4.PSE | CR4.PGE));
      model.store(PDE, 4, 0n);
      model.writeCr3(0x1000n);
      return outcomes(model);
    };
    expect(run(large)).toEqual(['#14(0)']);
    expect(run(large | G)).toEqual(['#14(0)', '405678']);
  });

  it('CR4.PSE: AMD flushes, Intel may go on with the old size', () => {
    const run = (features = oracleFeatures()) => {
      const memory = ram();
      entries32(memory, PDE, large, 0x40_0014n, 0x7000n | ALL);
      const model = new AddressSpaceModel(memory, twoLevel({ features }, CR4.PSE));
      model.writeCr4(0n);
      return outcomes(model);
    };
    expect(run()).toEqual(['7678']);
    expect(run(intel)).toEqual(['7678', '405678']);
  });
});

describe('register writes', () => {
  it('MOV to CR3 leaves only global translations, from either root', () => {
    for (const [pte, pge, expected] of [
      [0x7000n | ALL, CR4.PGE, ['8678']],
      [0x7000n | ALL | G, 0n, ['8678']],
      [0x7000n | ALL | G, CR4.PGE, ['8678', '7678']],
    ] as const) {
      const { model, memory } = mapped(twoLevel({}, pge), pte);
      entries32(memory, 0x500cn, 0x6000n | ALL, 0x6014n, 0x8000n | ALL);
      model.writeCr3(0x5000n);
      expect(outcomes(model)).toEqual(expected);
      // Upper levels are never global.
      model.store(PTE, 4, 0x9000n | ALL | G);
      expect(outcomes(model)).toEqual(expected);
      model.writeCr4(pge ^ CR4.PGE);
      expect(outcomes(model)).toEqual(['8678']);
    }
  });

  it('changing PAE, or PG off and on, leaves nothing', () => {
    const { model } = mapped();
    model.store(PTE, 4, 0x8000n | ALL);
    model.writeCr0(CR0.PE);
    expect(outcomes(model)).toEqual(['c05678']);
    model.writeCr0(CR0.PE | CR0.PG | CR0.WP);
    expect(outcomes(model)).toEqual(['8678']);
    model.store(PTE, 4, 0x9000n | ALL);
    model.writeCr4(CR4.PAE);
    model.writeCr4(0n);
    expect(outcomes(model)).toEqual(['9678']);
  });

  it('EFER.NXE off flushes nothing: execute-disable may still count, or not', () => {
    const memory = ram();
    entries64(memory, 0x2030n, 0x3000n | ALL, 0x3028n, 0x7000n | ALL | NX);
    const model = new AddressSpaceModel(memory, pae());
    expect(outcomes(model, fetch)).toEqual(['#14(17)']);
    model.writeEfer(0n);
    // The tables say reserved; a cached translation still serves data, and perhaps fetches.
    expect(outcomes(model, read)).toEqual(['#14(9)', '7678']);
    expect(outcomes(model, fetch)).toEqual(['#14(9)', '7678']);
    model.invlpg(linear);
    expect(outcomes(model, read)).toEqual(['#14(9)']);
  });

  it('PDPTE registers keep their values when memory changes (SDM vol. 3A 4.4.1)', () => {
    const memory = ram();
    entries64(memory, 0x1000n, 0x2000n | P, 0x2030n, 0x3000n | ALL, 0x3028n, 0x7000n | ALL);
    entries64(memory, 0x4030n, 0x5000n | ALL, 0x5028n, 0x8000n | ALL);
    const model = new AddressSpaceModel(memory, pae());
    model.store(0x1000n, 8, 0x4000n | P);
    model.invlpg(linear);
    expect(outcomes(model)).toEqual(['7678']);
    model.writeCr4(CR4.PAE | CR4.SMAP);
    model.writeCr4(CR4.PAE);
    expect(outcomes(model)).toEqual(['7678']);
    model.writeCr3(0x1000n);
    expect(outcomes(model)).toEqual(['8678']);
  });

  it('PDPTEs in memory are cached upper levels like others (APM vol. 2 5.5.3)', () => {
    const memory = ram();
    entries64(memory, 0x1000n, 0x2000n | P, 0x2030n, 0x3000n | ALL, 0x3028n, 0x7000n | ALL);
    entries64(memory, 0x4030n, 0x5000n | ALL, 0x5028n, 0x8000n | ALL);
    const model = new AddressSpaceModel(memory, pae({ pdptesInMemory: true }));
    model.store(0x1000n, 8, 0x4000n | P);
    expect(outcomes(model)).toEqual(['8678', '7678']);
    model.invlpg(linear);
    expect(outcomes(model)).toEqual(['8678']);
  });

  it('a refused write changes nothing', () => {
    const { model } = mapped();
    const before = model.cpu;
    expect(model.writeCr0(CR0.PG).outcome).toBe('fault');
    expect(model.cpu).toBe(before);
  });
});

describe('PCIDs (SDM vol. 3A 4.10.1, 4.10.4.1)', () => {
  const features = oracleFeatures({ longMode: true, pcid: true });
  const cpu = (cr3: bigint): OracleCpu =>
    pae({
      features,
      efer: EFER.LME | EFER.LMA | EFER.NXE,
      cr4: CR4.PAE | CR4.PCIDE | CR4.PGE,
      cr3,
      csLong: true,
    });

  it('keep their translations apart, and across CR3 loads with bit 63', () => {
    const memory = ram();
    entries64(
      memory,
      0x1000n,
      0x2000n | ALL,
      0x2000n,
      0x3000n | ALL,
      0x3030n,
      0x4000n | ALL,
      0x4028n,
      0x7000n | ALL,
    );
    entries64(memory, 0x4030n, 0x9000n | ALL | G);
    const model = new AddressSpaceModel(memory, cpu(0x1001n));
    model.writeCr3((1n << 63n) | 0x5002n); // an empty root under PCID 2
    expect(outcomes(model)).toEqual(['#14(0)']);
    expect(outcomes(model, read, linear + 0x1000n)).toEqual(['#14(0)', '9678']);
    model.store(0x4028n, 8, 0x8000n | ALL);
    model.writeCr3((1n << 63n) | 0x1001n);
    expect(outcomes(model)).toEqual(['8678', '7678']);
    model.writeCr3(0x1001n);
    expect(outcomes(model)).toEqual(['8678']);
  });
});

describe('ASIDs (APM vol. 2 15.16)', () => {
  const guest = twoLevel({ cr3: 0x5000n });
  const enter = (model: AddressSpaceModel, tlbControl: number, asid = 1, cpu = guest) =>
    model.vmrun({ cpu, asid, tlbControl });

  function hostAndGuest(guestPte = 0x8000n | ALL) {
    const { model, memory } = mapped();
    entries32(memory, 0x500cn, 0x6000n | ALL, 0x6014n, guestPte);
    return { model, host: model.cpu };
  }

  it('keep host and guest apart, and VMRUN flushes nothing by itself', () => {
    const { model, host } = hostAndGuest();
    model.store(PTE, 4, 0x9000n | ALL);
    enter(model, TLB_CONTROL.NOTHING);
    expect(outcomes(model)).toEqual(['8678']);
    model.vmexit(host);
    expect(outcomes(model)).toEqual(['9678', '7678']);
    model.store(0x6014n, 4, 0xa000n | ALL);
    enter(model, TLB_CONTROL.NOTHING);
    expect(outcomes(model)).toEqual(['a678', '8678']);
    enter(model, TLB_CONTROL.NOTHING, 2);
    expect(outcomes(model)).toEqual(['a678']);
  });

  it('reused for another CR3 without a flush, they mix both address spaces', () => {
    const { model, host } = hostAndGuest();
    enter(model, TLB_CONTROL.NOTHING);
    model.vmexit(host);
    enter(model, TLB_CONTROL.NOTHING, 1, twoLevel());
    expect(outcomes(model)).toEqual(['7678', '8678']);
  });

  it('TLB_CONTROL 3 flushes this ASID, 7 spares global translations, 1 flushes all ASIDs', () => {
    const run = (tlbControl: number) => {
      const { model, host } = hostAndGuest(0x8000n | ALL | G);
      enter(model, TLB_CONTROL.NOTHING, 1, { ...guest, cr4: CR4.PGE });
      model.vmexit(host);
      model.store(PTE, 4, 0x9000n | ALL);
      model.store(0x6014n, 4, 0xa000n | ALL);
      enter(model, tlbControl, 1, { ...guest, cr4: CR4.PGE });
      const inGuest = outcomes(model);
      model.vmexit(host);
      return [inGuest, outcomes(model)];
    };
    expect(run(TLB_CONTROL.THIS_ASID)).toEqual([['a678'], ['9678', '7678']]);
    expect(run(TLB_CONTROL.THIS_ASID_NON_GLOBAL)).toEqual([
      ['a678', '8678'],
      ['9678', '7678'],
    ]);
    expect(run(TLB_CONTROL.ALL_ASIDS)).toEqual([['a678'], ['9678']]);
    expect(() => run(2)).toThrow('TLB_CONTROL 2 is reserved');
  });

  it('MOV to CR3 and INVLPG in the guest reach its ASID only', () => {
    const { model, host } = hostAndGuest();
    model.store(PTE, 4, 0x9000n | ALL);
    enter(model, TLB_CONTROL.NOTHING);
    model.store(0x6014n, 4, 0xa000n | ALL);
    model.writeCr3(0x5000n);
    expect(outcomes(model)).toEqual(['a678']);
    model.invlpg(linear);
    model.vmexit(host);
    expect(outcomes(model)).toEqual(['9678', '7678']);
  });

  it('INVLPGA drops one page of the ASID it names', () => {
    const { model, host } = hostAndGuest();
    enter(model, TLB_CONTROL.NOTHING);
    model.vmexit(host);
    model.store(0x6014n, 4, 0xa000n | ALL);
    model.invlpga(linear, 2);
    model.invlpga(linear + 0x1000n, 1);
    enter(model, TLB_CONTROL.NOTHING);
    expect(outcomes(model)).toEqual(['a678', '8678']);
    model.vmexit(host);
    model.invlpga(linear, 1);
    enter(model, TLB_CONTROL.NOTHING);
    expect(outcomes(model)).toEqual(['a678']);
  });

  it('INVLPGA need not drop upper levels of other pages (APM vol. 2 5.5.3)', () => {
    const { model } = mapped();
    model.store(PDE, 4, 0x3000n | ALL);
    model.invlpga(0n, 0);
    model.store(PTE, 4, 0xb000n | ALL);
    expect(outcomes(model)).toContain('b678');
    model.invlpga(linear, 0);
    expect(outcomes(model)).toEqual(['#14(0)']);
  });

  it('entry and exit load PDPTEs: illegal ones refuse the guest, or shut the host down (15.6)', () => {
    const memory = ram();
    entries64(memory, 0x1000n, 0x2000n | P);
    const model = new AddressSpaceModel(memory, pae());
    expect(enter(model, 0, 1, pae({ pdptes: [0n, 0n, 0n, 0n] }))).toBe('entered');
    expect(model.cpu.pdptes[0]).toBe(0x2001n);
    model.store(0x1008n, 8, P | 2n);
    expect(model.vmexit(pae())).toBe('shutdown');
    expect(enter(model, 0, 1, pae())).toBe('invalid');
    expect(enter(model, 0, 1, pae({ pdptesInMemory: true }))).toBe('entered');
    expect(() => enter(model, 0, 0)).toThrow('ASID 0');
  });
});

describe('accesses that nobody saw', () => {
  it('leave accessed flags in doubt after a fault, and the doubt in later expectations', () => {
    const memory = ram();
    entries32(memory, PDE, 0x2000n | P | W | U);
    const model = new AddressSpaceModel(memory, twoLevel());
    const fault = model.allowed(linear, read);
    expect(fault[0]?.entries).toEqual([{ address: PDE, width: 4, values: [0x2007n, 0x2027n] }]);
    model.settle(fault);
    expect(model.unknown(PDE, 4)).toBe(A);
    model.store(PTE, 4, 0x7000n | ALL);
    // The access itself settles it.
    expect(model.allowed(linear, read)[0]?.entries).toEqual([{ address: PDE, width: 4, values: [0x2027n] }]);
  });

  it('what was seen overrides what was expected', () => {
    const memory = ram();
    entries32(memory, PDE, 0x2000n | P | W | U);
    const model = new AddressSpaceModel(memory, twoLevel());
    model.settle(model.allowed(linear, read), [{ address: PDE, width: 4, value: 0x2027n }]);
    expect(model.unknown(PDE, 4)).toBe(0n);
    expect(memory.read(PDE, 4)).toBe(0x2027n);
  });
});

describe('memory', () => {
  it('a 4-byte store to an 8-byte entry is a change of its own', () => {
    const memory = ram();
    entries64(memory, 0x2030n, 0x3000n | ALL, 0x3028n, 0x7000n | ALL);
    const model = new AddressSpaceModel(memory, pae());
    model.store(0x302cn, 4, 0x1n);
    model.store(0x3028n, 4, 0x8000n | ALL);
    expect(outcomes(model)).toEqual(['100008678', '7678', '100007678']);
  });

  it('byte stores and unaligned stores reach the entries they touch', () => {
    const { model } = mapped();
    model.store(PTE + 1n, 2, 0x0080n);
    expect(outcomes(model)).toEqual(['8678', '7678']);
    model.store(PTE - 2n, 4, 0x0067_1234n);
    expect(outcomes(model)).toContain('678');
  });

  it('prune goes by CR3 loads too, unless an ASID has had global pages', () => {
    for (const [pge, shrinks] of [
      [0n, true],
      [CR4.PGE, false],
    ] as const) {
      const { model } = mapped(twoLevel({}, pge));
      for (let i = 0; i < 50; i++) {
        model.store(PTE, 4, BigInt(0x1_0000 + i * 0x1000) | ALL | G);
        model.writeCr3(0x1000n);
      }
      const before = outcomes(model);
      const size = model.historySize;
      model.prune();
      expect(outcomes(model)).toEqual(before);
      // Global: the fifty entries stored, the current one among them.
      expect(before).toHaveLength(shrinks ? 1 : 50);
      expect(model.historySize < size / 5).toBe(shrinks);
    }
  });

  it('prune forgets only what no answer needs', () => {
    const { model } = mapped();
    for (let i = 0; i < 50; i++) {
      model.store(PTE, 4, BigInt(0x1_0000 + i * 0x1000) | ALL);
      model.writeCr3(0x1000n);
    }
    model.writeCr4(CR4.PGE);
    model.store(PTE, 4, 0x9000n | ALL);
    const before = outcomes(model);
    const size = model.historySize;
    model.prune();
    expect(outcomes(model)).toEqual(before);
    expect(before).toEqual(['9678', '41678']);
    expect(model.historySize).toBeLessThan(size / 5);
  });
});

describe('a page fault in a large page that is no more', () => {
  /** A 4-MByte page at 0x0040_0000, looked at, then gone. */
  function shrunk(): AddressSpaceModel {
    const memory = ram();
    entries32(memory, PDE, 0x0040_0000n | ALL | PS);
    const model = new AddressSpaceModel(memory, twoLevel({}, CR4.PSE));
    model.store(PDE, 4, 0n);
    return model;
  }

  it('drops the piece around its address and may leave the others', () => {
    const model = shrunk();
    const fault = model.allowed(linear, read).filter(({ outcome }) => outcome === 'fault');
    model.settle(fault);
    expect(outcomes(model)).toEqual(['#14(0)']);
    expect(outcomes(model, read, linear + 0x1000n)).toEqual(['#14(0)', '406678']);
  });

  it('is not what INVLPG is, which takes all of it', () => {
    const model = shrunk();
    model.invlpg(linear);
    expect(outcomes(model, read, linear + 0x1000n)).toEqual(['#14(0)']);
  });
});

describe('an entry that nobody can tell', () => {
  it('is followed while only its flags are open, and refused otherwise', () => {
    const { model } = mapped(twoLevel(), 0x7000n | P | W | U);
    model.store(PTE, 4, 0x8000n | P | W | U, A | D);
    model.invlpg(linear);
    expect(new Set(outcomes(model))).toEqual(new Set(['8678']));
    model.store(PTE, 4, P | W | U, 0xf000n);
    expect(() => model.allowed(linear, read)).toThrow('Nobody can tell what the PTE at 0x2014 holds');
  });
});

describe('a page that is taken out of the memory', () => {
  it('reads as all ones, drops stores, and comes back as it was', () => {
    const { model, memory } = mapped();
    memory.write(0x7678n, 4, 0x1234_5678n);
    model.store(0x767cn, 4, 0x11n, 0x22n);
    model.removeMemory(0x7000n);
    expect(memory.read(0x7678n, 4)).toBe(0xffff_ffffn);
    expect(model.unknown(0x767cn, 4)).toBe(0n);
    model.store(0x7678n, 4, 0n);
    expect(memory.read(0x7678n, 4)).toBe(0xffff_ffffn);
    expect(outcomes(model)).toEqual(['7678']);
    model.returnMemory(0x7000n);
    expect(memory.read(0x7678n, 4)).toBe(0x1234_5678n);
    expect(model.unknown(0x767cn, 4)).toBe(0x22n);
  });

  it('is followed as a page table of all ones, or from what was cached of it', () => {
    const { model } = mapped();
    model.removeMemory(PTE & ~0xfffn);
    // With PSE clear no bit of a PTE is reserved: all ones map the last page below 4 GiB.
    expect(outcomes(model)).toEqual(['fffff678', '7678']);
    model.invlpg(linear);
    expect(outcomes(model)).toEqual(['fffff678']);
    model.returnMemory(PTE);
    expect(outcomes(model)).toEqual(['7678', 'fffff678']);
  });
});
