/**
 * Shadow page-table entries: 8 bytes in the format of PAE and long-mode paging (SDM vol. 3A 4.4.2 and 4.5, APM vol. 2
 * 5.2.3, 5.3.3), as {lo, hi} pairs; or 4 bytes in that of 2-level paging (SDM vol. 3A 4.3), which is the low half alone. Bits 11:9
 * are ignored by the processor and L0's own.
 */
import { RIGHTS } from '../../arch/paging/format.ts';

// biome-ignore format: table
/** Low half of an SPTE. */
export const SPTE = {
  P:             0x001,
  W:             0x002,
  U:             0x004,
  A:             0x020,
  D:             0x040,
  /** In an entry above level 1: it maps a large page. */
  PS:            0x080,
  /** The slot behind a leaf accepts stores. */
  HOST_WRITABLE: 0x200,
  /** A leaf whose guest entries allow writing; without W, L0 alone holds it back. */
  MMU_WRITABLE:  0x400,
  /** Set in every entry that L0 made as a translation; clear in MMIO entries and in zero. */
  MMU_PRESENT:   0x800,
  ADDRESS:       0xffff_f000,
} as const;

/** High half: bit 63, execute-disable; in force because L0 shadows with EFER.NXE = 1. */
export const SPTE_HI_NX = 0x8000_0000;
const SPTE_HI_ADDRESS = 0x000f_ffff;

/**
 * MMIO entries are present with a reserved bit set, so that every access to the page faults with RSVD = 1 and L0 knows at
 * once that there is a device (or nothing) behind it. Bit 62 is reserved in PAE entries whatever MAXPHYADDR is
 * (SDM vol. 3A table 4-11, APM vol. 2 figure 5-11). The low half carries the generation of the memory slots, from bit 3 up.
 */
export const MMIO_HI = 0x4000_0000;
const MMIO_GENERATION_SHIFT = 3;
const MMIO_GENERATION = 0xff;

export const mmioLo = (generation: number): number =>
  (SPTE.P | ((generation & MMIO_GENERATION) << MMIO_GENERATION_SHIFT)) >>> 0;

export const isMmio = (lo: number, hi: number): boolean => (lo & SPTE.P) !== 0 && (hi & MMIO_HI) !== 0;

/** A translation, leaf or not. */
export const isPresent = (lo: number): boolean => (lo & SPTE.MMU_PRESENT) !== 0;

/** A leaf, in a table of level `level`. */
export const isLeaf = (lo: number, level: number): boolean => level === 1 || (lo & SPTE.PS) !== 0;

/** Entry for the table at host-physical `address` (below 4 GiB). Leaves carry the permissions; this one allows all. */
export const tableLo = (address: number): number =>
  (address | SPTE.P | SPTE.W | SPTE.U | SPTE.A | SPTE.MMU_PRESENT) >>> 0;

/** Host-physical address in an entry. */
export const spteAddress = (lo: number, hi: number): number =>
  ((lo & SPTE.ADDRESS) >>> 0) + (hi & SPTE_HI_ADDRESS) * 0x1_0000_0000;

/**
 * Low half of a leaf. A and D are set ahead, so that the processor need not write the entry: what the guest sees
 * are the bits of its own entries, which L0's walk keeps.
 *
 * @param writable W now; `access` says whether the guest's entries would allow it
 */
export function leafLo(
  address: number,
  level: number,
  access: number,
  writable: boolean,
  host: boolean,
): number {
  let lo = (address | SPTE.P | SPTE.A | SPTE.MMU_PRESENT) >>> 0;
  if (level > 1) lo |= SPTE.PS;
  if (host) lo |= SPTE.HOST_WRITABLE;
  if ((access & RIGHTS.U) !== 0) lo |= SPTE.U;
  if ((access & RIGHTS.W) !== 0 && host) lo |= SPTE.MMU_WRITABLE;
  if (writable) lo |= SPTE.W | SPTE.D;
  return lo >>> 0;
}

/** High half of a leaf. `nx`: the format has the bit. */
export const leafHi = (address: number, access: number, nx: boolean): number =>
  (Math.floor(address / 0x1_0000_0000) | ((access & RIGHTS.X) !== 0 || !nx ? 0 : SPTE_HI_NX)) >>> 0;

/** What a leaf lets the processor do, as RIGHTS. */
export const spteRights = (lo: number, hi: number): number =>
  ((lo & SPTE.W) !== 0 ? RIGHTS.W : 0) |
  ((lo & SPTE.U) !== 0 ? RIGHTS.U : 0) |
  ((hi & SPTE_HI_NX) !== 0 ? 0 : RIGHTS.X);
