/** L1's nested tables in each 32-bit format, built entry by entry from what they are to say, and what that means for an access. */
import { CR4, EFER } from '../../src/arch/registers.ts';
import type { NestedBench, Seen } from './nested-bench.ts';

export const P = 1n;
export const W = 2n;
export const U = 4n;
export const A = 0x20n;
export const D = 0x40n;
export const PS = 0x80n;
export const NX = 1n << 63n;

/** L1's paging modes, with the registers that make them. */
export const SHAPES = {
  '2-level': { width: 4, cr4: 0, efer: 0, largeShift: 0 },
  '2-level with PSE': { width: 4, cr4: CR4.PSE, efer: 0, largeShift: 22 },
  PAE: { width: 8, cr4: CR4.PAE, efer: 0, largeShift: 21 },
  'PAE with NX': { width: 8, cr4: CR4.PAE, efer: EFER.NXE, largeShift: 21 },
} as const;
export type Shape = keyof typeof SHAPES;

const FIRST_TABLE = 0x10_0000;

export class NestedTables {
  readonly shape: Shape;
  readonly width: 4 | 8;
  /** nCR3. A page-directory-pointer table need not start its page. */
  readonly root: number;
  readonly #bench: NestedBench;
  #next: number;

  constructor(bench: NestedBench, shape: Shape, first = FIRST_TABLE) {
    this.shape = shape;
    this.width = SHAPES[shape].width;
    this.#bench = bench;
    this.root = first + (this.width === 8 ? 0x40 : 0);
    this.#next = first + 0x1000;
  }

  /** L1 enters L2 on them. */
  run(extraCr4 = 0): void {
    const { cr4, efer } = SHAPES[this.shape];
    this.#bench.vmrun(this.root, cr4 | extraCr4, efer);
  }

  /** Addresses of the entries for an L2-physical address, root first; those of tables not made yet are missing. */
  path(address: number): number[] {
    const shifts = this.width === 8 ? [30, 21, 12] : [22, 12];
    const path: number[] = [];
    let table = this.root;
    for (const [i, shift] of shifts.entries()) {
      const mask = this.width === 8 ? (i === 0 ? 3 : 511) : 1023;
      const at = table + ((address >>> shift) & mask) * this.width;
      path.push(at);
      const entry = this.#bench.peek(at, this.width);
      if ((entry & P) === 0n) break;
      if (shift === SHAPES[this.shape].largeShift && (entry & PS) !== 0n) break;
      table = Number(entry & 0xfffff000n & ~0xfffn);
    }
    return path;
  }

  /** Before anybody runs: maps a 4 KiB page. `upper` are the flags of new directory entries. */
  map(address: number, to: number, flags: bigint, upper: bigint = P | W | U): void {
    const depth = this.width === 8 ? 3 : 2;
    for (;;) {
      const path = this.path(address);
      const at = path.at(-1)!;
      if (path.length === depth) {
        this.#bench.poke(at, BigInt(to) | flags, this.width);
        return;
      }
      const pointer = this.width === 8 && path.length === 1;
      this.#bench.poke(at, BigInt(this.#next) | (pointer ? P : upper), this.width);
      this.#next += 0x1000;
    }
  }

  /** Before anybody runs: maps a large page. */
  mapLarge(address: number, to: number, flags: bigint): void {
    if (this.width === 8 && this.path(address).length === 1) {
      this.#bench.poke(this.path(address)[0], BigInt(this.#next) | P, 8);
      this.#next += 0x1000;
    }
    this.#bench.poke(this.path(address).at(-1)!, BigInt(to) | flags | PS, this.width);
  }

  entry(address: number): bigint {
    return this.#bench.peek(this.path(address).at(-1)!, this.width);
  }
}

/** #NPF for L1: every access is a user access. */
export const npf = (errorCode: number): Seen => ({ outcome: 'inject', errorCode: errorCode | 4 });
