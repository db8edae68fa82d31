import fc from 'fast-check';
import { describe, it } from 'vitest';
import type { Hpa } from '../../../src/arch/address.ts';
import { InputError } from '../../../src/arch/input-error.ts';
import { E820_TYPE, e820Map } from '../../../src/machine/e820.ts';
import { loadImage } from '../../../src/machine/loaders/load.ts';
import { MIB, makeBzImage, makeElf, makeFlatMultiboot, multibootHeader, pattern } from './images.ts';

const SIZE = 32 * MIB;
const MAP = e820Map(SIZE);
const RAM = MAP.filter(({ type }) => type === E820_TYPE.RAM);

/**
 * Loads and judges: an InputError before the first write is right; else every write lies in RAM and no two overlap.
 * Anything else is thrown on.
 */
function loadOrRefuse(image: Uint8Array, more: object): void {
  const writes: [number, number][] = [];
  const target = {
    write(address: Hpa, bytes: Uint8Array): void {
      const end = address + bytes.length;
      if (!RAM.some(({ base, size }) => address >= base && end <= base + size)) {
        throw new RangeError(`wrote ${bytes.length} bytes at ${address}, which is not RAM`);
      }
      writes.push([address, end]);
    },
  };
  try {
    const { state } = loadImage({ image, memorySize: SIZE, e820: MAP, ...more }, target);
    const entry = state.segments.cs.base + state.eip;
    if (!Number.isInteger(entry) || entry < 0 || entry >= SIZE) throw new RangeError(`entry at ${entry}`);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    if (writes.length > 0) throw new Error(`refused after writing: ${error.message}`);
    if (/NaN|undefined|\[object/.test(error.message)) throw new Error(`no good sentence: ${error.message}`);
  }
  writes.sort(([a], [b]) => a - b);
  writes.forEach(([start], index) => {
    if (index > 0 && start < (writes[index - 1] as [number, number])[1])
      throw new RangeError(`written twice: ${start}`);
  });
}

const IMAGES = {
  bzimage: { image: makeBzImage(), more: { initrd: pattern(3000), commandLine: 'quiet' } },
  multiboot: {
    image: makeFlatMultiboot(),
    more: { modules: [{ data: pattern(100), commandLine: 'm' }], commandLine: 'x' },
  },
  'multiboot ELF': {
    image: makeElf(
      [{ physical: 0x10_0000, bytes: pattern(600), memorySize: 9000 }],
      0x10_0000,
      multibootHeader(3),
    ),
    more: {},
  },
  ELF: {
    image: makeElf(
      [
        { physical: 0x10_0000, bytes: pattern(600), memorySize: 9000 },
        { physical: 0x40_0000, bytes: pattern(60) },
      ],
      0x10_0000,
    ),
    more: {},
  },
};

/** Where the headers are, so that most changes hit something that matters; and what numbers go wrong there. */
const HEADERS = 0x480;
const word = fc.oneof(
  fc.constantFrom(
    0,
    1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0xffff_f000,
    0xa_0000,
    0x10_0000,
    SIZE,
    SIZE - 1,
  ),
  fc.nat({ max: 0xffff_ffff }),
);

describe.each(Object.entries(IMAGES))(
  '%s, damaged, loads inside of RAM or is refused with a sentence',
  (_, { image, more }) => {
    it('cut off anywhere', () => {
      fc.assert(
        fc.property(fc.nat({ max: image.length }), (length) => loadOrRefuse(image.subarray(0, length), more)),
        { numRuns: 500 },
      );
    });

    it('with words overwritten', () => {
      const change = fc.tuple(fc.nat({ max: HEADERS - 4 }), word);
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
          const damaged = image.slice();
          const view = new DataView(damaged.buffer);
          for (const [offset, value] of changes) view.setUint32(offset & ~3, value, true);
          loadOrRefuse(damaged, more);
        }),
        { numRuns: 1500 },
      );
    });

    it('with single bytes overwritten and cut off', () => {
      const change = fc.tuple(fc.nat({ max: image.length - 1 }), fc.nat({ max: 255 }));
      fc.assert(
        fc.property(fc.array(change, { maxLength: 8 }), fc.nat({ max: image.length }), (changes, length) => {
          const damaged = image.slice();
          for (const [offset, value] of changes) damaged[offset] = value;
          loadOrRefuse(damaged.subarray(0, length), more);
        }),
        { numRuns: 500 },
      );
    });
  },
);

/** The multiboot checksum hides the header from random changes: these keep it right. */
describe('a multiboot header with random fields', () => {
  it('loads inside of RAM or is refused with a sentence', () => {
    const addresses = fc.array(fc.oneof(word, fc.integer({ min: 0x1f_0000, max: 0x21_0000 })), {
      minLength: 5,
      maxLength: 5,
    });
    fc.assert(
      fc.property(
        fc.oneof(fc.constant(0x1_0003), word),
        addresses,
        fc.nat({ max: 0x800 }),
        (flags, fields, offset) => {
          const image = pattern(0x1000);
          image.set(multibootHeader(flags, fields), offset & ~3);
          loadOrRefuse(image, {});
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe('random bytes', () => {
  it('load inside of RAM or are refused with a sentence', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 9000 }), (image) => loadOrRefuse(image, {})));
  });
});
