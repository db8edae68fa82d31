/**
 * What the guest's tables say at a place that an SPTE stands for, read anew by the manual's formats and not by the walker: for
 * the check of invariants.
 */
import { RIGHTS } from '../../arch/paging/format.ts';
import { has4ByteGpte, isDivided, ROLE, roleLevel, roleQuadrant } from './role.ts';
import type { ShadowPage } from './shadow-page.ts';
import type { ShadowTables } from './shadow-tables.ts';
import { SPTE } from './spte.ts';

const PAGE = 4096;
const PDPTE_SHIFT = 30;
/** Bits 1, 2 and 8:5 of a PDPTE (SDM vol. 3A table 4-8). */
const PDPTE_RESERVED = 0x1e6;

/** What the guest's entry behind an SPTE says now. */
export interface GuestEntry {
  readonly present: boolean;
  readonly large: boolean;
  readonly rights: number;
  /** First frame that it maps, or the frame of the table it refers to. */
  readonly frame: number;
  readonly dirty: boolean;
}

/** The guest's entry behind an entry of a shadow page; null where there is none. */
export function guestEntry(tables: ShadowTables, page: ShadowPage, entry: number): GuestEntry | null {
  if (!page.shadowsTable) return null;
  const { u32 } = tables.memory;
  const table = (tables.slotOf(page.gfn).pfn(page.gfn) * PAGE) >>> 2;
  const four = has4ByteGpte(page.role);
  const index = isDivided(page.role, tables.format) ? dividedIndex(page, entry) : entry;
  const lo = u32[table + (four ? index : index * 2)];
  const hi = four ? 0 : u32[table + index * 2 + 1];
  const largeAllowed = roleLevel(page.role) === 2 && (!four || (page.role & ROLE.CR4_PSE) !== 0);
  const large = largeAllowed && (lo & SPTE.PS) !== 0;
  return {
    present: (lo & SPTE.P) !== 0,
    large,
    rights: entryRights(lo, hi),
    frame: guestFrame(lo, hi, large, four),
    dirty: (lo & SPTE.D) !== 0,
  };
}

/** Frames by which an entry maps the upper half of what the guest's 4-byte entry maps. */
export const upperHalf = (tables: ShadowTables, page: ShadowPage, entry: number): number =>
  isDivided(page.role, tables.format) ? (entry & 1) * page.entries : 0;

/** PDPTE `index` of the table at L1-physical `pgd`, as it is in memory. */
export function nestedPdpte(tables: ShadowTables, pgd: number, index: number): { lo: number; hi: number } {
  const { u32 } = tables.memory;
  const host = tables.slots.hostAddress(pgd + index * 8) >>> 2;
  return { lo: u32[host], hi: u32[host + 1] };
}

/**
 * What L1's PAE nested tables say of an L2-physical address (APM vol. 2 15.25.5).
 *
 * @param pgd L1-physical address of the page-directory-pointer table
 */
export function nestedLeaf(tables: ShadowTables, pgd: number, address: number): GuestEntry {
  const { u32 } = tables.memory;
  let at = pgd + (address >>> PDPTE_SHIFT) * 8;
  let rights: number = RIGHTS.ALL;
  for (let shift = PDPTE_SHIFT; ; shift -= 9) {
    const host = tables.slots.hostAddress(at) >>> 2;
    const lo = u32[host];
    const hi = u32[host + 1];
    // PDPTEs have no rights.
    if (shift < PDPTE_SHIFT) rights &= entryRights(lo, hi);
    const large = shift === 21 && (lo & SPTE.PS) !== 0;
    const present = (lo & SPTE.P) !== 0 && (shift < PDPTE_SHIFT || (lo & PDPTE_RESERVED) === 0);
    const frame = guestFrame(lo, hi, large, false) + (large ? (address >>> 12) & 511 : 0);
    if (!present || large || shift === 12)
      return { present, large, rights, frame, dirty: (lo & SPTE.D) !== 0 };
    at = frame * PAGE + ((address >>> (shift - 9)) & 511) * 8;
  }
}

const entryRights = (lo: number, hi: number): number =>
  (lo & (RIGHTS.W | RIGHTS.U)) | (hi >>> 31 === 0 ? RIGHTS.X : 0);

/** Index of the 4-byte guest entry behind an 8-byte one: a page table covers two shadow ones, a directory four. */
function dividedIndex(page: ShadowPage, entry: number): number {
  const quadrant = roleQuadrant(page.role);
  return roleLevel(page.role) === 1 ? quadrant * 512 + entry : quadrant * 256 + (entry >>> 1);
}

/** First frame that a guest entry maps, or the frame of the table it refers to (SDM vol. 3A tables 4-4 to 4-10). */
function guestFrame(lo: number, hi: number, large: boolean, four: boolean): number {
  if (!four) return (hi & 0x000f_ffff) * 0x10_0000 + (large ? (lo >>> 21) << 9 : lo >>> 12);
  return large ? ((lo >>> 13) & 0xff) * 0x10_0000 + ((lo >>> 22) << 10) : lo >>> 12;
}
