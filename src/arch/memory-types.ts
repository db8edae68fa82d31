/**
 * Memory types: what PAT and MTRRs say about a page, and how they combine with and without nested paging (APM vol. 2 7.7,
 * 7.8, 15.25.8). No cache is modelled: a type is only there to be looked at. Two of AMD's names are not told apart from
 * others here: CD, an uncacheable page whose lines may still be in a cache, is UC; WC+, which looks into the caches, is WC.
 */
import { MEMORY_TYPE, MSR, MTRR_DEF_TYPE, MTRR_PHYS_MASK_VALID } from './msrs.ts';
import { ENTRY } from './paging/format.ts';

const { UC, WC, WT, WB, UC_MINUS } = MEMORY_TYPE;
export type MemoryType = (typeof MEMORY_TYPE)[keyof typeof MEMORY_TYPE];

/** A 64-bit register in unsigned halves. */
interface Halves {
  readonly lo: number;
  readonly hi: number;
}

const TWO_TO_32 = 0x1_0000_0000;
const PWT_SHIFT = 3;
const PAT_SHIFT = 5;
const PAT_LARGE_SHIFT = 10;

/**
 * Which field of the PAT an entry that maps a page names: PAT, PCD, PWT (APM vol. 2 7.8.2). `lo`: its low half;
 * `large`: it maps more than 4 KBytes.
 */
export function patIndexOf(lo: number, large: boolean): number {
  const pat = large ? (lo & ENTRY.PAT_LARGE) >>> PAT_LARGE_SHIFT : (lo & ENTRY.PAT) >>> PAT_SHIFT;
  return pat | ((lo >>> PWT_SHIFT) & 3);
}

/** One byte of a register: a field of the PAT, or of a fixed MTRR without its DRAM bits. */
const typeAt = ({ lo, hi }: Halves, index: number): MemoryType =>
  (((index < 4 ? lo : hi) >>> ((index & 3) * 8)) & 7) as MemoryType;

/** The type in field `index` (0 to 7) of a PAT. */
export const patType = (pat: Halves, index: number): MemoryType => typeAt(pat, index);

/**
 * Types of the guest's and the host's PAT under nested paging (APM vol. 2 table 15-19): the host's stands in for the MTRRs
 * that a guest does not have.
 */
export function combinePatTypes(guest: MemoryType, host: MemoryType): MemoryType {
  if (guest === UC_MINUS) return host === WC ? WC : host === UC_MINUS ? UC_MINUS : UC;
  if (guest === WB) return host;
  if (guest === UC || guest === WC) return guest;
  return host === guest || host === WB ? guest : UC;
}

/** The effective type of a page from its PAT type, combined or not, and that of the MTRRs (APM vol. 2 7.8.5, table 15-20). */
export const effectiveType = (pat: MemoryType, mtrr: MemoryType): MemoryType => {
  const type = combinePatTypes(pat, mtrr);
  return type === UC_MINUS ? UC : type;
};

/** MTRRs by number; undefined: the CPU has none of that number. */
export type Mtrrs = (index: number) => Halves | undefined;

/** Fixed MTRRs: from an address on, in steps, eight types in each register from `first` on (APM vol. 2 7.7.2). */
const FIXED = [
  { from: 0, step: 0x1_0000, first: MSR.MTRR_FIX_64K_00000 },
  { from: 0x8_0000, step: 0x4000, first: MSR.MTRR_FIX_16K_80000 },
  { from: 0xc_0000, step: 0x1000, first: MSR.MTRR_FIX_4K_C0000 },
] as const;
const FIXED_END = 0x10_0000;
/** The base of a variable range has its type in the low byte; base and mask begin at bit 12. */
const TYPE = 0x7;
const PAGE_MASK = 0xffff_f000;

/**
 * The type that MTRRs give a system-physical address: UC while they are off, and the CPU that lacks them leaves it to the
 * PAT (APM vol. 2 7.7.2, 7.7.3).
 */
export function mtrrType(mtrrs: Mtrrs, address: number): MemoryType {
  const def = mtrrs(MSR.MTRR_DEF_TYPE);
  if (def === undefined) return WB;
  if ((def.lo & MTRR_DEF_TYPE.E) === 0) return UC;
  if (address < FIXED_END && (def.lo & MTRR_DEF_TYPE.FE) !== 0) return fixedType(mtrrs, address);
  return variableType(mtrrs, address) ?? ((def.lo & TYPE) as MemoryType);
}

function fixedType(mtrrs: Mtrrs, address: number): MemoryType {
  const { from, step, first } = FIXED[address < 0x8_0000 ? 0 : address < 0xc_0000 ? 1 : 2];
  const place = Math.floor((address - from) / step);
  const register = mtrrs(first + (place >> 3));
  return register === undefined ? UC : typeAt(register, place & 7);
}

/** Of several ranges UC wins, and WT over WB; what else overlaps is undefined and is UC here (APM vol. 2 7.7.4). */
function variableType(mtrrs: Mtrrs, address: number): MemoryType | undefined {
  const lo = address % TWO_TO_32;
  const hi = Math.floor(address / TWO_TO_32);
  let found: MemoryType | undefined;
  for (let range = 0; ; range += 2) {
    const base = mtrrs(MSR.MTRR_PHYS_BASE0 + range);
    const mask = mtrrs(MSR.MTRR_PHYS_MASK0 + range);
    if (base === undefined || mask === undefined || range >= 16) return found;
    if ((mask.lo & MTRR_PHYS_MASK_VALID) === 0) continue;
    if (((lo ^ base.lo) & mask.lo & PAGE_MASK) !== 0 || ((hi ^ base.hi) & mask.hi) !== 0) continue;
    const type = (base.lo & TYPE) as MemoryType;
    found = found === undefined || found === type ? type : overlap(found, type);
  }
}

const overlap = (one: MemoryType, other: MemoryType): MemoryType =>
  (one === WT && other === WB) || (one === WB && other === WT) ? WT : UC;
