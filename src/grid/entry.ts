import { InputError } from '../arch/input-error.ts';
import { type Placement, resolve } from './placement.ts';
import type { Entry } from './scenario.ts';

// biome-ignore format: table
/** Bits by the name that scenarios use (SDM vol. 3A tables 4-4 to 4-12). */
const FLAG_BIT: Readonly<Record<string, number>> = {
  P: 0, W: 1, U: 2, PWT: 3, PCD: 4, A: 5, D: 6, PS: 7, G: 8, NX: 63,
};

/** An entry's value as two unsigned halves. */
export interface EntryValue {
  readonly lo: number;
  readonly hi: number;
}

/**
 * The value of an entry `width` bytes wide. Throws an InputError for a flag nobody knows or one that does not fit.
 */
export function entryValue(entry: Entry, width: 4 | 8, placement: Placement): EntryValue {
  const address = entry.to === undefined ? 0 : resolve(placement, entry.to);
  let lo = address % 2 ** 32;
  let hi = Math.floor(address / 2 ** 32);
  for (const word of entry.flags.split(' ').filter((flag) => flag !== '')) {
    const bit = FLAG_BIT[word] ?? (/^[0-9]+$/.test(word) ? Number(word) : -1);
    if (bit < 0 || bit >= width * 8) {
      const known = Object.keys(FLAG_BIT).join(' ');
      throw new InputError(
        `"${word}" is not a flag of an entry of ${width} bytes; flags are ${known} and numbers below ${width * 8}.`,
      );
    }
    if (bit < 32) lo |= 1 << bit;
    else hi |= 1 << (bit - 32);
  }
  return { lo: lo >>> 0, hi: hi >>> 0 };
}

/** An entry as one line: `data1 P W U A`. */
export const entryText = (entry: Entry): string => {
  const to =
    entry.to === undefined ? '' : typeof entry.to === 'number' ? `0x${entry.to.toString(16)}` : entry.to;
  return [to, entry.flags].filter((part) => part !== '').join(' ') || 'zero';
};
