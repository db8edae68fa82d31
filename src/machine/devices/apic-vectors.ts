/** A set of interrupt vectors 0..255, laid out as IRR, ISR and TMR are: eight 32-bit registers. */
export class VectorSet {
  readonly #words = new Uint32Array(8);

  add(vector: number): void {
    this.#words[vector >> 5] |= 1 << (vector & 31);
  }

  delete(vector: number): void {
    this.#words[vector >> 5] &= ~(1 << (vector & 31));
  }

  has(vector: number): boolean {
    return (this.#words[vector >> 5] & (1 << (vector & 31))) !== 0;
  }

  /** The highest vector, -1 if the set is empty. */
  get highest(): number {
    for (let index = 7; index >= 0; index--) {
      const word = this.#words[index];
      if (word !== 0) return index * 32 + 31 - Math.clz32(word);
    }
    return -1;
  }

  /** Register `index`, 0..7. */
  word(index: number): number {
    return this.#words[index];
  }

  clear(): void {
    this.#words.fill(0);
  }
}
