/** A small seeded generator (mulberry32): the same seed, the same hostile guest. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 32 random bits, unsigned. */
  u32(): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** 0 to `bound` - 1. */
  below(bound: number): number {
    return this.u32() % bound;
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** Random bytes into a part of an array whose start and length are multiples of 4. */
  fill(bytes: Uint8Array, from = 0, to = bytes.length): void {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset + from, (to - from) >> 2);
    for (let i = 0; i < words.length; i++) words[i] = this.u32();
  }

  /** A number at which something tends to break, or any. */
  boundary(): number {
    switch (this.below(6)) {
      case 0:
        return this.pick([0, 1, 0xfff, 0x1000, 0x7fff_ffff, 0x8000_0000, 0xffff_f000, 0xffff_ffff]);
      case 1:
        return (1 << this.below(32)) >>> 0;
      case 2:
        return ((1 << this.below(32)) - 1) >>> 0;
      case 3:
        return this.below(0x10_0000);
      default:
        return this.u32();
    }
  }
}
