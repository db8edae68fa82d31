/**
 * The rules of paging under L0: the decisions on which it stands or falls, one small function each, in one place.
 *
 * Nearly every bug that KVM's shadow MMU has had was a wrong answer to one of these questions: what belongs to a role, when
 * a context is stale, when PDPTEs are loaded, what a guest's invalidation must reach, with which rights a table is shared.
 * So they are asked here by name, and L0 does what they say. `RULES` has the right answers. A mutant
 * (src/grid/mutants) is a wrong one, put in place of a single rule; the scenario that then fails is the reason for the rule.
 *
 * A rule decides and does nothing: no state, no memory, no side effect. The functions of role.ts are rules as they stand.
 */
import { type PagingFeatures, type PagingFormat, RIGHTS } from '../arch/paging/format.ts';
import { pdpteIsValid } from '../arch/paging/pae.ts';
import { ACCESS, PAGING_CONTROL } from '../arch/paging/permissions.ts';
import { CR0, CR3, CR4, EFER } from '../arch/registers.ts';
import { TLB_CONTROL } from '../arch/vmcb.ts';
import { controlOf, type GuestFormats, type GuestPagingRegisters, type MmuKind } from './mmu/context.ts';
import { gpteUsable, speculativeRights } from './mmu/guest-tables.ts';
import type { PagingRegisters } from './mmu/nested-registers.ts';
import {
  childRole,
  cpuRoleBase,
  cpuRoleExtended,
  directRootRole,
  type ExtendedRole,
  has4ByteGpte,
  isDirect,
  isDivided,
  nestedRoleBase,
  nestedRoleExtended,
  nestedRootRole,
  type PageRole,
  paeDirectoryRole,
  roleLevel,
  roleQuadrant,
  shadowRootRole,
} from './mmu/role.ts';
import type { RootKey } from './mmu/roots.ts';
import type { ShadowPage } from './mmu/shadow-page.ts';
import type { TableFormat } from './mmu/table-format.ts';

/** What has changed the registers that paging depends on. */
export type Cause =
  | 'MOV CR0'
  | 'MOV CR3'
  | 'MOV CR4'
  | 'WRMSR EFER'
  | 'VMRUN'
  | '#VMEXIT'
  | 'RESET'
  /** Nothing in particular: before L0 walks the tables of an L2 that writes its registers without an exit. */
  | 'guest walk';

const CR0_LOADS_PDPTES = CR0.PG | CR0.CD | CR0.NW;
const CR4_LOADS_PDPTES = CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP;
const CR4_FLUSHES = CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP;

export const RULES = {
  // --- what a shadow page is for -------------------------------------------------------------------------------

  /** Whatever influences the contents of a shadow page is in its role, or a page of another mode is found in its place. */
  cpuRoleBase,
  cpuRoleExtended,
  shadowRootRole,
  /** The tables of an L2 and of L1 are told apart even where both map the same memory: guest_mode. */
  directRootRole,
  /** Nested tables are in the paging mode of L1 as it was at VMRUN: level, entry size, CR4.PSE, NX, and guest_mode. */
  nestedRoleBase,
  /** SMEP of L1, which decides about the fetch bit of nested faults. */
  nestedRoleExtended,
  /** The levels of the tables that stand for them are those of L0's own format, whatever L1's is. */
  nestedRootRole,
  /** The quadrant is part of it for 4-byte entries: else both halves of a guest table have one translation. */
  childRole,
  /** All four directories of a 2-level guest are on one frame: the quadrant alone tells them apart. */
  paeDirectoryRole,

  /** Walker, permission rules and root are looked up anew if any bit of either role has changed, and only then. */
  roleChanged(
    _cause: Cause,
    base: PageRole,
    extended: ExtendedRole,
    newBase: PageRole,
    newExtended: ExtendedRole,
  ): boolean {
    return base !== newBase || extended !== newExtended;
  },

  /** The guest's accesses are judged by the guest's own CR0.WP, SMEP, SMAP and NX, never by what is in force. */
  permissionControl: controlOf,

  /** Bits of the guest's entries are reserved by the guest's MAXPHYADDR and features; the processor's are no matter. */
  guestFeatures: (features: PagingFeatures): PagingFeatures => features,

  /**
   * Which registers make the format of L1's nested tables: those that VMRUN saved (APM vol. 2 15.25.3), not those that L2 has
   * loaded since.
   */
  nestedRegisters: (saved: PagingRegisters, _current: PagingRegisters): PagingRegisters => saved,

  /** L1's nested tables are walked by their own format, with its reserved bits; PDPTEs are read on use. */
  nestedFormat: (formats: GuestFormats, base: PageRole): PagingFormat | null => formats.of(base, true),

  /** Every nested access is a user access, whatever the privilege of the guest (APM vol. 2 15.25.5). */
  nestedAccess: (access: number): number => (access & ~ACCESS.IMPLICIT) | ACCESS.USER,

  // --- what the processor really runs with ---------------------------------------------------------------------

  /**
   * Paging is always on, since L0's tables translate even for a guest without paging (in real mode, as paged real mode,
   * APM vol. 2 15.19), and write protection too, since L0's own rests on it. Caches stay on.
   */
  cr0InForce: (cr0: number): number => ((cr0 | CR0.PG | CR0.WP) & ~(CR0.CD | CR0.NW)) >>> 0,

  /**
   * PAE paging. No SMEP and SMAP for a guest without paging: its pages are all user pages to the tables, and the guest's
   * own processor would not look.
   */
  cr4InForce(cr0: number, cr4: number): number {
    const paged = (cr0 & CR0.PG) !== 0;
    return ((paged ? cr4 : cr4 & ~(CR4.SMEP | CR4.SMAP | CR4.PKE)) | CR4.PAE) >>> 0;
  },

  /**
   * NX, because L0 sets it in entries whether the guest knows it or not (CR0.WP = 0 under SMEP); SVME as VMRUN demands; no
   * LME without LMA, which would turn PAE into long mode.
   */
  eferInForce(efer: number): number {
    const legacy = (efer & EFER.LMA) === 0 ? efer & ~EFER.LME : efer;
    return (legacy | EFER.NXE | EFER.SVME) >>> 0;
  },

  // --- PDPTEs ----------------------------------------------------------------------------------------------------

  /** PDPTEs exist while paging is on, in the PAE format; with CR4.PAE alone CR3 need not point to any. */
  isPaePaging: (cr0: number, cr4: number, efer: number): boolean =>
    (cr0 & CR0.PG) !== 0 && (cr4 & CR4.PAE) !== 0 && (efer & EFER.LMA) === 0,

  /**
   * Whether PAE paging loads the PDPTE registers (SDM vol. 3A 4.4.1): at every MOV to CR3, the value changed or not; when
   * these bits of CR0 and CR4 change, SMAP and PKE not among them; at VMRUN and #VMEXIT (APM vol. 2 15.5, 15.6).
   *
   * @param changed bits of the register that changed; of CR3 between L1 and L2 for a transition
   */
  loadsPdptes(cause: Cause, changed: number): boolean {
    if (cause === 'MOV CR0') return (changed & CR0_LOADS_PDPTES) !== 0;
    if (cause === 'MOV CR4') return (changed & CR4_LOADS_PDPTES) !== 0;
    return cause !== 'WRMSR EFER';
  },

  /**
   * With nested paging the processor reads PDPTEs on use and no register holds them, so that a MOV can load none and refuse
   * none (APM vol. 2 15.25.10). VMRUN of an L1 without nested paging of its own checks them all the same. #VMEXIT does not: L1
   * may have loaded what is illegal, which would shut it down (15.6), with a MOV that said nothing.
   */
  checksUncachedPdptes: (cause: Cause): boolean => cause === 'VMRUN',

  pdpteIsValid,

  /** CR4 bits that the CPU model lacks are refused, in MOV and in L1's VMCB: what is in force hides a bad one. */
  cr4IsLegal: (cr4: number, writable: number, _cause: Cause): boolean => (cr4 & ~writable) === 0,

  // --- invalidation ----------------------------------------------------------------------------------------------

  /**
   * Whether the guest has invalidated its translations (SDM vol. 3A 4.10.4.1, APM vol. 2 5.5.3), so that unsync tables must
   * be brought up to date. A nested transition counts: the other level may have edited tables, with an invalidation that
   * reached only the root of its own.
   */
  flushes(cause: Cause, changed: number): boolean {
    if (cause === 'MOV CR0') return (changed & CR0.PG) !== 0;
    if (cause === 'MOV CR4') return (changed & CR4_FLUSHES) !== 0;
    return cause !== 'WRMSR EFER';
  },

  /** L1 asked for it, or gives its guest an ASID under which it may rely on finding nothing of the one before. */
  flushesL2: (asid: number, newAsid: number, control: number): boolean =>
    asid !== newAsid || control !== TLB_CONTROL.NOTHING,

  /**
   * Below L0's nested tables an L2 without paging has entries in the TLB as well, by addresses that are linear ones of the next
   * L2. L1 need not know of them: without nested paging there are none (APM vol. 2 5.5).
   *
   * @param wasPaged CR0.PG of the L2 that ran last
   */
  flushesFlatL2: (nestedPaging: boolean, wasPaged: boolean, isPaged: boolean): boolean =>
    nestedPaging && wasPaged !== isPaged,

  /** TLB_CONTROL 1 flushes the entire TLB, L1's part too (APM vol. 2 table 15-9). */
  flushesL1: (control: number): boolean => control === TLB_CONTROL.FLUSH_ALL,

  /** L2 has an ASID of its own; if it had L1's, each transition would have to flush. */
  hasOwnAsid: (guestMode: boolean): boolean => guestMode,

  /**
   * Whether an ASID may hold what the shadow tables say no more: something was taken away in them since it was flushed, or it
   * ran on another root, which stands for another CR3, other PDPTEs, or another role.
   */
  tlbIsStale: (flushedEpoch: number, epoch: number, sameRoot: boolean): boolean =>
    flushedEpoch !== epoch || !sameRoot,

  /** INVLPG reads the guest's entry again if the shadow of its table may be behind. */
  invlpgSyncs: (page: ShadowPage): boolean => page.unsync,

  /** A page fault invalidates the page that it is about, as INVLPG would (SDM vol. 3A 4.10.4.1, APM vol. 2 5.5.3). */
  faultInvalidates: (): boolean => true,

  // --- which tables serve, and which must be brought up to date -----------------------------------------------------

  /**
   * Whether a root is the one for these registers. PDPTEs are compared by the registers' values, since edits of the table in
   * memory mean nothing before they are loaded; without PAE paging CR3 locates the tables; without paging nothing does.
   */
  rootServes(root: RootKey, role: PageRole, { cr3, pdptes }: GuestPagingRegisters): boolean {
    if (root.role !== role) return false;
    if (isDirect(role)) return true;
    if (has4ByteGpte(role)) return root.pgd === (cr3 & CR3.BASE) >>> 0;
    for (let i = 0; i < pdptes.length; i += 1) if (root.pdptes[i] !== pdptes[i]) return false;
    return true;
  },

  /**
   * The same for the shadow of nested tables: nCR3 locates them. PDPTEs are no registers then; what has become of those in
   * memory is looked at before each use (guards.ts).
   */
  nestedRootServes: (root: RootKey, role: PageRole, cr3: number): boolean =>
    root.role === role && root.pgd === (cr3 & (has4ByteGpte(role) ? CR3.BASE : CR3.PAE_BASE)) >>> 0,

  /**
   * Whether the processor enters tables by a page of PDPTEs, which is so in L0's own PAE format, whatever tables are shadowed by
   * it; in the 2-level format by the directory.
   */
  rootHasPointers: (_role: PageRole, format: TableFormat): boolean => format.rootLevel === 3,

  /** Tables filled like a TLB, and the PDPTEs of nested tables, are good until a page that they were read from is written. */
  guardedTablesServe: (readAt: number, epoch: number): boolean => readAt === epoch,

  /**
   * A root is given up if one of its directories was zapped, which nothing leads to any more by its key, or if memory slots
   * came or went since it was built.
   */
  rootIsObsolete: (generation: number, now: number, zapped: boolean): boolean => zapped || generation !== now,

  /** Invalidations reach the root in use only. One that is taken up again, or built of pages found, has missed some. */
  syncsRoot: (_reused: boolean): boolean => true,

  /**
   * A guest need not invalidate when it makes an absent entry present, so a table that comes to be reachable must be in
   * sync from the start.
   */
  syncsBeforeLink: (page: ShadowPage): boolean => page.unsync,

  /** A table that is linked already goes on serving only if it is the one that a fresh walk would link. */
  childServes: (child: ShadowPage, frame: number, role: PageRole): boolean =>
    child.gfn === frame && child.role === role,

  /** So are they until a walk that L0 makes sets flags there: in PDPTEs bits 8:5 are reserved (SDM vol. 3A table 4-8). */
  flagsLiftGuards: (): boolean => true,

  // --- rights ------------------------------------------------------------------------------------------------------

  /**
   * Access in the role of a guest table's shadow: rights of the entries above it. Those of the leaf that happened to be walked
   * would be given to all its neighbours, and to all who share the table.
   *
   * @param inherited from the root down to and including the entry that refers to the table
   * @param leaf      from the root down to and including the page's own
   */
  tableAccess: (inherited: number, _leaf: number): number => inherited,

  /**
   * Access in the role of the direct page under a large guest page: all of what its entries are made from, the page's own
   * rights and what CR0.WP = 0 made of them; two large pages of one frame share it only if they agree in that.
   *
   * @param inherited rights of the entries above the large page
   * @param granted   with the large page's own
   * @param entered   what the entry for the access will have
   */
  splitAccess: (_inherited: number, _granted: number, entered: number): number => entered,

  /** A page not yet dirty stays read-only until the write that L0 must see to set D. */
  rightsWhileClean: (rights: number): number => rights & ~RIGHTS.W,

  /** Whether an entry may serve before the guest has used it: an SPTE hides the access that would set A. */
  gpteUsable,
  speculativeRights,

  /**
   * CR0.WP = 0, and a supervisor writes to a user page without W: under SMAP the write is emulated each time, because an SPTE
   * that allows it must be a supervisor page, which SMAP would not guard.
   */
  emulatesWithoutWriteProtect: (rights: number, control: number): boolean =>
    (rights & RIGHTS.U) !== 0 && (control & PAGING_CONTROL.SMAP) !== 0,

  /**
   * CR0.WP = 0: a supervisor write to a page without W. The SPTE becomes writable and, since the hardware's WP stays 1 and
   * users must not profit, supervisor-only; a user page turned so must not become executable for the supervisor where SMEP
   * forbids it. A user access faults and turns it back.
   */
  rightsWithoutWriteProtect(rights: number, control: number): number {
    const user = (rights & RIGHTS.U) !== 0;
    const smep = user && (control & PAGING_CONTROL.SMEP) !== 0;
    return (rights | RIGHTS.W) & ~RIGHTS.U & ~(smep ? RIGHTS.X : 0);
  },

  // --- writes to guest tables ----------------------------------------------------------------------------------------

  /** From the moment that a table is shadowed, the first write to it must fault. */
  protectsTable: (_level: number): boolean => true,

  /**
   * Tables that may be written without an exit until the guest invalidates: those of level 1. An unsync directory could lead
   * the processor into tables that the guest gave up long ago.
   */
  mayGoUnsync: (level: number): boolean => level === 1,

  /**
   * Whether tables may be unsync that a guest runs on: where its invalidations are seen. The INVLPG and CR3 loads of an L2 on
   * nested tables are not, and they drop what the processor has of those tables too (APM vol. 2 15.25.6).
   */
  toleratesUnsync: (kind: MmuKind): boolean => kind !== 'nested',

  /** A large page may not cover a shadowed table, for its one W bit cannot protect it. */
  mayMapLarge: (reasonsAgainst: number): boolean => reasonsAgainst === 0,

  /**
   * First entry of a shadow page made from the guest entry at `offset` of its table, -1 if another shadow page has it: one
   * guest table of 4-byte entries has two shadows, one directory four (quadrants).
   */
  spteBehind(role: PageRole, offset: number, format: TableFormat): number {
    if (!has4ByteGpte(role)) return offset >>> 3;
    const index = offset >>> 2;
    if (!isDivided(role, format)) return index;
    const quadrant = roleQuadrant(role);
    if (roleLevel(role) === 1) return index >>> 9 === quadrant ? index & 511 : -1;
    return index >>> 8 === quadrant ? (index & 255) * 2 : -1;
  },

  /** One 4-byte directory entry maps 4 MiB: two entries of the shadow directory. */
  sptesPerEntry: (role: PageRole, format: TableFormat): 1 | 2 =>
    isDivided(role, format) && roleLevel(role) > 1 ? 2 : 1,

  /** Accessed and dirty flags go to the host memory where the walk read the entry, not to the entry's guest-physical address. */
  hostAddressOfFlags: (host: number, _guest: number): number => host,

  // --- nested ----------------------------------------------------------------------------------------------------------

  /** A page fault of L2 may be one of L0's making: the guest's tables are asked before L1 hears of it. */
  judgesFaultOfL2: (): boolean => true,

  /** NP_ENABLE of vmcb12 at this entry says whether L1's nested tables translate for L2 (APM vol. 2 15.25.3). */
  usesNestedTables: (enabled: boolean): boolean => enabled,

  /** A guest with nested paging runs with the PAT of its G_PAT, any other with that of its host (APM vol. 2 15.25.4). */
  runsWithGuestPat: (nestedPaging: boolean): boolean => nestedPaging,

  /** RDMSR and WRMSR reach G_PAT there, and leave the host's PAT alone (APM vol. 2 15.25.4). */
  reachesGuestPat: (nestedPaging: boolean): boolean => nestedPaging,

  /** #VMEXIT saves what the guest has written to it (APM vol. 2 15.25.4). */
  savesGuestPat: (nestedPaging: boolean): boolean => nestedPaging,

  /** INVLPGA with ASID 0 is about L1, even if L2 executes it (APM vol. 2 15.16.2). */
  invlpgaIsForL1: (asid: number, _byL2: boolean): boolean => asid === 0,

  /** INVLPGA brings shadow tables up to date as INVLPG does, if it is for the level that executes it. */
  invlpgaSyncs: (forItself: boolean): boolean => forItself,

  /** INVLPGA for an ASID of L1's guests reaches what the processor has of L2 (APM vol. 2 15.16.2). */
  invlpgaReachesL2: (): boolean => true,

  /** A nested page fault of L2 is L1's exactly if L1's nested tables forbid the access, and else of L0's making. */
  nestedFaultIsL1s: (forbidden: boolean): boolean => forbidden,

  /**
   * The access that a nested page fault was about: as the processor says, the table walks of the guest among them, which it
   * counts as writes (APM vol. 2 15.25.5, 15.25.6).
   *
   * @param errorCode low bits of EXITINFO1
   * @param _kind     its high half (NPF)
   */
  nestedFaultAccess: (errorCode: number, _kind: number): number => errorCode,

  /** The same where L0 walks for L2: a read of an entry of L2's tables is a write to the nested ones. */
  nestedTableAccess: (): number => ACCESS.WRITE,

  /** Error code for L1: what its own tables make of the access, not what the processor found in those of L0. */
  nestedErrorCode: (judged: number, _reported: number): number => judged,

  /** Bits 32 and 33 of EXITINFO1: the final access, or that to an entry of L2's tables (APM vol. 2 15.25.6). */
  nestedFaultKind: (kind: number): number => kind,

  /**
   * L1's processor tells of fetches if L1 has NX or SMEP on. Where L0's own host has neither, its processor tells L0 nothing,
   * and L0 must find out.
   */
  looksForFetches: (reported: boolean): boolean => !reported,
} as const;

/** Answers to all questions. Mutants are such objects too. */
export type Rules = { readonly [Name in keyof typeof RULES]: (typeof RULES)[Name] };
