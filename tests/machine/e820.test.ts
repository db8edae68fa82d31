import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/arch/input-error.ts';
import { E820_TYPE, e820Map } from '../../src/machine/e820.ts';

describe('e820Map', () => {
  it('describes a PC of 64 MiB', () => {
    expect(e820Map(64 * 2 ** 20)).toEqual([
      { base: 0, size: 0x9fc00, type: 1 },
      { base: 0x9fc00, size: 0x400, type: 2 },
      { base: 0xa0000, size: 0x60000, type: 2 },
      { base: 0x100000, size: 63 * 2 ** 20, type: 1 },
    ]);
  });

  it('has no RAM above 1 MiB in a machine of 1 MiB', () => {
    const map = e820Map(2 ** 20);
    expect(map.filter(({ type }) => type === E820_TYPE.RAM)).toEqual([{ base: 0, size: 0x9fc00, type: 1 }]);
  });

  it('covers every byte exactly once, whatever the size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 256, max: 2 ** 19 }), (pages) => {
        let at = 0;
        for (const { base, size } of e820Map(pages * 4096)) {
          expect(base).toBe(at);
          expect(size).toBeGreaterThan(0);
          at += size;
        }
        expect(at).toBe(pages * 4096);
      }),
    );
  });

  it.each([0, 2 ** 20 - 4096, 2 ** 20 + 1, 2 ** 31 + 4096, Number.NaN, 1.5])('refuses %d bytes', (size) => {
    expect(() => e820Map(size)).toThrow(InputError);
  });
});
