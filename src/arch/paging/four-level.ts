/**
 * 4-level paging of long mode: 48-bit linear addresses, 8-byte entries (SDM vol. 3A 4.5, APM vol. 2 5.3).
 */
import { CR3 } from '../registers.ts';
import {
  type BitRange,
  buildLevels,
  checkFeatures,
  type LevelShape,
  type PagingFeatures,
  type PagingFormat,
  type Sum,
} from './format.ts';

/** Index widths of PT, PD, PDPT and PML4. */
const WIDTHS = [9, 9, 9, 9] as const;

export function fourLevelFormat(features: PagingFeatures): PagingFormat {
  checkFeatures(features);
  return Object.freeze({
    name: 'four-level',
    entrySize: 8,
    rootLevel: 4,
    rootIsEntry: false,
    rootMaskLo: CR3.BASE,
    rootMaskHi: 0x000f_ffff,
    presentMask: 1,
    levels: buildLevels(WIDTHS, longModeShapes(features, WIDTHS.length)),
  });
}

/**
 * Entry shapes of long mode from level 1 to `levels`. Bits 62:52 are available to software. The PAT is always
 * there in long mode (SDM vol. 3A 4.9.2), so bit 7 of a PTE is never reserved.
 */
export function longModeShapes(features: PagingFeatures, levels: number): LevelShape[] {
  const high: BitRange[] = [[51, features.maxPhysicalAddressBits]];
  if (!features.nx) high.push([63, 63]);
  const upper: BitRange[] = features.amd ? [...high, [8, 8]] : high;
  const page: LevelShape = { reserved: high, plain: true };
  const directory: LevelShape = { reserved: high, largeReserved: [...high, [20, 13]], plain: true };
  const pointer: LevelShape = features.pages1G
    ? { reserved: high, largeReserved: [...high, [29, 13]], plain: true }
    : { reserved: [...high, [7, 7]], plain: true };
  // PML4E and PML5E never map a page: PS is reserved.
  const top: LevelShape = { reserved: [...upper, [7, 7]], plain: true };
  return [page, directory, pointer, top, top].slice(0, levels);
}

/** Offset and indices make a linear address; a table of 2^9 entries of 2^3 bytes fills a page. */
export const FOUR_LEVEL_LINEAR_BITS = 48 satisfies Sum<[12, ...typeof WIDTHS]>;
12 satisfies Sum<[3, (typeof WIDTHS)[number]]>;
