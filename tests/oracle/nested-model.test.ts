import { describe, expect, it } from 'vitest';
import { AddressSpaceModel, TLB_CONTROL } from '../../src/oracle/address-space.ts';
import { CR0 } from '../../src/oracle/bits.ts';
import { describeOutcome, judge } from '../../src/oracle/judge.ts';
import { type Probe, probeOutcomes, settleProbe } from '../../src/oracle/probe.ts';
import { A, D, entries32, P, pae, ram, show, twoLevel, U, W } from './helpers.ts';

const read = { kind: 'read' } as const;
const ALL = P | W | U | A | D;

/** A 2-level guest with tables at guest-physical 0x1000 and 0x2000; linear 0x00c0_5678 is guest-physical 0x7678. */
const guest = twoLevel({ cr3: 0x1000n });
const linear = 0x00c0_5678n;
/** 2-level nested tables at 0x8000 and 0x9000: guest-physical page n is system-physical 0x10_0000 + n pages. */
const host = twoLevel({ cr3: 0x8000n });
const leaf = (n: bigint): bigint => 0x9000n + 4n * n;
const system = (n: bigint): bigint => 0x10_0000n + n * 0x1000n;

function entered(cpu = guest) {
  const memory = ram();
  entries32(memory, 0x8000n, 0x9000n | ALL);
  for (let n = 0n; n < 16n; n++) memory.write(leaf(n), 4, system(n) | ALL);
  entries32(memory, system(1n) + 0xcn, 0x2000n | ALL, system(2n) + 0x14n, 0x7000n | ALL);
  const model = new AddressSpaceModel(memory, twoLevel({ cr3: 0xf000n }));
  const verdict = model.vmrun({ cpu, asid: 1, tlbControl: TLB_CONTROL.NOTHING, nested: { host } });
  return { model, memory, verdict };
}

describe('VMRUN with NP_ENABLE', () => {
  it('makes accesses two-stage until #VMEXIT', () => {
    const { model, verdict } = entered();
    expect(verdict).toBe('entered');
    expect(model.allowed(linear, read).map(show)).toEqual([(system(7n) + 0x678n).toString(16)]);
    const back = twoLevel({ cr3: 0x8000n });
    expect(model.vmexit(back)).toBe('left');
    // The nested tables, walked by the host itself.
    expect(model.allowed(0x7678n, read).map(show)).toEqual([(system(7n) + 0x678n).toString(16)]);
  });

  it('is refused without paging in the host (APM vol. 2 15.25.3)', () => {
    const { model } = entered();
    const nested = { host: { ...host, cr0: CR0.PE } };
    expect(model.vmrun({ cpu: guest, asid: 1, tlbControl: 0, nested })).toBe('invalid');
  });

  it('neither VMRUN nor MOV CR3 loads or checks the PDPTEs of a PAE guest (15.25.10)', () => {
    const { model, verdict } = entered(pae({ cr3: 0x4000n }));
    expect(verdict).toBe('entered');
    // PDPTE 0 with a reserved bit, at guest-physical 0x5000.
    model.store(system(5n), 8, 0x6000n | P | W);
    expect(model.writeCr3(0x5000n)).toMatchObject({ outcome: 'ok', pdptesLoaded: false });
    expect(model.cpu.pdptesInMemory).toBe(false);
    expect(model.allowed(linear, read).map(show)).toEqual(['#14(9)']);
  });
});

describe('a probe that ends in a nested page fault (15.25.6)', () => {
  const probe: Probe = { linear, size: 4, kind: 'read' };
  const absent = () => {
    const { model } = entered();
    model.store(leaf(7n), 4, 0n);
    model.vmexit(twoLevel({ cr3: 0xf000n }));
    model.vmrun({ cpu: guest, asid: 1, tlbControl: TLB_CONTROL.THIS_ASID, nested: { host } });
    return model;
  };

  it('is judged by EXITINFO1 and EXITINFO2', () => {
    const outcomes = probeOutcomes(absent(), probe);
    const exitInfo1 = (1n << 32n) | 4n;
    const seen = { outcome: 'nested fault', exitInfo1, exitInfo2: 0x7678n } as const;
    expect(judge(probe, outcomes, seen).match).toBe(true);
    expect(judge(probe, outcomes, { ...seen, exitInfo1: (1n << 33n) | 4n }).match).toBe(false);
    expect(judge(probe, outcomes, { ...seen, exitInfo2: 0x7000n }).match).toBe(false);
    expect(judge(probe, outcomes, { outcome: 'ok' })).toEqual({
      match: false,
      explanation:
        'read of 4 bytes at 0xc05678 must give a nested page fault with EXITINFO1 0x100000004 (user access not present of the final address), EXITINFO2 0x7678; but saw a completed access.',
    });
    expect(outcomes.map((outcome) => describeOutcome(probe, outcome))).toEqual([
      'a nested page fault with EXITINFO1 0x100000004 (user access not present of the final address), EXITINFO2 0x7678',
    ]);
    expect(judge(probe, outcomes, { outcome: 'fault', vector: 14, errorCode: 4, cr2: linear })).toMatchObject(
      {
        match: false,
      },
    );
  });

  it('stores nothing and is settled', () => {
    const model = absent();
    const write = { ...probe, kind: 'write', value: 0x1234_5678n } as const;
    settleProbe(model, write, probeOutcomes(model, write));
    expect(model.memory.read(system(7n) + 0x678n, 4)).toBe(0n);
  });

  it('of a page boundary may come from either part', () => {
    const model = absent();
    model.store(leaf(8n), 4, 0n);
    model.store(system(2n) + 0x10n, 4, 0x8000n | ALL);
    model.vmexit(twoLevel({ cr3: 0xf000n }));
    model.vmrun({ cpu: guest, asid: 1, tlbControl: TLB_CONTROL.THIS_ASID, nested: { host } });
    const crossing: Probe = { linear: 0xc0_4ffen, size: 4, kind: 'read' };
    expect(
      probeOutcomes(model, crossing).map((outcome) =>
        outcome.outcome === 'nested fault' ? outcome.exitInfo2 : outcome.outcome,
      ),
    ).toEqual([0x8ffen, 0x7000n]);
  });
});
