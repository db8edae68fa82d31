import fc from 'fast-check';
import { expect } from 'vitest';
import { AddressSpaceModel } from '../../src/oracle/address-space.ts';
import { CR4 } from '../../src/oracle/bits.ts';
import type { OracleCpu } from '../../src/oracle/cpu.ts';
import type { Expected } from '../../src/oracle/expected.ts';
import type { SparseMemory } from '../../src/oracle/memory.ts';
import {
  CachingProcessor,
  type Format,
  type Kind,
  PAE,
  type Result,
  TWO_LEVEL,
} from './caching-processor.ts';
import { A, D, G, NX, P, pae, ram, twoLevel, U, W } from './helpers.ts';

/**
 * Guest-physical page n (0 to 9) is at first system-physical page 0x100 + n: page 1 the guest's directory, 2 and 3 its
 * tables, 4 its PDPTEs; 5 looks like a directory and 6 like a table. Nested: directory 0x8000, tables 0x9000 and 0xa000,
 * PDPTEs 0xb000. Linear addresses: directory slots 3 and 4, table slots 5 and 6.
 */
const system = (n: number): bigint => 0x10_0000n + BigInt(n) * 0x1000n;
const USED = P | W | U | A | D;
const NESTED_TABLES = [0x9000n, 0xa000n] as const;
const DIRECTORIES = [1, 5] as const;
const TABLES = [2, 3, 6] as const;

export interface Cell {
  readonly guest: Format;
  readonly host: Format;
}
export const CELLS: readonly Cell[] = [TWO_LEVEL, PAE].flatMap((guest) =>
  [TWO_LEVEL, PAE].map((host) => ({ guest, host })),
);

export const gvaOf = ({ guest }: Cell, pick: number): bigint =>
  (BigInt(3 + (pick & 1)) << BigInt(guest.shifts.at(-2)!)) | (BigInt(5 + (pick >> 1)) << 12n) | 0x678n;
export const guestCpu = ({ guest }: Cell): OracleCpu =>
  guest === PAE ? pae({ cr3: 0x4000n }) : twoLevel({ cr3: 0x1000n });
export const hostCpu = ({ host }: Cell): OracleCpu =>
  host === PAE ? pae({ cr3: 0xb000n }) : twoLevel({ cr3: 0x8000n });

function build(cell: Cell): SparseMemory {
  const memory = ram();
  const { guest, host } = cell;
  memory.write(0xb000n, 8, 0x8000n | P);
  memory.write(0x8000n, host.width, 0x9000n | USED);
  for (const table of NESTED_TABLES)
    for (let n = 0; n < 10; n++) memory.write(table + BigInt(n * host.width), host.width, system(n) | USED);
  memory.write(system(4), 8, 0x1000n | P);
  for (const n of DIRECTORIES)
    for (const slot of [3, 4])
      memory.write(system(n) + BigInt(slot * guest.width), guest.width, (BigInt(slot - 1) * 0x1000n) | USED);
  for (const n of TABLES)
    for (const slot of [5, 6])
      memory.write(system(n) + BigInt(slot * guest.width), guest.width, (BigInt(slot + 2) * 0x1000n) | USED);
  return memory;
}

/** Every entry of the tables, for comparison. */
function places({ guest, host }: Cell): { address: bigint; width: 4 | 8 }[] {
  const nested = NESTED_TABLES.flatMap((table) =>
    Array.from({ length: 10 }, (_, n) => ({ address: table + BigInt(n * host.width), width: host.width })),
  );
  const own = [
    ...DIRECTORIES.flatMap((n) => [3, 4].map((slot) => [n, slot])),
    ...TABLES.flatMap((n) => [5, 6].map((slot) => [n, slot])),
  ];
  return [
    { address: 0x8000n, width: host.width },
    ...nested,
    ...own.map(([n, slot]) => ({ address: system(n!) + BigInt(slot! * guest.width), width: guest.width })),
  ];
}

const flags = fc
  .tuple(fc.nat(9), fc.nat(5), fc.nat(7), fc.boolean(), fc.boolean(), fc.nat(5), fc.boolean())
  .map(([p, w, u, a, d, nx, g]) => ({
    bits: (p > 0 ? P : 0n) | (w > 0 ? W : 0n) | (u > 0 ? U : 0n) | (a ? A : 0n) | (d ? D : 0n) | (g ? G : 0n),
    nx: nx === 0,
  }));
const op = <Name extends string, Shape>(
  name: Name,
  weight: number,
  shape: { [K in keyof Shape]: fc.Arbitrary<Shape[K]> },
) => ({
  weight,
  arbitrary: fc.record<{ op: Name } & Shape>({ op: fc.constant(name), ...shape } as never),
});
const edited = { frame: fc.nat(9), flags };
export const step = fc.oneof(
  op('nested leaf', 4, { table: fc.nat(1), slot: fc.nat(9), ...edited }),
  op('nested directory', 1, { table: fc.nat(1), flags }),
  op('guest directory', 2, { page: fc.nat(1), slot: fc.nat(1), ...edited }),
  op('guest table', 3, { page: fc.nat(2), slot: fc.nat(1), ...edited }),
  op('access', 6, {
    pick: fc.nat(3),
    kind: fc.constantFrom<Kind>('read', 'write', 'fetch'),
    user: fc.boolean(),
  }),
  op('speculate', 3, { pick: fc.nat(3) }),
  op('invlpg', 1, { pick: fc.nat(3) }),
  op('invlpga', 1, { pick: fc.nat(3), asid: fc.integer({ min: 1, max: 2 }) }),
  op('cr3', 1, {}),
  op('pge', 1, {}),
  op('vmrun', 1, { asid: fc.integer({ min: 1, max: 2 }), control: fc.constantFrom(0, 0, 1, 3, 7) }),
);
export type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** The model and the caching processor, each with its own memory, side by side. */
export class Pair {
  readonly model: AddressSpaceModel;
  readonly processor: CachingProcessor;
  readonly cell: Cell;
  /** Outcomes that were not the tables', by source. */
  readonly stale = new Map<string, number>();
  readonly #places: readonly { address: bigint; width: 4 | 8 }[];

  constructor(cell: Cell, seed: number) {
    this.cell = cell;
    this.#places = places(cell);
    this.model = new AddressSpaceModel(build(cell), twoLevel({ cr3: 0xf000n }));
    this.processor = new CachingProcessor(
      build(cell),
      cell.guest,
      cell.host,
      { guest: cell.guest === PAE ? 0x4000n : 0x1000n, host: cell.host === PAE ? 0xb000n : 0x8000n },
      generator(seed),
    );
    this.#enter(guestCpu(cell), 1, 0);
  }

  take(s: Step): void {
    const { cell, model, processor } = this;
    const { guest, host } = cell;
    const value = (frame: bigint, f: { bits: bigint; nx: boolean }, format: Format): bigint =>
      frame | f.bits | (f.nx && format === PAE ? NX : 0n);
    const edit = (address: bigint, format: Format, to: bigint): void => {
      model.store(address, format.width, to);
      processor.memory.write(address, format.width, to);
    };
    switch (s.op) {
      case 'nested leaf':
        edit(
          NESTED_TABLES[s.table]! + BigInt(s.slot * host.width),
          host,
          value(system(s.frame), s.flags, host),
        );
        break;
      case 'nested directory':
        edit(0x8000n, host, value(NESTED_TABLES[s.table]!, s.flags, host));
        break;
      case 'guest directory':
        edit(
          system(DIRECTORIES[s.page]!) + BigInt((3 + s.slot) * guest.width),
          guest,
          value(BigInt(TABLES[s.frame % 3]!) * 0x1000n, s.flags, guest),
        );
        break;
      case 'guest table':
        edit(
          system(TABLES[s.page]!) + BigInt((5 + s.slot) * guest.width),
          guest,
          value(BigInt(s.frame) * 0x1000n, s.flags, guest),
        );
        break;
      case 'access':
        this.#access(gvaOf(cell, s.pick), s.kind, s.user);
        break;
      case 'speculate':
        processor.speculate(gvaOf(cell, s.pick));
        break;
      case 'invlpg':
        model.invlpg(gvaOf(cell, s.pick));
        processor.invlpg(gvaOf(cell, s.pick));
        break;
      case 'invlpga':
        model.invlpga(gvaOf(cell, s.pick), s.asid);
        processor.invlpga(gvaOf(cell, s.pick), s.asid);
        break;
      case 'cr3':
        model.writeCr3(model.cpu.cr3);
        processor.flushGuest(false);
        break;
      case 'pge':
        model.writeCr4(model.cpu.cr4 ^ CR4.PGE);
        processor.pge = !processor.pge;
        processor.flushGuest(true);
        break;
      case 'vmrun':
        this.#enter(model.cpu, s.asid, s.control);
        break;
    }
  }

  #enter(cpu: OracleCpu, asid: number, tlbControl: number): void {
    if (this.model.asid !== 0) this.model.vmexit(twoLevel({ cr3: 0xf000n }));
    this.model.vmrun({ cpu: { ...cpu, cpl: 0 }, asid, tlbControl, nested: { host: hostCpu(this.cell) } });
    this.processor.asid = asid;
    this.processor.tlbControl(tlbControl);
  }

  #access(gva: bigint, kind: Kind, user: boolean): void {
    const { model, processor } = this;
    model.adjust({ cpl: user ? 3 : 0 });
    const allowed = model.allowed(gva, { kind });
    const result = processor.access(gva, kind, user);
    const seen = this.#places.map((place) => ({
      ...place,
      value: processor.memory.read(place.address, place.width),
    }));
    const right = allowed.filter(
      (expected) => sameResult(expected, result) && this.#entriesFit(expected, seen),
    );
    if (right.length === 0) {
      const changed = seen.filter(({ address, width, value }) => model.memory.read(address, width) !== value);
      throw new Error(
        `${kind} at 0x${gva.toString(16)}: ${JSON.stringify([result, changed, allowed], (_, v) => (typeof v === 'bigint' ? v.toString(16) : v))}`,
      );
    }
    const source = right[0]!.source;
    this.stale.set(source, (this.stale.get(source) ?? 0) + 1);
    model.settle(right, seen);
    for (const { address, width, value } of seen) expect(model.memory.read(address, width)).toBe(value);
  }

  #entriesFit(
    expected: Expected,
    seen: readonly { address: bigint; width: 4 | 8; value: bigint }[],
  ): boolean {
    return seen.every(({ address, width, value }) => {
      const listed = expected.entries.find((entry) => entry.address === address && entry.width === width);
      return (listed?.values ?? [this.model.memory.read(address, width)]).includes(value);
    });
  }
}

const sameResult = (expected: Expected, result: Result): boolean => {
  if (expected.outcome === 'ok') return result.outcome === 'ok' && expected.address === result.address;
  if (expected.outcome === 'fault')
    return result.outcome === 'fault' && expected.errorCode === result.errorCode;
  return (
    result.outcome === 'nested fault' &&
    expected.exitInfo1.includes(result.exitInfo1) &&
    expected.exitInfo2 === result.exitInfo2
  );
};

/** Numbers from 0 up to 1, the same for the same seed (xorshift). */
function generator(seed: number): () => number {
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 0x1_0000_0000;
  };
}
