/**
 * What a paging format is: a list of levels, each with the shape of its entries. The formats themselves are
 * one file each; walker.ts knows none of them. Linear addresses appear as page numbers (linear >> 12),
 * physical ones as numbers.
 */

// biome-ignore format: table
/** Bits in the low half of an entry (SDM vol. 3A 4.3 to 4.5, APM vol. 2 5.4). */
export const ENTRY = {
  P:   0x001,
  W:   0x002,
  U:   0x004,
  PWT: 0x008,
  PCD: 0x010,
  A:   0x020,
  D:   0x040,
  /** Page size, in an entry above level 1; the PAT bit of a level-1 entry. */
  PS:  0x080,
  PAT: 0x080,
  G:   0x100,
  /** The PAT bit of an entry that maps a large page. */
  PAT_LARGE: 0x1000,
} as const;
/** Bit 63 of an 8-byte entry, in its high half: no-execute (AMD NX, Intel XD). */
export const ENTRY_HI_NX = 0x8000_0000;

/** Rights that entries grant; W and U have the values of the entry bits. Accumulated by AND along a walk. */
export const RIGHTS = { X: 1, W: 2, U: 4, ALL: 7 } as const;

/** What of CPU model and mode decides which entry bits are reserved. */
export interface PagingFeatures {
  /** MAXPHYADDR, 32 to 52 (SDM vol. 3A 4.1.4; CPUID 8000_0008h). */
  readonly maxPhysicalAddressBits: number;
  /** EFER.NXE: bit 63 means no-execute, else it is reserved. */
  readonly nx: boolean;
  /** The CPU has the PAT; else the PAT bits are reserved. */
  readonly pat: boolean;
  /** The CPU has PSE-36: 4 MiB pages above 4 GiB in 2-level paging. */
  readonly pse36: boolean;
  /** The CPU has 1 GiB pages (4-level and 5-level paging). */
  readonly pages1G: boolean;
  /** AMD reserves bit 8 of PML4Es and PML5Es, not of PDPEs (APM vol. 2 figures 5-19 to 5-21). */
  readonly amd: boolean;
}

export interface PagingLevel {
  /** Bits of the page number below this level's index. */
  readonly indexShift: number;
  /** 2 ** indexShift: a page number of more than 32 bits cannot be shifted. */
  readonly indexDivisor: number;
  readonly indexMask: number;
  /** Whether PS = 1 maps a large page here. */
  readonly largePage: boolean;
  /**
   * Bits that must be zero in a present entry: in one that refers to a table (or, at level 1, maps 4 KiB) ...
   */
  readonly reservedLo: number;
  readonly reservedHi: number;
  /** ... and in one that maps a large page. */
  readonly largeReservedLo: number;
  readonly largeReservedHi: number;
  /** Rights that an entry grants, by (bits 2:0) + 8 * (bit 63). */
  readonly rights: Readonly<Uint8Array>;
  /** Accessed and dirty bit in the low half; zero where entries have none. */
  readonly accessedBit: number;
  readonly dirtyBit: number;
}

export interface PagingFormat {
  readonly name: 'two-level' | 'pae' | 'four-level' | 'five-level';
  readonly entrySize: 4 | 8;
  /** Level of the root; level 1 maps 4 KiB pages. */
  readonly rootLevel: number;
  /** The root is a cached entry of the root level (a PDPTE register), not CR3. */
  readonly rootIsEntry: boolean;
  /** Bits of CR3 that hold the root table's address. */
  readonly rootMaskLo: number;
  readonly rootMaskHi: number;
  /** An entry is present if any of these low bits is set. */
  readonly presentMask: number;
  /** By level; index 0 is unused. */
  readonly levels: readonly PagingLevel[];
}

/** A 64-bit mask in halves, and a range of bits [high, low]; a range with high < low is empty. */
export interface Mask {
  readonly lo: number;
  readonly hi: number;
}
export type BitRange = readonly [high: number, low: number];

export function maskOf(...ranges: readonly BitRange[]): Mask {
  let lo = 0;
  let hi = 0;
  for (const [high, low] of ranges) {
    for (let bit = low; bit <= high; bit += 1) {
      if (bit < 32) lo |= 1 << bit;
      else hi |= 1 << (bit - 32);
    }
  }
  return { lo: lo >>> 0, hi: hi >>> 0 };
}

/**
 * Rights by entry bits P, W, U and NX. Where NX is not enabled bit 63 is reserved, so a set one never counts.
 */
const ENTRY_RIGHTS = Uint8Array.from({ length: 16 }, (_, bits) => (bits & 6) | (bits < 8 ? RIGHTS.X : 0));
/** Entries without rights bits leave the accumulated rights alone. */
const NO_RIGHTS_BITS = new Uint8Array(16).fill(RIGHTS.ALL);

export interface LevelShape {
  readonly reserved: readonly BitRange[];
  /** Reserved bits of a large-page entry; absent where PS does not make one. */
  readonly largeReserved?: readonly BitRange[];
  /** Entries have W, U, A (and NX): all but the PDPTEs of PAE paging. */
  readonly plain?: true;
}

/** Builds the levels from index widths and shapes, both listed from level 1 up. */
export function buildLevels(widths: readonly number[], shapes: readonly LevelShape[]): PagingLevel[] {
  const levels: PagingLevel[] = [];
  let indexShift = 0;
  for (const [i, { reserved, largeReserved, plain }] of shapes.entries()) {
    const small = maskOf(...reserved);
    const large = maskOf(...(largeReserved ?? []));
    levels[i + 1] = Object.freeze({
      indexShift,
      indexDivisor: 2 ** indexShift,
      indexMask: 2 ** widths[i] - 1,
      largePage: largeReserved !== undefined,
      reservedLo: small.lo,
      reservedHi: small.hi,
      largeReservedLo: large.lo,
      largeReservedHi: large.hi,
      rights: plain ? ENTRY_RIGHTS : NO_RIGHTS_BITS,
      accessedBit: plain ? ENTRY.A : 0,
      dirtyBit: plain ? ENTRY.D : 0,
    });
    indexShift += widths[i];
  }
  return levels;
}

/** Throws RangeError unless MAXPHYADDR is one that the architecture allows. */
export function checkFeatures({ maxPhysicalAddressBits }: PagingFeatures): void {
  if (
    !(
      Number.isInteger(maxPhysicalAddressBits) &&
      maxPhysicalAddressBits >= 32 &&
      maxPhysicalAddressBits <= 52
    )
  ) {
    throw new RangeError(`MAXPHYADDR must be 32 to 52 bits, not ${maxPhysicalAddressBits}.`);
  }
}

/**
 * Sum of a tuple of widths, for compile-time checks of the level arithmetic: `32 satisfies Sum<[12, 10,
 * 10]>`.
 */
export type Sum<Widths extends readonly number[]> = SumOf<Widths, []>['length'];
type SumOf<Widths extends readonly number[], Total extends unknown[]> = Widths extends readonly [
  infer First extends number,
  ...infer Rest extends readonly number[],
]
  ? SumOf<Rest, [...Total, ...Units<First>]>
  : Total;
type Units<Count extends number, Built extends unknown[] = []> = Built['length'] extends Count
  ? Built
  : Units<Count, [...Built, unknown]>;
