/**
 * Packs bytes in the LZ4 block format: sequences of literals and of matches at most 64 KiB back. The guest unpacks them
 * in a few dozen instructions (src/guest/suite/load.ts).
 */

const SHORTEST_MATCH = 4;
const FARTHEST = 0xffff;
/** The format's end conditions: the last match begins 12 bytes before the end, the last 5 bytes are literals. */
const LAST_MATCH_START = 12;
const LAST_LITERALS = 5;
const HASH_BITS = 16;
/** Candidates looked at for each position. */
const CHAIN_LIMIT = 16;
/** Knuth's multiplicative hash: 2^32 divided by the golden ratio. */
const HASH_FACTOR = 0x9e37_79b1;

/** The packed form of `input`. */
export function packLz4(input: Uint8Array): Uint8Array<ArrayBuffer> {
  const output = new SequenceWriter(input);
  const matches = new MatchFinder(input);
  const lastStart = input.length - LAST_MATCH_START;
  let literals = 0;
  let at = 0;
  while (at <= lastStart) {
    const { length, distance } = matches.find(at);
    if (length < SHORTEST_MATCH) {
      at++;
      continue;
    }
    output.sequence(literals, at, length, distance);
    for (let inside = at + 1; inside < at + length && inside <= lastStart; inside++) matches.insert(inside);
    at += length;
    literals = at;
  }
  output.last(literals);
  return output.bytes();
}

/** Finds earlier occurrences by a hash of four bytes, the nearest first. */
class MatchFinder {
  readonly #input: Uint8Array;
  readonly #view: DataView;
  readonly #heads = new Int32Array(1 << HASH_BITS).fill(-1);
  readonly #previous: Int32Array;

  constructor(input: Uint8Array) {
    this.#input = input;
    this.#view = new DataView(input.buffer, input.byteOffset, input.byteLength);
    this.#previous = new Int32Array(input.length);
  }

  /** Makes the position known to later calls of `find`. */
  insert(at: number): void {
    const hash = Math.imul(this.#view.getUint32(at, true), HASH_FACTOR) >>> (32 - HASH_BITS);
    this.#previous[at] = this.#heads[hash];
    this.#heads[hash] = at;
  }

  /** The longest match for what is at a position, which becomes known too; length 0 if there is none. */
  find(at: number): { length: number; distance: number } {
    this.insert(at);
    let length = 0;
    let distance = 0;
    let candidate = this.#previous[at];
    for (let tries = 0; tries < CHAIN_LIMIT && candidate >= 0 && at - candidate <= FARTHEST; tries++) {
      const common = this.#common(candidate, at);
      if (common > length) {
        length = common;
        distance = at - candidate;
      }
      candidate = this.#previous[candidate];
    }
    return { length, distance };
  }

  #common(earlier: number, at: number): number {
    const input = this.#input;
    const limit = input.length - LAST_LITERALS - at;
    let length = 0;
    while (length < limit && input[earlier + length] === input[at + length]) length++;
    return length;
  }
}

/** Writes sequences: a token with both lengths, literals, the distance back. */
class SequenceWriter {
  readonly #input: Uint8Array;
  readonly #output: number[] = [];

  constructor(input: Uint8Array) {
    this.#input = input;
  }

  sequence(literals: number, at: number, length: number, distance: number): void {
    const extra = length - SHORTEST_MATCH;
    this.#literals(literals, at, Math.min(extra, 15));
    this.#output.push(distance & 0xff, distance >> 8);
    if (extra >= 15) this.#extension(extra - 15);
  }

  last(literals: number): void {
    this.#literals(literals, this.#input.length, 0);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#output);
  }

  #literals(from: number, to: number, low: number): void {
    const count = to - from;
    this.#output.push((Math.min(count, 15) << 4) | low);
    if (count >= 15) this.#extension(count - 15);
    for (let index = from; index < to; index++) this.#output.push(this.#input[index]);
  }

  #extension(rest: number): void {
    let left = rest;
    for (; left >= 255; left -= 255) this.#output.push(255);
    this.#output.push(left);
  }
}
