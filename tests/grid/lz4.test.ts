import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packLz4 } from '../../src/grid/export/lz4.ts';

/** Unpacks by the description of the LZ4 block format, and checks its end conditions. */
function unpack(packed: Uint8Array): Uint8Array {
  const output: number[] = [];
  let at = 0;
  let lastMatchStart = Number.NEGATIVE_INFINITY;
  const length = (nibble: number): number => {
    let total = nibble;
    if (nibble !== 15) return total;
    let byte: number;
    do {
      byte = packed[at++];
      total += byte;
    } while (byte === 255);
    return total;
  };
  for (;;) {
    const token = packed[at++];
    const literals = length(token >> 4);
    for (let index = 0; index < literals; index++) output.push(packed[at++]);
    if (at === packed.length) {
      if (lastMatchStart > 0) {
        expect(literals).toBeGreaterThanOrEqual(5);
        expect(output.length - lastMatchStart).toBeGreaterThanOrEqual(12);
      }
      return Uint8Array.from(output);
    }
    const distance = packed[at] | (packed[at + 1] << 8);
    at += 2;
    expect(distance).toBeGreaterThan(0);
    expect(distance).toBeLessThanOrEqual(output.length);
    lastMatchStart = output.length;
    const count = length(token & 15) + 4;
    for (let index = 0; index < count; index++) output.push(output[output.length - distance]);
  }
}

describe('packLz4', () => {
  it('gives back what was packed', () => {
    const pieces = fc.array(
      fc.tuple(fc.uint8Array({ minLength: 0, maxLength: 12 }), fc.integer({ min: 1, max: 40 })),
    );
    fc.assert(
      fc.property(pieces, (list) => {
        const bytes = Uint8Array.from(
          list.flatMap(([piece, times]) =>
            Array(times)
              .fill([...piece])
              .flat(),
          ),
        );
        expect(unpack(packLz4(bytes))).toEqual(bytes);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('packs what repeats, near and far', () => {
    const noise = Uint8Array.from({ length: 70_000 }, (_, index) => Math.imul(index, 0x9e37_79b1) >>> 23);
    const bytes = new Uint8Array(140_000);
    bytes.set(noise);
    bytes.set(noise.subarray(5000), 70_000);
    expect(unpack(packLz4(bytes))).toEqual(bytes);
    const zeros = new Uint8Array(100_000);
    expect(packLz4(zeros).length).toBeLessThan(500);
    expect(unpack(packLz4(zeros))).toEqual(zeros);
  });

  it('takes what is too short to pack', () => {
    for (let size = 0; size < 20; size++) {
      const bytes = new Uint8Array(size).fill(7);
      expect(unpack(packLz4(bytes))).toEqual(bytes);
    }
  });
});
