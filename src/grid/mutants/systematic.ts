import { RIGHTS } from '../../arch/paging/format.ts';
import { CR0, CR4 } from '../../arch/registers.ts';
import { EXTENDED, has4ByteGpte, ROLE, roleLevel, withQuadrant } from '../../l0/mmu/role.ts';
import type { Cause, Rules } from '../../l0/rules.ts';
import { ALIKE } from './historical.ts';
import { byCheck, byProbe, equivalent, type Fate, type Mutant } from './mutant.ts';
import {
  halvesExchanged,
  newAsidUnnoticed,
  quarterOfTheNext,
  unusedNeighbours,
  withoutKeyBits,
} from './overrides.ts';

// --- the role: each bit that `historical.ts` does not drop ----------------------------------------------------------

const keyWithout = (name: string, bits: number, fate: Fate): Mutant => ({
  name: `key-without-${name}`,
  history: `The key of shadow pages lacks ${name.replaceAll('-', '_')}.`,
  override: withoutKeyBits(bits),
  fate,
});

const ROLE_BITS: readonly Mutant[] = [
  keyWithout('smep-andnot-wp', ROLE.SMEP_ANDNOT_WP, byProbe('directed/smep-toggled-without-wp')),
  keyWithout('cr4-pse', ROLE.CR4_PSE, byProbe('directed/pse-toggled')),
  keyWithout('direct', ROLE.DIRECT, byProbe('directed/paging-toggled-pae')),
  {
    name: 'key-without-access',
    history: 'Tables under directories of different rights have one shadow.',
    override: ({ childRole }) => ({
      childRole: (parent, direct, _access, index, format) =>
        childRole(parent, direct, RIGHTS.ALL, index, format),
    }),
    fate: byProbe('directed/table-under-two-directories-pae'),
  },
  {
    name: 'key-without-table-quadrant',
    history: 'Both halves of a 4-byte page table have one shadow.',
    override: ({ childRole }) => ({
      childRole: (parent, direct, access, index, format) =>
        withQuadrant(childRole(parent, direct, access, index, format), 0),
    }),
    fate: byProbe('directed/quadrants'),
  },
  {
    name: 'key-without-directory-quadrant',
    history: 'All four gigabytes of a 2-level guest have the shadow of the first.',
    override: ({ paeDirectoryRole }) => ({
      paeDirectoryRole: (root, index) => withQuadrant(paeDirectoryRole(root, index), 0),
    }),
    fate: byProbe('directed/quadrants'),
  },
  {
    name: 'table-quadrant-off-by-one',
    history: 'The halves of a 4-byte page table are taken for each other.',
    override: halvesExchanged,
    fate: byProbe('directed/quadrants'),
  },
  {
    name: 'directory-quadrant-off-by-one',
    history:
      'Each gigabyte of a 2-level guest is shadowed by the quarter of its directory that belongs to the next.',
    override: quarterOfTheNext,
    fate: byProbe('directed/directory-edits'),
  },
  {
    name: 'extended-role-without-smep',
    history: "CR4.SMEP is not in the extended role: L0's walk permits supervisor fetches from user pages.",
    override: withoutExtended(EXTENDED.CR4_SMEP),
    fate: byProbe('directed/smep-and-smap-toggled-with-wp'),
  },
  {
    name: 'extended-role-without-smap',
    history: "CR4.SMAP is not in the extended role: L0's walk permits supervisor accesses to user pages.",
    override: withoutExtended(EXTENDED.CR4_SMAP),
    fate: byProbe('directed/smap-toggled-without-wp'),
  },
  {
    name: 'extended-role-without-pse',
    history: 'CR4.PSE is not in the extended role.',
    override: withoutExtended(EXTENDED.CR4_PSE),
    fate: byCheck(
      'directed/pse-toggled',
      'For 4-byte entries CR4.PSE is in the base role, and for 8-byte entries it means nothing; no format and no ' +
        'permission rule is chosen by this bit.',
    ),
  },
];

function withoutExtended(bits: number): Mutant['override'] {
  return ({ cpuRoleExtended }) => ({
    cpuRoleExtended: (cr0, cr4, efer) =>
      (cpuRoleExtended(cr0, cr4, efer) & ~bits) as ReturnType<typeof cpuRoleExtended>,
  });
}

// --- reinitialisation -------------------------------------------------------------------------------------------------

const noReinit = (name: string, cause: Cause, fate: Fate): Mutant => ({
  name: `no-reinit-on-${name}`,
  history: `The MMU context stays as it is at ${cause}.`,
  override: ({ roleChanged }) => ({
    roleChanged: (why, base, extended, newBase, newExtended) =>
      why !== cause && roleChanged(why, base, extended, newBase, newExtended),
  }),
  fate,
});

/** Reinitialisation skipped where nothing but some bits of the base role changed. */
const noReinitOf = (name: string, bits: number, fate: Fate): Mutant => ({
  name: `no-reinit-of-${name}`,
  history: `The MMU context stays as it is when only ${name.replaceAll('-', '_')} changes.`,
  override: () => ({
    roleChanged: (_cause, base, extended, newBase, newExtended) =>
      ((base ^ newBase) & ~bits) !== 0 || extended !== newExtended,
  }),
  fate,
});

const REINITS: readonly Mutant[] = [
  noReinit('cr0', 'MOV CR0', byProbe('directed/wp-toggled')),
  noReinit('cr4', 'MOV CR4', byProbe('directed/pae-toggled')),
  noReinit('efer', 'WRMSR EFER', byProbe('directed/nx-toggled')),
  noReinit('vmrun', 'VMRUN', byProbe('directed/same-addresses-in-both')),
  noReinit('vmexit', '#VMEXIT', byProbe('directed/same-addresses-in-both')),
  noReinitOf('cr0-wp', ROLE.CR0_WP, byProbe('directed/wp-toggled')),
  noReinitOf('efer-nx', ROLE.EFER_NX, byProbe('directed/nx-toggled')),
  noReinitOf(
    'cr4-pse',
    ROLE.CR4_PSE,
    equivalent(
      'CR4.PSE is in the extended role as well: where the one changes the other does, and the context is made anew.',
    ),
  ),
  noReinitOf('guest-mode', ROLE.GUEST_MODE, byCheck('directed/one-root-for-both', ALIKE)),
];

// --- what a cause and the bits that it changes ask for ------------------------------------------------------------------

/** Whatever bits change. */
const ANY = ~0;

/** The rule, but at one cause it does not see some bits change, and is not asked at all for `ANY`. */
const unlessOf =
  (rule: Rules['flushes'], cause: Cause, bits: number): Rules['flushes'] =>
  (why, changed) =>
    why === cause ? bits !== ANY && rule(why, changed & ~bits) : rule(why, changed);

const occasion = (name: string, cause: Cause, bits: number): string =>
  bits === ANY ? cause : `${cause} when ${name} changes`;

// --- invalidation -----------------------------------------------------------------------------------------------------

const noFlush = (name: string, cause: Cause, bits: number, fate: Fate): Mutant => ({
  name: `no-flush-on-${name}`,
  history: `The guest's translations stay at ${occasion(name, cause, bits)}.`,
  override: ({ flushes }) => ({ flushes: unlessOf(flushes, cause, bits) }),
  fate,
});

/** Proofs: what these flushes ask for happens by other rules. */
const ANOTHER_ROOT =
  'The role changes with it (direct, level and has_4_byte_gpte, guest_mode), so that the guest never goes on with the same ' +
  'root; a root that is taken up or built is brought up to date as a whole (syncsRoot), and the ASID is flushed for another ' +
  'root (tlbIsStale). Nothing is left that the flush could find.';
const TLB_FOLLOWS =
  'Whatever the TLB holds was copied from shadow entries, and an entry that goes or loses a right has every ASID flushed ' +
  'before its next VMRUN (tlbIsStale). The roots of L1 and L2 differ by guest_mode, so that either is brought up to date when ' +
  'it is taken up at a transition (syncsRoot): the shadow entries, and so the TLB, then say what the tables say.';

const FLUSHES: readonly Mutant[] = [
  noFlush('cr3', 'MOV CR3', ANY, byProbe('directed/edited-then-flushed')),
  noFlush('cr4-pge', 'MOV CR4', CR4.PGE, byProbe('directed/edited-then-flushed')),
  noFlush('cr4-pse', 'MOV CR4', CR4.PSE, byProbe('directed/edited-then-flushed')),
  noFlush('cr4-pae', 'MOV CR4', CR4.PAE, equivalent(ANOTHER_ROOT)),
  noFlush('cr0-pg', 'MOV CR0', CR0.PG, equivalent(ANOTHER_ROOT)),
  noFlush('vmrun', 'VMRUN', ANY, equivalent(ANOTHER_ROOT)),
  noFlush(
    'vmexit',
    '#VMEXIT',
    ANY,
    equivalent(`${ANOTHER_ROOT} Where L2 did not run at all, what VMRUN asked for is pending still.`),
  ),
  {
    name: 'no-flush-on-new-asid',
    history: 'L1 gives L2 another ASID, and L2 keeps what was cached under the one before.',
    override: newAsidUnnoticed,
    fate: equivalent(TLB_FOLLOWS),
  },
  {
    name: 'no-flush-on-tlb-control',
    history: 'TLB_CONTROL in the VMCB of L1 flushes nothing.',
    override: () => ({ flushesL2: (asid, newAsid) => asid !== newAsid, flushesL1: () => false }),
    fate: equivalent(TLB_FOLLOWS),
  },
  {
    name: 'no-flush-on-root-change',
    history: 'An ASID goes on with what was cached under another root: another role at the same CR3.',
    override: () => ({ tlbIsStale: (flushed, epoch) => flushed !== epoch }),
    fate: byProbe('directed/wp-toggled'),
  },
  {
    name: 'no-flush-on-table-change',
    history: 'Entries of shadow tables are taken away and the TLB keeps them.',
    override: () => ({ tlbIsStale: (flushed, _epoch, sameRoot) => flushed < 0 || !sameRoot }),
    fate: byProbe('directed/page-becomes-table'),
  },
  {
    name: 'invlpg-without-sync',
    history: 'INVLPG drops what the processor has cached and leaves the shadow entry as it is.',
    override: () => ({ invlpgSyncs: () => false }),
    fate: byProbe('directed/edited-then-flushed'),
  },
  {
    name: 'invlpga-without-sync',
    history: 'INVLPGA for the level that executes it does so.',
    override: () => ({ invlpgaSyncs: () => false }),
    fate: byProbe('directed/invlpga-by-l2'),
  },
  {
    name: 'fault-without-invalidation',
    history: 'A page fault that goes to the guest leaves the translation of its page alone.',
    override: () => ({ faultInvalidates: () => false }),
    fate: byProbe('directed/fault-invalidates'),
  },
  {
    name: 'reused-root-not-synced',
    history: 'A root that is taken up again is not brought up to date.',
    override: () => ({ syncsRoot: (reused) => !reused }),
    fate: byProbe('directed/invalidated-in-another-role'),
  },
  {
    name: 'new-root-not-synced',
    history: 'A root that is built of pages that were there is not brought up to date.',
    override: () => ({ syncsRoot: (reused) => reused }),
    fate: byProbe('directed/invalidated-many-roles-later'),
  },
];

// --- PDPTEs -------------------------------------------------------------------------------------------------------------

const noPdpteLoad = (name: string, cause: Cause, bits: number, fate: Fate): Mutant => ({
  name: `no-pdpte-load-on-${name}`,
  history: `PDPTEs are not loaded at ${occasion(name, cause, bits)}.`,
  override: ({ loadsPdptes }) => ({ loadsPdptes: unlessOf(loadsPdptes, cause, bits) }),
  fate,
});

const PDPTES: readonly Mutant[] = [
  noPdpteLoad('cr0-pg', 'MOV CR0', CR0.PG, byProbe('directed/pdptes-changed-without-paging')),
  noPdpteLoad('cr3', 'MOV CR3', ANY, byProbe('directed/pdptes-reloaded')),
  noPdpteLoad('cr4-pae', 'MOV CR4', CR4.PAE, byProbe('directed/pae-toggled')),
  noPdpteLoad('cr4-pge', 'MOV CR4', CR4.PGE, byProbe('directed/pdptes-reloaded')),
  noPdpteLoad('cr4-pse', 'MOV CR4', CR4.PSE, byProbe('directed/pdptes-reloaded')),
  noPdpteLoad('cr4-smep', 'MOV CR4', CR4.SMEP, byProbe('directed/pdptes-and-smep')),
  noPdpteLoad('vmrun', 'VMRUN', ANY, byProbe('directed/one-root-for-both')),
  noPdpteLoad('vmexit', '#VMEXIT', ANY, byProbe('directed/one-root-for-both')),
  {
    name: 'reserved-pdptes-loaded',
    history: 'PDPTEs with reserved bits are loaded like any others, at MOV CR3 and at VMRUN.',
    override: () => ({ pdpteIsValid: () => true }),
    fate: byProbe('directed/pdptes-reloaded'),
  },
];

// --- rights, tables, flags ------------------------------------------------------------------------------------------------

const CONTENTS: readonly Mutant[] = [
  {
    name: 'leaf-access-in-role',
    history:
      'The rights of the leaf stand in the role of its table; linked tables of another role are replaced.',
    override: () => ({ tableAccess: (_inherited, leaf) => leaf }),
    fate: byProbe('directed/wp-toggled'),
  },
  {
    name: 'wp-not-forced',
    history:
      'The guest runs with its own CR0.WP: with WP=0 its supervisor writes to protected tables unseen.',
    override: ({ cr0InForce }) => ({
      cr0InForce: (cr0) => (cr0InForce(cr0) & ~(cr0 & CR0.WP ? 0 : CR0.WP)) >>> 0,
    }),
    fate: byProbe('directed/tables-written-without-wp-2-level'),
  },
  {
    name: 'clean-page-writable',
    history: 'A page is mapped writable before it is dirty: D is never set.',
    override: () => ({ rightsWhileClean: (rights) => rights }),
    fate: byProbe('directed/accessed-and-dirty-2-level'),
  },
  {
    name: 'prefetch-without-accessed',
    history: 'Neighbours that the guest has not used are mapped beside the one that faulted: A is never set.',
    override: unusedNeighbours,
    fate: byProbe('directed/accessed-and-dirty-2-level'),
  },
  {
    name: 'prefetch-of-clean-pages-writable',
    history: 'A neighbour that is mapped beside the one that faulted is writable before it is dirty.',
    override: ({ speculativeRights }) => ({
      speculativeRights: (format, inherited, lo, hi) => speculativeRights(format, inherited, lo | 0x40, hi),
    }),
    fate: byProbe('directed/accessed-and-dirty-2-level'),
  },
  {
    name: 'prefetch-without-inherited-access',
    history: 'A neighbour that is mapped beside the one that faulted gets the rights of its own entry alone.',
    override: ({ speculativeRights }) => ({
      speculativeRights: (format, _inherited, lo, hi) => speculativeRights(format, RIGHTS.ALL, lo, hi),
    }),
    fate: byProbe('directed/table-under-two-directories-pae'),
  },
  {
    name: 'prefetch-of-reserved-bits',
    history: 'A neighbour with reserved bits set is mapped beside the one that faulted.',
    override: ({ gpteUsable }) => ({ gpteUsable: (format, lo, _hi) => gpteUsable(format, lo, 0) }),
    fate: byProbe('directed/address-beyond-maxphyaddr'),
  },
  {
    name: 'user-page-left-open-without-wp',
    history:
      'What a supervisor write under CR0.WP=0 makes writable stays a user page: users write to it too.',
    override: ({ rightsWithoutWriteProtect }) => ({
      rightsWithoutWriteProtect: (rights, control) =>
        rightsWithoutWriteProtect(rights, control) | (rights & RIGHTS.U),
    }),
    fate: byProbe('directed/smep-without-wp-or-nx'),
  },
  {
    name: 'no-nx-for-smep-without-wp',
    history:
      'What a supervisor write under CR0.WP=0 makes a supervisor page stays executable: SMEP is bypassed.',
    override: ({ rightsWithoutWriteProtect }) => ({
      rightsWithoutWriteProtect: (rights) => rightsWithoutWriteProtect(rights, 0),
    }),
    fate: byProbe('directed/smep-without-wp-or-nx'),
  },
  {
    name: 'no-emulation-for-smap-without-wp',
    history:
      'Under SMAP with EFLAGS.AC, a write under CR0.WP=0 makes a user page a supervisor page: SMAP is bypassed.',
    override: () => ({ emulatesWithoutWriteProtect: () => false }),
    fate: byProbe('directed/smap-and-ac-without-wp'),
  },
  {
    name: 'tables-not-protected',
    history: 'A page that is mapped writable and becomes a table stays writable: edits are not seen.',
    override: () => ({ protectsTable: () => false }),
    fate: byProbe('directed/page-becomes-table'),
  },
  {
    name: 'directories-go-unsync',
    history: 'Page directories may be written without an exit, like page tables.',
    override: () => ({ mayGoUnsync: () => true }),
    fate: byProbe('directed/tables-written-without-wp-2-level'),
  },
  {
    name: 'large-page-over-tables',
    history: 'A large page is mapped as one though a shadowed table lies in it: the table is written unseen.',
    override: () => ({ mayMapLarge: () => true }),
    fate: byProbe('directed/table-in-large-page'),
  },
  {
    name: 'write-tracking-quadrant-off',
    history: "A write to a 4-byte table empties entries of the other quadrant's shadow.",
    override: ({ spteBehind }) => ({
      spteBehind: (role, offset, format) =>
        has4ByteGpte(role) && roleLevel(role) === 2
          ? spteBehind(role, offset ^ 0x400, format)
          : spteBehind(role, offset, format),
    }),
    fate: byProbe('directed/directory-edits'),
  },
  {
    name: 'half-of-a-large-entry-dropped',
    history: 'A write to a 4-byte directory entry empties the first of its two shadow entries only.',
    override: () => ({ sptesPerEntry: () => 1 }),
    fate: byProbe('directed/directory-edits'),
  },
  {
    name: 'root-of-zapped-directories-kept',
    history: 'A root goes on with a directory that was zapped: writes to the directory are seen no more.',
    override: () => ({ rootIsObsolete: (generation, now) => generation !== now }),
    fate: byProbe('directed/tables-written-without-wp-pae'),
  },
  {
    name: 'root-by-role-alone',
    history: 'A root is taken up again whatever CR3 is.',
    override: () => ({ rootServes: (root, role) => root.role === role }),
    fate: byProbe('directed/two-spaces'),
  },
  {
    name: 'faults-of-l2-go-to-l1',
    history: "Page faults of L2 that L0's shadow tables made go to L1, which intercepts #PF.",
    override: () => ({ judgesFaultOfL2: () => false }),
    fate: byProbe('directed/faults-intercepted'),
  },
];

export const SYSTEMATIC: readonly Mutant[] = [...ROLE_BITS, ...REINITS, ...FLUSHES, ...PDPTES, ...CONTENTS];
