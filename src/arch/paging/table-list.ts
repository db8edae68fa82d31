/** Lists what a set of tables maps, for dumps and reports. The walk of one address is walker.ts. */
import { ENTRY, type PagingFormat } from './format.ts';
import type { EntryMemory } from './walker.ts';

const TWO_TO_32 = 0x1_0000_0000;
const ADDRESS_HI = 0x000f_ffff;

/** A present entry that maps a page. */
export interface MappedPage {
  /** First linear page number (linear >> 12). */
  readonly pageNumber: number;
  /** 4-KByte pages that it maps. */
  readonly pages: number;
  /** Level of the entry. */
  readonly level: number;
  /** Physical address of the entry. */
  readonly entryAddress: number;
  readonly lo: number;
  readonly hi: number;
}

/** A root's halves: CR3, or one of the four PDPTE registers. */
export interface RootHalves {
  readonly lo: number;
  readonly hi: number;
}

/**
 * Lists the pages that tables map, by linear address. Reserved bits are not looked at: a report shows what is there.
 *
 * @param roots CR3 alone, or the PDPTEs in their order if the format's root is an entry
 * @param limit stops after so many entries: tables that refer to themselves map a lot
 */
export function* listPages(
  format: PagingFormat,
  roots: readonly RootHalves[],
  memory: EntryMemory,
  limit: number,
): Generator<MappedPage> {
  const { rootLevel, levels } = format;
  const rootPages = levels[rootLevel].indexDivisor;
  let left = limit;
  for (const [index, { lo, hi }] of roots.entries()) {
    if (format.rootIsEntry && (lo & format.presentMask) === 0) continue;
    const table = (hi & ADDRESS_HI) * TWO_TO_32 + ((lo & 0xffff_f000) >>> 0);
    const below = format.rootIsEntry
      ? listTable(format, rootLevel - 1, table, index * rootPages, memory)
      : listTable(format, rootLevel, (lo & format.rootMaskLo) >>> 0, 0, memory);
    for (const page of below) {
      if (left-- === 0) return;
      yield page;
    }
  }
}

function* listTable(
  format: PagingFormat,
  level: number,
  table: number,
  firstPage: number,
  memory: EntryMemory,
): Generator<MappedPage> {
  const { indexMask, indexDivisor, largePage } = format.levels[level];
  for (let index = 0; index <= indexMask; index += 1) {
    const entryAddress = table + index * format.entrySize;
    if (!memory.readEntry(entryAddress, format.entrySize)) return;
    const { lo, hi } = memory;
    if ((lo & format.presentMask) === 0) continue;
    const pageNumber = firstPage + index * indexDivisor;
    if (level === 1 || (largePage && (lo & ENTRY.PS) !== 0)) {
      yield { pageNumber, pages: indexDivisor, level, entryAddress, lo, hi };
    } else {
      const next = (hi & ADDRESS_HI) * TWO_TO_32 + ((lo & 0xffff_f000) >>> 0);
      yield* listTable(format, level - 1, next, pageNumber, memory);
    }
  }
}
