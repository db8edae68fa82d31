/**
 * 5-level paging of long mode with CR4.LA57: 57-bit linear addresses (SDM vol. 3A 4.5, APM vol. 2 5.3).
 * Its entries have the shapes of 4-level paging.
 */
import { CR3 } from '../registers.ts';
import { buildLevels, checkFeatures, type PagingFeatures, type PagingFormat, type Sum } from './format.ts';
import { longModeShapes } from './four-level.ts';

/** Index widths of PT, PD, PDPT, PML4 and PML5. */
const WIDTHS = [9, 9, 9, 9, 9] as const;

export function fiveLevelFormat(features: PagingFeatures): PagingFormat {
  checkFeatures(features);
  return Object.freeze({
    name: 'five-level',
    entrySize: 8,
    rootLevel: 5,
    rootIsEntry: false,
    rootMaskLo: CR3.BASE,
    rootMaskHi: 0x000f_ffff,
    presentMask: 1,
    levels: buildLevels(WIDTHS, longModeShapes(features, WIDTHS.length)),
  });
}

/** Offset and indices make a linear address. */
export const FIVE_LEVEL_LINEAR_BITS = 57 satisfies Sum<[12, ...typeof WIDTHS]>;
