import { describe, expect, it } from 'vitest';
import { cpuModelNamed } from '../../src/arch/cpu-models.ts';
import { ENTRY } from '../../src/arch/paging/format.ts';
import { CR4, EFER } from '../../src/arch/registers.ts';
import { HOSTS, type Host, NestedBench } from './nested-bench.ts';

/** Park and Miller's generator. */
class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed * 2654435761;
    this.#state = (this.#state % 0x7fff_fffe) + 1;
  }
  below(limit: number): number {
    this.#state = (this.#state * 48271) % 0x7fff_ffff;
    return this.#state % limit;
  }
  one<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
}

/** Tables of L1 lie in these eight pages, in whatever role; the first holds PDPTs and directories of both formats. */
const TABLES = 0x10_0000;
const TABLE_PAGES = 8;
const MODES = [
  { cr4: 0, efer: 0 },
  { cr4: CR4.PSE, efer: 0 },
  { cr4: CR4.PAE, efer: 0 },
  { cr4: CR4.PAE, efer: EFER.NXE },
] as const;
const STEPS = 250;
const MAX_PHYSICAL_BITS = BigInt(cpuModelNamed('current-amd')!.maxPhysicalAddressBits);

/** What L1's nested tables, as they stand, say of an access: a walk written for this test alone. */
function expected(
  bench: NestedBench,
  mode: (typeof MODES)[number],
  root: number,
  address: number,
  write: boolean,
) {
  const pae = (mode.cr4 & CR4.PAE) !== 0;
  const fault = (bits: number) => ({ outcome: 'inject', errorCode: bits | 4 | (write ? 2 : 0) }) as const;
  let table = root;
  let rights = 6n;
  for (const shift of pae ? [30, 21, 12] : [22, 12]) {
    const index = Math.floor(address / 2 ** shift) % (pae ? (shift === 30 ? 4 : 512) : 1024);
    const entry = bench.peek(table + index * (pae ? 8 : 4), pae ? 8 : 4);
    if ((entry & 1n) === 0n) return fault(0);
    const large = (entry & 0x80n) !== 0n && (shift === 21 || (shift === 22 && mode.cr4 === CR4.PSE));
    let reserved = pae ? ((1n << 63n) - 1n) & ~((1n << MAX_PHYSICAL_BITS) - 1n) : 0n;
    if (pae && mode.efer === 0) reserved |= 1n << 63n;
    if (shift === 30) reserved |= 0x1e6n | (1n << 63n);
    if (large) reserved |= pae ? 0x1f_e000n : 1n << 21n;
    if ((entry & reserved) !== 0n) return fault(9);
    if (shift !== 30) rights &= entry;
    if (large || shift === 12) {
      if ((rights & 4n) === 0n || (write && (rights & 2n) === 0n)) return fault(1);
      const mask = (1n << BigInt(shift)) - 1n;
      const frame = (pae ? entry & 0xf_ffff_ffff_f000n : entry & 0xffff_f000n) & ~mask;
      const high = large && !pae ? ((entry >> 13n) & 0xffn) << 32n : 0n;
      const physical = Number(frame + high + (BigInt(address) & mask));
      const host = bench.host(physical);
      return host < 0 ? ({ outcome: 'emulate' } as const) : ({ outcome: 'ok', host } as const);
    }
    table = Number(entry & (pae ? 0xf_ffff_ffff_f000n : 0xffff_f000n));
  }
  throw new Error('not reached');
}

describe.each(Object.keys(HOSTS) as Host[])('random edits of nested tables, host %s', (host) => {
  it.each(Array.from({ length: 12 }, (_, seed) => seed + 1))('seed %i', (seed) => {
    const random = new Random(seed);
    const bench = new NestedBench(host, undefined, 64);
    const modes = MODES.filter(({ efer }) => efer === 0 || host === 'pae');
    const entryOf = (width: 4 | 8, pointer: boolean): bigint => {
      const target = random.below(4) === 0 ? random.one([0x40_0000, 0xc0_0000, 0x90_0000, 0]) : TABLES;
      let entry = BigInt(target + 0x1000 * random.below(TABLE_PAGES));
      if (pointer) return entry | 1n | (random.below(12) === 0 ? 0x20n : 0n);
      if (random.below(10) !== 0) entry |= 1n;
      if (random.below(5) !== 0) entry |= 2n;
      if (random.below(8) !== 0) entry |= 4n;
      if (random.below(2) === 0) entry |= BigInt(ENTRY.A | ENTRY.D);
      if (random.below(6) === 0) entry = (entry & ~0x3f_f000n) | 0x80n;
      if (width === 8 && random.below(12) === 0) entry |= 1n << 63n;
      return entry;
    };
    // Few places per table, so that edits and accesses meet.
    const place = (width: 4 | 8): number => {
      const page = random.below(TABLE_PAGES);
      const index = random.one([0, 1, 2, 3, 511]) * (width === 8 ? 1 : 1);
      return TABLES + page * 0x1000 + index * width;
    };
    const addresses = [0, 1, 2, 3].flatMap((high) =>
      [0, 0x1000, 0x3000, 0x20_0000, 0x20_1000, 0x40_0000, 0x60_2000].map(
        (low) => high * 0x4000_0000 + low + 0x234,
      ),
    );
    for (let page = 0; page < TABLE_PAGES; page += 1) {
      for (const index of [0, 1, 2, 3])
        bench.poke(TABLES + page * 0x1000 + index * 8, entryOf(8, page === 0), 8);
    }
    let mode = modes[0];
    let root = TABLES;
    let inL2 = false;
    const log: string[] = [];
    for (let step = 0; step < STEPS; step += 1) {
      const kind = random.below(10);
      if (kind < 2 || !inL2) {
        if (inL2) bench.vmexit();
        for (let edits = random.below(4); edits > 0; edits -= 1) {
          const width = random.one([4, 8] as const);
          const at = place(width);
          const value = entryOf(width, at < TABLES + 0x1000 && width === 8);
          log.push(`L1 writes ${value.toString(16)}h (${width}) to ${at.toString(16)}h`);
          bench.write(at, value, width);
        }
        if (random.below(3) === 0) mode = random.one(modes);
        if (random.below(3) === 0) root = TABLES + 0x1000 * random.below(3);
        log.push(
          `VMRUN cr4 ${mode.cr4.toString(16)}h efer ${mode.efer.toString(16)}h nCR3 ${root.toString(16)}h`,
        );
        bench.vmrun(root, mode.cr4, mode.efer);
        inL2 = true;
      } else if (kind < 4) {
        // L2 stores to whatever it finds there: an entry of a table perhaps.
        const address = Math.floor(random.one(addresses) / 0x1000) * 0x1000 + random.below(4) * 8;
        const value = entryOf(4, false);
        const seen = bench.l2Write(address, value, 4);
        log.push(`L2 writes ${value.toString(16)}h to ${address.toString(16)}h: ${seen.outcome}`);
      } else if (kind === 4 && random.below(4) === 0) {
        const page = random.one([TABLES + 0x1000 * random.below(TABLE_PAGES), 0x40_0000]);
        log.push(`${page.toString(16)}h moves`);
        bench.move(page, 0x110_0000 + step * 0x1000);
      } else {
        const address = random.one(addresses);
        const access = random.one(['read', 'write'] as const);
        const want = expected(bench, mode, root, address, access === 'write');
        log.push(`L2 ${access}s ${address.toString(16)}h`);
        const seen = bench.l2Access(address, access);
        const sentence = `${log.slice(-12).join('\n')}\n${JSON.stringify(seen)} for ${JSON.stringify(want)}`;
        // A store to a table in use is the emulator's.
        if (seen.outcome === 'emulate' && access === 'write')
          expect(want.outcome, sentence).not.toBe('inject');
        else expect(seen, sentence).toEqual(want);
      }
    }
    bench.checker.checkAll(bench.nested, 'the end');
  });
});
