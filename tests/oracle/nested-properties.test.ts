import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressSpaceModel, TLB_CONTROL } from '../../src/oracle/address-space.ts';
import { CR4 } from '../../src/oracle/bits.ts';
import type { Expected } from '../../src/oracle/expected.ts';
import { translateNested } from '../../src/oracle/nested.ts';
import type { Access } from '../../src/oracle/rights.ts';
import { A, D, P, PS, pae, ram, show, twoLevel, U, W } from './helpers.ts';
import { CELLS, type Cell, guestCpu, gvaOf, hostCpu, Pair, step } from './nested-sequences.ts';

/** What must hold between answers of the oracle under nested paging: none of it repeats how they are computed. */

const cells = CELLS.map((cell) => [cell.guest.name, cell.host.name, cell] as const);
/** Of each cell; more for a soak. */
const RUNS = 150;

const steps = fc.array(step, { minLength: 5, maxLength: 50 });
const access = fc.record({ kind: fc.constantFrom<Access['kind']>('read', 'write', 'fetch') });

describe('a processor that caches by chance', () => {
  it.each(CELLS.map((cell) => [cell.guest.name, cell.host.name, cell] as const))(
    'does nothing that the oracle forbids: %s guest, %s host',
    (_guest, _host, cell) => {
      const stale = new Map<string, number>();
      fc.assert(
        fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), fc.nat(), (steps, seed) => {
          const pair = new Pair(cell, seed);
          for (const s of steps) pair.take(s);
          for (const [source, count] of pair.stale) stale.set(source, (stale.get(source) ?? 0) + count);
        }),
        { numRuns: RUNS },
      );
      const old = [...stale].filter(([source]) => source !== 'tables');
      expect(old.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThan(20);
    },
  );
});

/** What the tables say now, in the form of a permitted outcome without its entries. */
function fresh(cell: Cell, { model }: Pair, gva: bigint, how: Access): string {
  const outcome = translateNested(model.cpu, { host: hostCpu(cell) }, model.memory, gva, how);
  const rest = { entries: [], source: 'tables' } as const;
  return show(outcome.outcome === 'ok' ? { ...outcome, pageSize: null, ...rest } : { ...outcome, ...rest });
}

/** What the tables say an access leaves in entries; undefined for a fault. */
function freshWrites(cell: Cell, { model }: Pair, gva: bigint, how: Access): Map<bigint, bigint> | undefined {
  const outcome = translateNested(model.cpu, { host: hostCpu(cell) }, model.memory, gva, how);
  return outcome.outcome === 'ok'
    ? new Map(outcome.writes.map(({ address, after }) => [address, after]))
    : undefined;
}

describe.each(cells)('%s guest, %s host', (_guest, _host, cell) => {
  const gva = fc.nat(3).map((pick) => gvaOf(cell, pick));

  it('whatever has happened, what the tables say now is permitted, and comes first', () => {
    fc.assert(
      fc.property(steps, fc.nat(), gva, access, (list, seed, where, how) => {
        const pair = new Pair(cell, seed);
        for (const s of list) {
          pair.take(s);
          expect(show(pair.model.allowed(where, how)[0]!)).toBe(fresh(cell, pair, where, how));
        }
      }),
      { numRuns: 40 },
    );
  });

  it('after a flush of every ASID, and under a new one, nothing else is permitted', () => {
    fc.assert(
      fc.property(steps, fc.nat(), gva, access, fc.boolean(), (list, seed, where, how, other) => {
        const pair = new Pair(cell, seed);
        for (const s of list) pair.take(s);
        pair.take({ op: 'vmrun', asid: other ? 3 : 1, control: other ? 0 : TLB_CONTROL.ALL_ASIDS });
        const outcomes = pair.model.allowed(where, how);
        expect(outcomes.map(show)).toEqual([fresh(cell, pair, where, how)]);
        const writes = freshWrites(cell, pair, where, how);
        if (writes === undefined) return;
        expect(new Map(outcomes[0]!.entries.map(({ address, values }) => [address, values[0]]))).toEqual(
          writes,
        );
        expect(outcomes[0]!.entries.every(({ values }) => values.length === 1)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it('INVLPG never permits more; forgetting what was flushed changes nothing', () => {
    fc.assert(
      fc.property(steps, fc.nat(), gva, access, (list, seed, where, how) => {
        const { model } = playing(cell, seed, list);
        const before = model.allowed(where, how).map(show);
        model.prune();
        expect(model.allowed(where, how).map(show)).toEqual(before);
        model.invlpg(where);
        for (const outcome of model.allowed(where, how).map(show)) expect(before).toContain(outcome);
      }),
      { numRuns: 100 },
    );
  });

  it('every fault comes from entries in memory: a nested one if some walk of the nested tables finds it now', () => {
    fc.assert(
      fc.property(steps, fc.nat(), gva, access, (list, seed, where, how) => {
        const { model } = playing(cell, seed, list);
        const host = hostCpu(cell);
        const off = { ...guestCpu(cell), cr0: 1n };
        for (const outcome of model.allowed(where, how)) {
          if (outcome.outcome !== 'nested fault') continue;
          const isTable = outcome.exitInfo1[0]! >> 33n === 1n;
          const kind = isTable ? 'write' : how.kind;
          // A guest without paging has only the walk of that address.
          const now = translateNested(off, { host }, model.memory, outcome.exitInfo2, { kind });
          expect(now).toMatchObject({ outcome: 'nested fault', exitInfo2: outcome.exitInfo2 });
          if (now.outcome !== 'nested fault') return;
          expect(outcome.exitInfo1.map((info) => info & 0xffn)).toEqual(
            now.exitInfo1.map((info) => info & 0xffn),
          );
        }
      }),
      { numRuns: 100 },
    );
  });
});

const playing = (cell: Cell, seed: number, list: readonly Parameters<Pair['take']>[0][]): Pair => {
  const pair = new Pair(cell, seed);
  for (const s of list) pair.take(s);
  return pair;
};

describe('nested tables that map every address to itself, with all rights', () => {
  const HOST = twoLevel({ cr3: 0xf_0000n }, CR4.PSE);
  /** Tables like those of the sequences, at system-physical addresses. */
  const bits = fc.oneof(
    fc.constant(P | W | U | A | D),
    fc.bigInt({ min: 0n, max: 0x1ffn }).map((any) => (any & ~PS) | P),
    fc.constant(0n),
  );
  const own = fc
    .record({ table: fc.boolean(), low: fc.nat(1), pick: fc.nat(1), bits })
    .map(({ table, low, pick, bits: flags }) => ({
      page: table ? 0x2000n + BigInt(pick) * 0x1000n : 0x1000n,
      slot: BigInt(low + (table ? 5 : 3)),
      frame: (table ? 0x7000n : 0x2000n) + BigInt(pick) * 0x1000n,
      bits: flags,
    }));
  const change = fc.oneof(
    { weight: 5, arbitrary: own.map((edit) => ({ op: 'edit' as const, ...edit })) },
    { weight: 4, arbitrary: fc.record({ op: fc.constant('access' as const), pick: fc.nat(3), how: access }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('invlpg' as const), pick: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.constant({ op: 'cr3' as const }) },
    { weight: 1, arbitrary: fc.constant({ op: 'pge' as const }) },
    {
      weight: 1,
      arbitrary: fc.record({
        op: fc.constant('vmrun' as const),
        asid: fc.integer({ min: 1, max: 2 }),
        control: fc.constantFrom(0, 1, 3, 7),
      }),
    },
  );

  it.each(CELLS.filter(({ host }) => host.name === 'PAE').map((cell) => [cell.guest.name, cell] as const))(
    'give the answers of one stage: %s guest',
    (name, cell) => {
      const wide = name === 'PAE';
      const cpu = wide ? pae({ cr3: 0x4000n, pdptesInMemory: true }) : twoLevel({ cr3: 0x1000n });
      const entry = (frame: bigint): bigint => frame | P | W | U | A | D;
      const start = (nested: boolean): AddressSpaceModel => {
        const memory = ram();
        for (let i = 0n; i < 4n; i++) memory.write(0xf_0000n + 4n * i, 4, entry(i * 0x40_0000n) | PS);
        memory.write(0x4000n, 8, 0x1000n | P);
        for (const slot of [3n, 4n])
          memory.write(0x1000n + slot * (wide ? 8n : 4n), wide ? 8 : 4, entry(0x2000n));
        for (const slot of [5n, 6n])
          memory.write(0x2000n + slot * (wide ? 8n : 4n), wide ? 8 : 4, entry(0x7000n));
        const model = new AddressSpaceModel(memory, twoLevel({ cr3: 0xe000n }));
        enter(model, nested, 1, 0, cpu);
        return model;
      };
      const enter = (
        model: AddressSpaceModel,
        nested: boolean,
        asid: number,
        tlbControl: number,
        state = model.cpu,
      ): void => {
        if (model.asid !== 0) model.vmexit(twoLevel({ cr3: 0xe000n }));
        model.vmrun({ cpu: state, asid, tlbControl, ...(nested && { nested: { host: HOST } }) });
      };
      const text = (outcomes: readonly Expected[]): string[] =>
        outcomes
          .map((outcome) =>
            JSON.stringify(
              { ...outcome, entries: [...outcome.entries].sort((a, b) => Number(a.address - b.address)) },
              (_, v) => (typeof v === 'bigint' ? v.toString(16) : v),
            ),
          )
          .sort();
      let several = 0;
      fc.assert(
        fc.property(fc.array(change, { maxLength: 30 }), fc.nat(3), access, (list, pick, how) => {
          const models = [start(true), start(false)] as const;
          for (const s of list) {
            models.forEach((model, i) => {
              if (s.op === 'edit')
                model.store(s.page + s.slot * (wide ? 8n : 4n), wide ? 8 : 4, s.frame | s.bits);
              else if (s.op === 'access') model.settle(model.allowed(gvaOf(cell, s.pick), s.how).slice(0, 1));
              else if (s.op === 'invlpg') model.invlpg(gvaOf(cell, s.pick));
              else if (s.op === 'cr3') model.writeCr3(model.cpu.cr3);
              else if (s.op === 'pge') model.writeCr4(model.cpu.cr4 ^ CR4.PGE);
              else enter(model, i === 0, s.asid, s.control);
            });
            const [two, one] = models.map((model) => text(model.allowed(gvaOf(cell, pick), how)));
            expect(two).toEqual(one);
            if (one!.length > 1) several++;
          }
        }),
        { numRuns: 150 },
      );
      expect(several).toBeGreaterThan(50);
    },
  );
});
