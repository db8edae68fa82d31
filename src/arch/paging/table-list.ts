/** Lists what a set of tables maps, for dumps and reports. The walk of one address is walker.ts. */
import { ENTRY, type PagingFormat } from './format.ts';
import { type EntryMemory, frameOf } from './walker.ts';

const TWO_TO_32 = 0x1_0000_0000;
const ADDRESS_HI = 0x000f_ffff;

const tableAddress = (lo: number, hi: number): number =>
  (hi & ADDRESS_HI) * TWO_TO_32 + ((lo & 0xffff_f000) >>> 0);

/** A present entry that maps a page. */
export interface MappedPage {
  /** First linear page number (linear >> 12). */
  readonly pageNumber: number;
  /** 4-KByte pages that it maps. */
  readonly pages: number;
  /** Level of the entry. */
  readonly level: number;
  /** First physical frame number behind it. */
  readonly frame: number;
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
    const below = format.rootIsEntry
      ? listTable(format, rootLevel - 1, tableAddress(lo, hi), index * rootPages, memory)
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
  const { entrySize } = format;
  const shape = format.levels[level];
  const { indexMask, indexDivisor, largePage } = shape;
  for (let index = 0; index <= indexMask; index += 1) {
    const entryAddress = table + index * entrySize;
    if (!memory.readEntry(entryAddress, entrySize)) return;
    const { lo, hi } = memory;
    if ((lo & format.presentMask) === 0) continue;
    const pageNumber = firstPage + index * indexDivisor;
    const large = largePage && (lo & ENTRY.PS) !== 0;
    if (large || level === 1) {
      const frame = frameOf(shape, entrySize, large, lo, hi, pageNumber);
      yield { pageNumber, pages: indexDivisor, level, frame, entryAddress, lo, hi };
    } else yield* listTable(format, level - 1, tableAddress(lo, hi), pageNumber, memory);
  }
}
