/**
 * PAE paging of 32-bit linear addresses with 8-byte entries (SDM vol. 3A 4.4, APM vol. 2 5.2.3, 5.2.5):
 * CR4.PAE = 1 outside long mode. The four page-directory-pointer-table entries are registers, loaded with
 * CR3.
 */
import { CR3 } from '../registers.ts';
import {
  type BitRange,
  buildLevels,
  checkFeatures,
  ENTRY,
  type PagingFeatures,
  type PagingFormat,
  type Sum,
} from './format.ts';

/** Index widths of page table, page directory and page-directory-pointer table. */
const WIDTHS = [9, 9, 2] as const;

export const PDPTE_COUNT = 4;
export const PDPTE_LEVEL = 3;

/**
 * The format. `pdptesInMemory`: the root is CR3 and the walk reads the PDPTE each time, as a guest's under
 * nested paging on AMD (APM vol. 2 15.25.10); otherwise the root is the cached PDPTE that `pdpteIndex`
 * chooses.
 */
export function paeFormat(features: PagingFeatures, pdptesInMemory = false): PagingFormat {
  checkFeatures(features);
  const { maxPhysicalAddressBits, nx, pat } = features;
  const high: BitRange[] = [[62, maxPhysicalAddressBits]];
  if (!nx) high.push([63, 63]);
  const page = { reserved: pat ? high : [...high, [7, 7] as const], plain: true } as const;
  const large: BitRange[] = [...high, [20, 13]];
  if (!pat) large.push([12, 12]);
  const directory = { reserved: high, largeReserved: large, plain: true } as const;
  // Bits 63:MAXPHYADDR, 8:5 and 2:1 of a PDPTE, whatever EFER.NXE (SDM vol. 3A table 4-8).
  const pointer = {
    reserved: [
      [63, maxPhysicalAddressBits],
      [8, 5],
      [2, 1],
    ] as const,
  };
  return Object.freeze({
    name: 'pae',
    entrySize: 8,
    rootLevel: PDPTE_LEVEL,
    rootIsEntry: !pdptesInMemory,
    rootMaskLo: CR3.PAE_BASE,
    rootMaskHi: 0,
    presentMask: 1,
    levels: buildLevels(WIDTHS, [page, directory, pointer]),
  });
}

/** Which PDPTE translates this page number: linear address bits 31:30. */
export const pdpteIndex = (pageNumber: number): number => (pageNumber >>> 18) & 3;

/** Whether a PDPTE may be loaded into its register; else MOV CR3 raises #GP (SDM vol. 3A 4.4.1). */
export function pdpteIsValid(format: PagingFormat, lo: number, hi: number): boolean {
  const { reservedLo, reservedHi } = format.levels[PDPTE_LEVEL];
  return (lo & ENTRY.P) === 0 || ((lo & reservedLo) | (hi & reservedHi)) === 0;
}

/**
 * Offset and indices make a linear address; a table of 2^9 entries of 2^3 bytes fills a page, the PDPT 32
 * bytes.
 */
export const PAE_LINEAR_BITS = 32 satisfies Sum<[12, ...typeof WIDTHS]>;
12 satisfies Sum<[3, (typeof WIDTHS)[0]]>;
12 satisfies Sum<[3, (typeof WIDTHS)[1]]>;
5 satisfies Sum<[3, (typeof WIDTHS)[2]]>;
