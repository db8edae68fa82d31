import { describe, expect, it } from 'vitest';
import { AddressSpaceModel } from '../../src/oracle/address-space.ts';
import { oracleCpu, oracleFeatures } from '../../src/oracle/cpu.ts';
import { describePageFault, judge } from '../../src/oracle/judge.ts';
import {
  byteAddresses,
  type Probe,
  type ProbeOutcome,
  probeOutcomes,
  settleProbe,
} from '../../src/oracle/probe.ts';
import { A, D, entries32, P, ram, twoLevel, U, W } from './helpers.ts';

const ALL = P | W | U | A | D;
const PTE = 0x2014n; // of linear 0x00c0_5000; the next page's is at 0x2018
const page = 0x00c0_5000n;

function space(first = 0x7000n | ALL, second = 0x9000n | ALL, cpu = twoLevel()) {
  const memory = ram();
  entries32(memory, 0x100cn, 0x2000n | ALL, PTE, first, PTE + 4n, second);
  memory.write(0x7ffcn, 4, 0x4433_2211n);
  memory.write(0x9000n, 4, 0x8877_6655n);
  return new AddressSpaceModel(memory, cpu);
}

const fault = (outcome: ProbeOutcome): [number, bigint | null] =>
  outcome.outcome === 'fault' ? [outcome.errorCode, outcome.cr2] : [-1, null];

describe('probes within a page', () => {
  it('find the value, little-endian', () => {
    const [outcome] = probeOutcomes(space(), { linear: page + 0xffcn, size: 2, kind: 'read' });
    expect(outcome).toMatchObject({
      value: 0x2211n,
      unknown: 0n,
      segments: [{ address: 0x7ffcn, bytes: 2 }],
    });
  });

  it('may find an entry that maps it with or without the flags that they set', () => {
    // The PTE at 0x2014 maps the page table that it is in.
    const probe: Probe = { linear: page + 0x14n, size: 4, kind: 'modify', value: 0n };
    const [outcome] = probeOutcomes(space(0x2000n | P | W | U), probe);
    expect(outcome).toMatchObject({ value: 0x2007n, unknown: A | D });
    const [beside] = probeOutcomes(space(0x2000n | P | W | U), { ...probe, linear: page + 0x18n });
    expect(beside).toMatchObject({ value: 0x9000n | ALL, unknown: 0n });
  });

  it('read all ones where there is no memory', () => {
    const [outcome] = probeOutcomes(space(0x4000_0000n | ALL), { linear: page, size: 4, kind: 'read' });
    expect(outcome).toMatchObject({ value: 0xffff_ffffn });
  });

  it('an implicit access at CPL 3 is a supervisor access', () => {
    const model = space(0x7000n | P | W | A | D, 0n, twoLevel({ cpl: 3 }));
    const probe: Probe = { linear: page, size: 4, kind: 'read' };
    expect(probeOutcomes(model, probe).map(fault)).toEqual([[5, page]]);
    expect(probeOutcomes(model, { ...probe, implicit: true })).toMatchObject([{ outcome: 'ok' }]);
  });

  it('a read-modify-write faults as a read or as a write, and succeeds as a write', () => {
    const probe: Probe = { linear: page, size: 4, kind: 'modify' };
    expect(probeOutcomes(space(0n), probe).map(fault)).toEqual([
      [2, page],
      [0, page],
    ]);
    // Read-only: the read would not fault.
    expect(probeOutcomes(space(0x7000n | P | U | A), probe).map(fault)).toEqual([[3, page]]);
    expect(probeOutcomes(space(0x7000n | P | W | A), probe)).toMatchObject([
      { outcome: 'ok', entries: [{ address: PTE, values: [0x7000n | P | W | A | D] }] },
    ]);
  });
});

describe('probes across a page boundary', () => {
  const read: Probe = { linear: page + 0xffen, size: 4, kind: 'read' };
  const write: Probe = { ...read, kind: 'write', value: 0xddcc_bbaan };

  it('put the value together from both pages', () => {
    expect(probeOutcomes(space(), read)).toEqual([
      {
        outcome: 'ok',
        segments: [
          { address: 0x7ffen, bytes: 2 },
          { address: 0x9000n, bytes: 2 },
        ],
        value: 0x6655_4433n,
        unknown: 0n,
        entries: [],
        source: 'tables',
      },
    ]);
  });

  it('report the second page at its first byte, and may have set flags for the first', () => {
    const [outcome, ...others] = probeOutcomes(space(0x7000n | P | W, 0n), write);
    expect(others).toEqual([]);
    expect(outcome).toMatchObject({ errorCode: 2, cr2: page + 0x1000n });
    expect(outcome?.entries).toEqual([
      { address: PTE, width: 4, values: [0x7000n | P | W | A | D, 0x7000n | P | W] },
    ]);
  });

  it('list the entries of both pages, a shared one once', () => {
    const model = space(0x7000n | P | W | U, 0x9000n | P | W | U);
    model.store(0x100cn, 4, 0x2000n | P | W | U);
    const [outcome] = probeOutcomes(model, write);
    expect(outcome?.entries).toEqual([
      { address: 0x100cn, width: 4, values: [0x2000n | P | W | U | A] },
      { address: PTE, width: 4, values: [0x7000n | ALL] },
      { address: PTE + 4n, width: 4, values: [0x9000n | ALL] },
    ]);
  });

  it('report the first page with flags of the second in doubt', () => {
    const outcomes = probeOutcomes(space(0n, 0x9000n | P | W), write);
    expect(outcomes.map(fault)).toEqual([[2, page + 0xffen]]);
    expect(outcomes[0]?.entries).toEqual([
      { address: PTE + 4n, width: 4, values: [0x9000n | P | W | A | D, 0x9000n | P | W] },
    ]);
  });

  it('report either page if both fault', () => {
    expect(probeOutcomes(space(0n, 0n), read).map(fault)).toEqual([
      [0, page + 0xffen],
      [0, page + 0x1000n],
    ]);
  });

  it('wrap at 4 GiB outside 64-bit mode', () => {
    const memory = ram();
    memory.write(0n, 2, 0x1234n);
    const model = new AddressSpaceModel(memory, oracleCpu());
    const [outcome] = probeOutcomes(model, { linear: 0xffff_fffen, size: 4, kind: 'read' });
    expect(outcome).toMatchObject({ value: 0x1234_ffffn });
    expect(outcome?.outcome === 'ok' && byteAddresses(outcome.segments)).toEqual([
      0xffff_fffen,
      0xffff_ffffn,
      0n,
      1n,
    ]);
  });

  it('stale on one side give both combinations', () => {
    const model = space();
    model.store(PTE + 4n, 4, 0xa000n | ALL);
    const values = probeOutcomes(model, read).map((outcome) => outcome.outcome === 'ok' && outcome.value);
    expect(values).toEqual([0x0000_4433n, 0x6655_4433n]);
    const sources = probeOutcomes(model, read).map((outcome) => outcome.source);
    expect(sources).toEqual(['tables', 'cached translation']);
  });
});

describe('settleProbe', () => {
  it('stores what was written and sets the flags', () => {
    const model = space(0x7000n | P | W);
    const probe: Probe = { linear: page + 0xffen, size: 4, kind: 'write', value: 0xddcc_bbaan };
    settleProbe(model, probe, probeOutcomes(model, probe));
    expect(model.memory.read(0x7ffen, 2)).toBe(0xbbaan);
    expect(model.memory.read(0x9000n, 2)).toBe(0xddccn);
    expect(model.memory.read(PTE, 4)).toBe(0x7000n | P | W | A | D);
  });

  it('remembers a store that may have gone to either of two places', () => {
    const model = space();
    model.store(PTE, 4, 0xa000n | ALL);
    const probe: Probe = { linear: page, size: 1, kind: 'write', value: 0xf0n };
    const outcomes = probeOutcomes(model, probe);
    expect(outcomes).toHaveLength(2);
    settleProbe(model, probe, outcomes);
    expect(model.unknown(0x7000n, 1)).toBe(0xf0n);
    expect(model.unknown(0xa000n, 1)).toBe(0xf0n);
    model.invlpg(page);
    const [after] = probeOutcomes(model, { linear: page, size: 2, kind: 'read' });
    expect(after).toMatchObject({ value: 0n, unknown: 0xf0n });
    settleProbe(model, probe, [outcomes[0]!]);
    expect([model.memory.read(0xa000n, 1), model.unknown(0xa000n, 1)]).toEqual([0xf0n, 0n]);
  });

  it('asks for the value of a write', () => {
    const model = space();
    const probe: Probe = { linear: page, size: 1, kind: 'write' };
    expect(() => settleProbe(model, probe, probeOutcomes(model, probe))).toThrow('needs the value');
  });
});

describe('judge', () => {
  const read: Probe = { linear: page + 0xffcn, size: 4, kind: 'read' };

  it('accepts the right value and refuses another with a sentence', () => {
    const allowed = probeOutcomes(space(), read);
    expect(judge(read, allowed, { outcome: 'ok', value: 0x4433_2211n }).match).toBe(true);
    expect(judge(read, allowed, { outcome: 'ok', value: 0x4433_2212n })).toEqual({
      match: false,
      explanation:
        'read of 4 bytes at 0xc05ffc must give value 0x44332211 at physical 0x7ffc; but saw value 0x44332212.',
    });
  });

  it('compares vector, error code and CR2 of a fault', () => {
    const allowed = probeOutcomes(space(0n, 0n, twoLevel({ cpl: 3 })), { ...read, kind: 'write' });
    const seen = { outcome: 'fault', vector: 14, errorCode: 6, cr2: page + 0xffcn } as const;
    expect(judge(read, allowed, seen).match).toBe(true);
    expect(judge(read, allowed, { ...seen, vector: 13 }).match).toBe(false);
    expect(judge(read, allowed, { ...seen, errorCode: 7 }).match).toBe(false);
    const wrong = judge({ ...read, kind: 'write' }, allowed, { ...seen, cr2: page });
    expect(wrong.match ? '' : wrong.explanation).toBe(
      'write of 4 bytes at 0xc05ffc must give exception 14 with error code 0x6 (user write not present), CR2 0xc05ffc; ' +
        'but saw exception 14 with error code 0x6 (user write not present), CR2 0xc05000.',
    );
  });

  it('accepts each outcome of a stale set, and names where it comes from', () => {
    const model = space();
    model.store(PTE, 4, 0n);
    const allowed = probeOutcomes(model, read);
    expect(judge(read, allowed, { outcome: 'ok', value: 0x4433_2211n })).toMatchObject({
      match: true,
      outcome: { source: 'cached translation' },
    });
    expect(
      judge(read, allowed, { outcome: 'fault', vector: 14, errorCode: 0, cr2: page + 0xffcn }).match,
    ).toBe(true);
    const wrong = judge(read, allowed, { outcome: 'ok', value: 1n });
    expect(wrong.match ? '' : wrong.explanation).toContain('at physical 0x7ffc (from a cached translation)');
  });

  it('compares accessed and dirty flags where they were looked at', () => {
    const allowed = probeOutcomes(space(0x7000n | P | W | U), read);
    const before = 0x7000n | P | W | U;
    const seen = (after: bigint, at = PTE) => ({
      outcome: 'ok' as const,
      value: 0x4433_2211n,
      entries: [{ address: at, width: 4 as const, before, after }],
    });
    expect(judge(read, allowed, seen(before | A)).match).toBe(true);
    expect(judge(read, allowed, seen(before | A | D)).match).toBe(false);
    const wrong = judge(read, allowed, seen(before));
    expect(wrong.match ? '' : wrong.explanation).toContain(
      'but the entry at 0x2014 must hold 0x7027 and holds 0x7007.',
    );
    // An entry that the probe does not use must not change.
    expect(judge(read, allowed, seen(before, 0x3000n)).match).toBe(true);
    expect(judge(read, allowed, seen(before | A, 0x3000n)).match).toBe(false);
  });

  it('does not compare bits of a value that may be either way, nor CR2 of other exceptions', () => {
    const doubtful: ProbeOutcome = {
      outcome: 'ok',
      segments: [],
      value: 0x10n,
      unknown: 0x0fn,
      entries: [],
      source: 'tables',
    };
    expect(judge(read, [doubtful], { outcome: 'ok', value: 0x1an }).match).toBe(true);
    const wrong = judge(read, [doubtful], { outcome: 'ok', value: 0x2an });
    expect(wrong.match ? '' : wrong.explanation).toContain('value 0x10 (bits 0xf either way) at physical');
    const gp: ProbeOutcome = {
      outcome: 'fault',
      vector: 13,
      errorCode: 0,
      cr2: null,
      entries: [],
      source: 'tables',
    };
    expect(judge(read, [gp], { outcome: 'fault', vector: 13, errorCode: 0, cr2: 0x55n }).match).toBe(true);
  });

  it('names implicit accesses, and no CR2 for other exceptions', () => {
    const allowed = probeOutcomes(space(), { ...read, implicit: true });
    const wrong = judge({ ...read, size: 1, implicit: true }, allowed, {
      outcome: 'fault',
      vector: 13,
      errorCode: 0,
      cr2: 5n,
    });
    expect(wrong.match ? '' : wrong.explanation).toBe(
      'implicit supervisor read of 1 byte at 0xc05ffc must give value 0x44332211 at physical 0x7ffc; ' +
        'but saw exception 13 with error code 0x0.',
    );
  });

  it('puts error codes into words', () => {
    expect(describePageFault(0x00)).toBe('supervisor access not present');
    expect(describePageFault(0x15)).toBe('user fetch protection');
    expect(describePageFault(0x0b)).toBe('supervisor write reserved bit');
    expect(describePageFault(0x25)).toBe('user access protection key');
  });
});

describe('spurious faults', () => {
  it('are permitted once on Intel after a right was given', () => {
    const model = space(0x7000n | P | U | A, 0n, twoLevel({ features: oracleFeatures({ vendor: 'intel' }) }));
    model.store(PTE, 4, 0x7000n | ALL);
    const probe: Probe = { linear: page, size: 4, kind: 'write', value: 0n };
    const seen = { outcome: 'fault', vector: 14, errorCode: 3, cr2: page } as const;
    const verdict = judge(probe, probeOutcomes(model, probe), seen);
    expect(verdict.match).toBe(true);
    if (verdict.match) settleProbe(model, probe, [verdict.outcome]);
    expect(judge(probe, probeOutcomes(model, probe), seen).match).toBe(false);
  });
});
