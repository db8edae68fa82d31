/**
 * 2-level paging of 32-bit linear addresses with 4-byte entries (SDM vol. 3A 4.3, APM vol. 2 5.2.2, 5.2.4):
 * CR4.PAE = 0. CR4.PSE adds 4 MiB pages; with PSE-36 their entry has physical address bits above 32 in its
 * bits 20:13.
 */
import { CR3 } from '../registers.ts';
import {
  type BitRange,
  buildLevels,
  checkFeatures,
  type PagingFeatures,
  type PagingFormat,
  type Sum,
} from './format.ts';

/** Index widths of page table and page directory. */
const WIDTHS = [10, 10] as const;

/** PSE-36 reaches at most 40 bits (SDM vol. 3A table 4-4). */
const PSE36_MAX_BITS = 40;

/**
 * The format for a value of CR4.PSE. Without it PS is ignored and no bit is reserved, the PAT bits included
 * (SDM vol. 3A 4.3).
 */
export function twoLevelFormat(pse: boolean, features: PagingFeatures): PagingFormat {
  checkFeatures(features);
  const patReserved: BitRange[] = pse && !features.pat ? [[7, 7]] : [];
  const page = { reserved: patReserved, plain: true } as const;
  const directory = pse
    ? ({ reserved: [], largeReserved: largeReserved(features), plain: true } as const)
    : ({ reserved: [], plain: true } as const);
  return Object.freeze({
    name: 'two-level',
    entrySize: 4,
    rootLevel: 2,
    rootIsEntry: false,
    rootMaskLo: CR3.BASE,
    rootMaskHi: 0,
    presentMask: 1,
    levels: buildLevels(WIDTHS, [page, directory]),
  });
}

/**
 * With M the bits that PSE-36 reaches, bits 21:(M - 19) are reserved; M is 32 without it (SDM vol. 3A table
 * 4-4).
 */
function largeReserved(features: PagingFeatures): BitRange[] {
  const reach = features.pse36 ? Math.min(features.maxPhysicalAddressBits, PSE36_MAX_BITS) : 32;
  const ranges: BitRange[] = [[21, reach - 19]];
  if (!features.pat) ranges.push([12, 12]);
  return ranges;
}

/** Offset and indices make a linear address; a table of 2^10 entries of 2^2 bytes fills a page. */
export const TWO_LEVEL_LINEAR_BITS = 32 satisfies Sum<[12, ...typeof WIDTHS]>;
12 satisfies Sum<[2, (typeof WIDTHS)[0]]>;
12 satisfies Sum<[2, (typeof WIDTHS)[1]]>;
