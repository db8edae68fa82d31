/**
 * The role: what a shadow page is *for*.
 *
 * A shadow page is a translation of one guest page table into a table that the processor can walk. The same guest page
 * can be translated in many ways: as a page directory or as a page table, by 4-byte or by 8-byte entries, with NX
 * reserved or in force, for L1 or for L2. The role names the way. Two shadow pages of the same guest frame are
 * interchangeable if and only if their roles are equal; so the pair (gfn, role) is the key under which L0 finds them,
 * and whatever influences the contents of a shadow page must be in the role.
 *
 * There are three roles at work:
 *
 * - The *cpu role* is the paging mode that the guest is in now: a base part, in the layout of a page role, and an
 *   extended part with what matters to L0's software walk only. It drives the walker's format, the permission rules
 *   and the reserved bits (context.ts).
 * - The *root role* is the page role of a root in that mode. It drives the format of the shadow tables. When L1 uses
 *   shadow paging, L1 and L2 share one MMU, and these two roles alone tell them apart.
 * - The *page role* of a shadow page below the root follows from its parent's: one level less, and its own inherited access,
 *   directness and quadrant (childRole).
 *
 * All of it is derived, here and nowhere else, from CR0, CR4, EFER and guest mode; nothing may store what a role
 * already says.
 *
 * A role is a 32-bit word:
 *
 *    bits   field           meaning in a page role
 *    3:0    level           level of the table: 1 holds 4 KiB leaves, 2 a page directory, 3 and up above it
 *    4      has_4_byte_gpte the guest's table has 4-byte entries, 1024 to a page; a shadow table has 8-byte entries,
 *                           512 to a page, so that it covers only a part of the guest's
 *    6:5    quadrant        which part: for a page directory one of four (1 GiB each), for a page table one of two
 *    7      direct          there is no guest table: paging is off, or a large guest page is mapped in small pieces
 *    10:8   access          rights that the guest entries *above* this table grant (RIGHTS): inherited from the parents
 *    11     invalid         zapped while still in use as a root; never found again
 *    12     efer_nx         bit 63 of guest entries is NX; otherwise it is reserved
 *    13     cr0_wp          CR0.WP; with WP=0 some leaves are writable that the guest's entries do not show so
 *    14     smep_andnot_wp  CR4.SMEP && !CR0.WP: those leaves are not executable either
 *    15     smap_andnot_wp  CR4.SMAP && !CR0.WP: those leaves look like supervisor pages and would slip past SMAP
 *    16     ad_disabled     the guest's format has no accessed and dirty bits
 *    17     guest_mode      made for L2
 *    18     passthrough     a level that the guest's table does not have (nested paging, 5 levels over 4)
 *    19     cr4_pse         4-byte page directories only: bit 7 of an entry means a 4 MiB page
 *    20     private         no guest table has this one's shape: it belongs to one root, is filled by faults like a TLB, and
 *                           emptied whenever a table that was read for it is written (guards.ts)
 *    31:24  smm             memslot address space
 *
 * Two differences from KVM, both because a stale shadow page must not be *found* after a mode switch: efer_nx is the
 * guest's own (KVM forces it to one, since its hardware runs with NX while it shadows; that is a constant and need not be in a
 * key), and cr4_pse is in the page role (KVM has it in the extended part only, which no shadow page carries).
 */
import { RIGHTS } from '../../arch/paging/format.ts';
import { CR0, CR4, EFER } from '../../arch/registers.ts';
import type { TableFormat } from './table-format.ts';

declare const brand: unique symbol;
/** A page role word, or the base part of a cpu role, which has the same layout. */
export type PageRole = number & { readonly [brand]: 'page role' };
/** The extended part of a cpu role. */
export type ExtendedRole = number & { readonly [brand]: 'extended role' };

// biome-ignore format: table
/** Fields of a page role. Single bits are masks; the others have a shift. */
export const ROLE = {
  LEVEL:           0x0000_000f,
  HAS_4_BYTE_GPTE: 0x0000_0010,
  QUADRANT:        0x0000_0060,
  DIRECT:          0x0000_0080,
  ACCESS:          0x0000_0700,
  INVALID:         0x0000_0800,
  EFER_NX:         0x0000_1000,
  CR0_WP:          0x0000_2000,
  SMEP_ANDNOT_WP:  0x0000_4000,
  SMAP_ANDNOT_WP:  0x0000_8000,
  AD_DISABLED:     0x0001_0000,
  GUEST_MODE:      0x0002_0000,
  PASSTHROUGH:     0x0004_0000,
  CR4_PSE:         0x0008_0000,
  PRIVATE:         0x0010_0000,
  SMM:             0xff00_0000,
} as const;
const QUADRANT_SHIFT = 5;
const ACCESS_SHIFT = 8;
const SMM_SHIFT = 24;

// biome-ignore format: table
/** Fields of an extended role: what L0's own walk must know and no shadow page depends on. */
export const EXTENDED = {
  /** Set in every computed role, so that a zeroed one never compares equal. */
  VALID:    0x01,
  /** EPT tables may grant execute without read. */
  EXECONLY: 0x02,
  CR4_PSE:  0x04,
  CR4_PKE:  0x08,
  CR4_SMAP: 0x10,
  CR4_SMEP: 0x20,
  CR4_LA57: 0x40,
  EFER_LMA: 0x80,
} as const;

/** Root level of every 32-bit guest's shadow: the four page-directory pointers of PAE paging. */
export const PAE_ROOT_LEVEL = 3;

const page = (word: number): PageRole => (word >>> 0) as PageRole;

/** Paging levels of the guest, 0 with paging off (SDM vol. 3A 4.1.1 table 4-1). */
function pagingLevel(cr4: number, efer: number): number {
  if ((efer & EFER.LMA) !== 0) return (cr4 & CR4.LA57) !== 0 ? 5 : 4;
  return (cr4 & CR4.PAE) !== 0 ? 3 : 2;
}

/**
 * Base part of the cpu role.
 *
 * @param cr0       the guest's own CR0, CR4 and EFER (low halves), not what runs in the processor
 * @param guestMode the guest is L2
 */
export function cpuRoleBase(cr0: number, cr4: number, efer: number, guestMode: boolean): PageRole {
  const common = (RIGHTS.ALL << ACCESS_SHIFT) | (guestMode ? ROLE.GUEST_MODE : 0);
  // With paging off no other bit means anything: leaving them zero lets all such contexts share their shadow pages.
  if ((cr0 & CR0.PG) === 0) return page(common | ROLE.DIRECT);

  let role = common | pagingLevel(cr4, efer);
  if ((cr4 & CR4.PAE) === 0) {
    role |= ROLE.HAS_4_BYTE_GPTE;
    if ((cr4 & CR4.PSE) !== 0) role |= ROLE.CR4_PSE;
  }
  if ((efer & EFER.NXE) !== 0) role |= ROLE.EFER_NX;
  if ((cr0 & CR0.WP) !== 0) role |= ROLE.CR0_WP;
  else {
    if ((cr4 & CR4.SMEP) !== 0) role |= ROLE.SMEP_ANDNOT_WP;
    if ((cr4 & CR4.SMAP) !== 0) role |= ROLE.SMAP_ANDNOT_WP;
  }
  return page(role);
}

/** Extended part of the cpu role, from the guest's own CR0, CR4 and EFER. */
export function cpuRoleExtended(cr0: number, cr4: number, efer: number): ExtendedRole {
  let role: number = EXTENDED.VALID;
  if ((cr0 & CR0.PG) === 0) return role as ExtendedRole;
  if ((cr4 & CR4.PSE) !== 0) role |= EXTENDED.CR4_PSE;
  if ((cr4 & CR4.SMAP) !== 0) role |= EXTENDED.CR4_SMAP;
  if ((cr4 & CR4.SMEP) !== 0) role |= EXTENDED.CR4_SMEP;
  // Protection keys and 5-level paging exist in long mode only (SDM vol. 3A 4.6.2, 4.5).
  if ((efer & EFER.LMA) !== 0) {
    role |= EXTENDED.EFER_LMA;
    if ((cr4 & CR4.PKE) !== 0) role |= EXTENDED.CR4_PKE;
    if ((cr4 & CR4.LA57) !== 0) role |= EXTENDED.CR4_LA57;
  }
  return role as ExtendedRole;
}

/**
 * Base part of the cpu role of L1's nested tables. The processor walks them in the paging mode that L1 had at VMRUN, and every
 * access is a user access (APM vol. 2 15.25.5), so that CR0.WP, SMEP and SMAP decide no rights; WP is set, for nothing is
 * ever writable beyond the entries.
 *
 * @param cr4 L1's CR4 and EFER (low halves) as VMRUN saved them
 */
export const nestedRoleBase = (cr4: number, efer: number, guestMode: boolean): PageRole =>
  cpuRoleBase((CR0.PG | CR0.WP) >>> 0, cr4, efer, guestMode);

/** Extended part: SMEP alone, since it makes nested faults report fetches. */
export const nestedRoleExtended = (cr4: number): ExtendedRole =>
  (EXTENDED.VALID | ((cr4 & CR4.SMEP) !== 0 ? EXTENDED.CR4_SMEP : 0)) as ExtendedRole;

/** Root role of tables that map guest-physical memory as it is. No register of the guest matters to them. */
export const directRootRole = (guestMode: boolean, rootLevel: number): PageRole =>
  page((RIGHTS.ALL << ACCESS_SHIFT) | (guestMode ? ROLE.GUEST_MODE : 0) | ROLE.DIRECT | rootLevel);

/**
 * Root role of the shadow of nested tables: L1's format, but the levels of L0's own. L0's 2-level tables cannot stand for 8-byte
 * ones, of which one covers half as much.
 */
export const nestedRootRole = (base: PageRole, rootLevel: number): PageRole =>
  page(withLevel(base, rootLevel) | (rootLevel === PAE_ROOT_LEVEL || has4ByteGpte(base) ? 0 : ROLE.PRIVATE));

/**
 * Page role of a shadow root for a guest in the mode of `cpuBase`: the same, but never below the three levels of PAE
 * paging, in which L0 shadows every 32-bit guest.
 */
export const shadowRootRole = (cpuBase: PageRole): PageRole =>
  withLevel(cpuBase, Math.max(roleLevel(cpuBase), PAE_ROOT_LEVEL));

/**
 * Role of the table that entry `index` of a table with role `parent` refers to.
 *
 * @param access RIGHTS granted by the guest entries from the root down to and including the one that points to the child
 * @param format of L0's tables
 */
export function childRole(
  parent: PageRole,
  direct: boolean,
  access: number,
  index: number,
  format: TableFormat,
): PageRole {
  const level = roleLevel(parent) - 1;
  let role = parent & ~(ROLE.LEVEL | ROLE.QUADRANT | ROLE.DIRECT | ROLE.ACCESS | ROLE.PASSTHROUGH);
  role |= level | (access << ACCESS_SHIFT);
  if (direct) role |= ROLE.DIRECT;
  // Two adjacent 2 MiB entries of a shadow page directory are the halves of one 4-byte guest entry.
  else if (isDivided(role, format)) role |= (index & 1) << QUADRANT_SHIFT;
  return page(role);
}

/**
 * Role of page directory `index` (0..3) under a PAE root. A 2-level guest has one page directory for all four, so the
 * quadrant tells them apart; otherwise the frame does.
 */
export function paeDirectoryRole(root: PageRole, index: number): PageRole {
  const quadrant = isDirect(root) || (root & ROLE.HAS_4_BYTE_GPTE) === 0 ? 0 : index;
  return page((withLevel(root, PAE_ROOT_LEVEL - 1) & ~ROLE.QUADRANT) | (quadrant << QUADRANT_SHIFT));
}

/** Whether a guest table of this role takes more than one of L0's: 4-byte entries under 8-byte ones. */
export const isDivided = (role: number, format: TableFormat): boolean =>
  (role & ROLE.HAS_4_BYTE_GPTE) !== 0 && format.entryWords === 2;

export const roleLevel = (role: PageRole): number => role & ROLE.LEVEL;
export const roleQuadrant = (role: PageRole): number => (role & ROLE.QUADRANT) >>> QUADRANT_SHIFT;
export const roleAccess = (role: PageRole): number => (role & ROLE.ACCESS) >>> ACCESS_SHIFT;
export const roleSmm = (role: PageRole): number => role >>> SMM_SHIFT;
export const isDirect = (role: PageRole): boolean => (role & ROLE.DIRECT) !== 0;
export const isPrivate = (role: PageRole): boolean => (role & ROLE.PRIVATE) !== 0;
/** A shadow page of this role stands for one guest table, or a part of one. */
export const shadowsTable = (role: PageRole): boolean => (role & (ROLE.DIRECT | ROLE.PRIVATE)) === 0;
export const isInvalid = (role: PageRole): boolean => (role & ROLE.INVALID) !== 0;
export const isGuestMode = (role: PageRole): boolean => (role & ROLE.GUEST_MODE) !== 0;
export const has4ByteGpte = (role: PageRole): boolean => (role & ROLE.HAS_4_BYTE_GPTE) !== 0;
export const withQuadrant = (role: PageRole, quadrant: number): PageRole =>
  page((role & ~ROLE.QUADRANT) | (quadrant << QUADRANT_SHIFT));
export const withLevel = (role: PageRole, level: number): PageRole => page((role & ~ROLE.LEVEL) | level);
export const invalidated = (role: PageRole): PageRole => page(role | ROLE.INVALID);

/**
 * The bits in which all shadow pages under one root agree. A shadow page may be synchronised only by an MMU whose root
 * role agrees with it in these: any other mode would read the guest's entries wrongly.
 */
const SHARED_UNDER_ROOT = ~(ROLE.LEVEL | ROLE.ACCESS | ROLE.QUADRANT | ROLE.DIRECT | ROLE.PASSTHROUGH);
export const agreesWithRoot = (role: PageRole, root: PageRole): boolean =>
  ((role ^ root) & SHARED_UNDER_ROOT) === 0;

/** A set of RIGHTS in the order of the kernel's trace lines: `wux`, with `-` for what is not allowed. */
export const accessString = (access: number): string =>
  ((access & RIGHTS.W) !== 0 ? 'w' : '-') +
  ((access & RIGHTS.U) !== 0 ? 'u' : '-') +
  ((access & RIGHTS.X) !== 0 ? 'x' : '-');

/**
 * A page role as the kernel's `kvmmmu` trace lines print it, then, in the same manner, the bits that those leave out:
 * `l2 4-byte q1 wux nxe ad wp !pse guest_mode`.
 */
export function roleString(role: PageRole): string {
  const words = [
    `l${roleLevel(role)}`,
    `${has4ByteGpte(role) ? 4 : 8}-byte`,
    `q${roleQuadrant(role)}${isDirect(role) ? ' direct' : ''}`,
    `${accessString(roleAccess(role))}${isInvalid(role) ? ' invalid' : ''}`,
    `${(role & ROLE.EFER_NX) !== 0 ? '' : '!'}nxe`,
    `${(role & ROLE.AD_DISABLED) !== 0 ? '!' : ''}ad`,
    `${(role & ROLE.CR0_WP) !== 0 ? '' : '!'}wp`,
  ];
  if (has4ByteGpte(role)) words.push(`${(role & ROLE.CR4_PSE) !== 0 ? '' : '!'}pse`);
  if ((role & ROLE.SMEP_ANDNOT_WP) !== 0) words.push('smep&!wp');
  if ((role & ROLE.SMAP_ANDNOT_WP) !== 0) words.push('smap&!wp');
  if ((role & ROLE.PASSTHROUGH) !== 0) words.push('passthrough');
  if (isPrivate(role)) words.push('private');
  if (isGuestMode(role)) words.push('guest_mode');
  if (roleSmm(role) !== 0) words.push(`smm${roleSmm(role)}`);
  return words.join(' ');
}

const EXTENDED_NAMES: readonly (readonly [number, string])[] = [
  [EXTENDED.EXECONLY, 'execonly'],
  [EXTENDED.CR4_PSE, 'pse'],
  [EXTENDED.CR4_PKE, 'pke'],
  [EXTENDED.CR4_SMAP, 'smap'],
  [EXTENDED.CR4_SMEP, 'smep'],
  [EXTENDED.CR4_LA57, 'la57'],
  [EXTENDED.EFER_LMA, 'lma'],
];

/** The extended part as words, `pse smep`; `-` when nothing is set, `invalid` when it was never computed. */
export function extendedRoleString(role: ExtendedRole): string {
  if ((role & EXTENDED.VALID) === 0) return 'invalid';
  const words = EXTENDED_NAMES.filter(([bit]) => (role & bit) !== 0).map(([, name]) => name);
  return words.length === 0 ? '-' : words.join(' ');
}
