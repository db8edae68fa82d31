/** Little-endian dwords in the making, with offsets to places that are not known yet. */
export class BlockWriter {
  #view = new DataView(new ArrayBuffer(1 << 16));
  #length = 0;

  /** Offset of the next byte; after texts, any number. */
  get here(): number {
    return this.#length;
  }

  /** Appends dwords, 32 bits each. */
  words(...values: readonly number[]): void {
    this.#grow(values.length * 4);
    for (const value of values) {
      this.#view.setUint32(this.#length, value >>> 0, true);
      this.#length += 4;
    }
  }

  /** Appends a text in UTF-8, zero-terminated, and pads to a multiple of 4. */
  text(text: string): void {
    const bytes = new TextEncoder().encode(text);
    const padded = (bytes.length + 4) & ~3;
    this.#grow(padded);
    new Uint8Array(this.#view.buffer).set(bytes, this.#length);
    this.#length += padded;
  }

  /** Changes a dword that is there already. */
  patch(offset: number, value: number): void {
    this.#view.setUint32(offset, value >>> 0, true);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#view.buffer.slice(0, this.#length));
  }

  #grow(count: number): void {
    const size = this.#view.byteLength;
    if (this.#length + count <= size) return;
    const grown = new Uint8Array(Math.max(size * 2, this.#length + count));
    grown.set(new Uint8Array(this.#view.buffer));
    this.#view = new DataView(grown.buffer);
  }
}
