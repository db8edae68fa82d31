import type { PagingFormat, PagingLevel } from '../../arch/paging/format.ts';
import { RIGHTS } from '../../arch/paging/format.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { PFERR } from '../../arch/registers.ts';
import { NPF } from '../../arch/vmcb.ts';
import { type PageRole, ROLE } from '../../l0/mmu/role.ts';
import { byCheck, byProbe, equivalent, type Fate, type Mutant, nested } from './mutant.ts';
import { NEVER_SHARED } from './nested-historical.ts';
import { halvesExchanged, newAsidUnnoticed, quarterOfTheNext, unusedNeighbours } from './overrides.ts';

/** Why no guest sees whether an L2 that L1 shadows runs on the tables of L1. */
const SAME_MEMORY =
  'L1, and an L2 that L1 shadows, have the same physical memory: tables that map it as it is are alike for both, and only ' +
  'guest_mode tells them apart.';

// --- roles and roots ----------------------------------------------------------------------------------------------------

const nestedKeyWithout = (name: string, bits: number, fate: Fate): Mutant =>
  nested({
    name: `nested-key-without-${name}`,
    history: `The key of the shadows of L1's nested tables lacks ${name.replaceAll('-', '_')}.`,
    override: ({ nestedRootRole }) => ({
      nestedRootRole: (base, rootLevel) => (nestedRootRole(base, rootLevel) & ~bits) as PageRole,
    }),
    fate,
  });

const ROLES: readonly Mutant[] = [
  nested({
    name: 'nested-mode-of-now',
    history: "L1's nested tables are read in the paging mode of whoever runs, not in that of L1 at VMRUN.",
    override: () => ({ nestedRegisters: (_saved, current) => current }),
    fate: byProbe('directed/nested-modes-of-guest-2-level'),
  }),
  nested({
    name: 'nested-cr4-of-now',
    history: "L2's CR4 decides the format of L1's nested tables.",
    override: () => ({ nestedRegisters: (saved, current) => ({ ...saved, cr4: current.cr4 }) }),
    fate: byProbe('directed/nested-modes-of-guest-pae'),
  }),
  nested({
    name: 'nested-efer-of-now',
    history: "L2's EFER.NX decides about bit 63 of L1's nested tables.",
    override: () => ({ nestedRegisters: (saved, current) => ({ ...saved, efer: current.efer }) }),
    fate: byProbe('directed/nested-nx'),
  }),
  nestedKeyWithout('efer-nx', ROLE.EFER_NX, byProbe('directed/nested-nx-of-host')),
  nestedKeyWithout('cr4-pse', ROLE.CR4_PSE, byProbe('directed/nested-pse-of-host')),
  nestedKeyWithout('has-4-byte-gpte', ROLE.HAS_4_BYTE_GPTE, byProbe('directed/nested-host-modes')),
  nestedKeyWithout('guest-mode', ROLE.GUEST_MODE, byCheck('directed/nested-rights-2-level', NEVER_SHARED)),
  nested({
    name: 'guest-mode-not-in-direct-role',
    history: 'An L2 that L1 shadows runs on the tables of L1.',
    override: ({ directRootRole }) => ({ directRootRole: (_mode, level) => directRootRole(false, level) }),
    fate: byCheck('directed/nested-three-on-one-page', SAME_MEMORY),
  }),
  nested({
    name: 'nested-table-quadrant-off-by-one',
    history: 'The halves of a 4-byte nested page table are taken for each other.',
    override: halvesExchanged,
    fate: byProbe('directed/nested-quadrants'),
  }),
  nested({
    name: 'nested-directory-quadrant-off-by-one',
    history:
      'Each gigabyte of L2 is shadowed by the quarter of the nested directory that belongs to the next.',
    override: quarterOfTheNext,
    fate: byProbe('directed/nested-directory-edits'),
  }),
  nested({
    name: 'nested-root-by-role-alone',
    history: 'A root is taken up again whatever nCR3 is.',
    override: () => ({ nestedRootServes: (root, role) => root.role === role }),
    fate: byProbe('directed/nested-two-roots-2-level'),
  }),
  nested({
    name: 'no-reinit-of-nested-mmu',
    history:
      "L1's mode at VMRUN is not looked at again: the nested tables are read in the mode of the first.",
    override: ({ roleChanged }) => ({
      roleChanged: (cause, base, extended, newBase, newExtended) =>
        (cause !== 'VMRUN' || (base & ROLE.LEVEL) === 0 || (base & ROLE.GUEST_MODE) === 0) &&
        roleChanged(cause, base, extended, newBase, newExtended),
    }),
    fate: byProbe('directed/nested-host-modes'),
  }),
];

// --- what nested tables say ----------------------------------------------------------------------------------------------

/** Another reading of the entries of every level of nested tables. */
const readingEntries = (change: (level: PagingLevel) => Partial<PagingLevel>): Mutant['override'] => {
  const changed = (format: PagingFormat): PagingFormat => ({
    ...format,
    levels: format.levels.map((level, index) => (index === 0 ? level : { ...level, ...change(level) })),
  });
  return ({ nestedFormat }) => ({
    nestedFormat(formats, base) {
      const format = nestedFormat(formats, base);
      return format && changed(format);
    },
  });
};

const CONTENTS: readonly Mutant[] = [
  nested({
    name: 'nested-nx-ignored',
    history: "Bit 63 of L1's nested entries forbids nothing.",
    override: readingEntries(({ rights }) => ({ rights: rights.map((bits) => bits | RIGHTS.X) })),
    fate: byProbe('directed/nested-nx'),
  }),
  nested({
    name: 'nested-user-bit-ignored',
    history: 'Nested accesses are taken for those of a supervisor, who may use pages without U.',
    override: () => ({ nestedAccess: (access) => access & ~(ACCESS.USER | ACCESS.IMPLICIT) }),
    fate: byProbe('directed/nested-rights-2-level'),
  }),
  nested({
    name: 'nested-reserved-bits-ignored',
    history: "Reserved bits of L1's nested entries raise no fault.",
    override: readingEntries(() => ({
      reservedLo: 0,
      reservedHi: 0,
      largeReservedLo: 0,
      largeReservedHi: 0,
    })),
    fate: byProbe('directed/nested-reserved'),
  }),
  nested({
    name: 'nested-pdptes-from-registers',
    history: 'PDPTEs of nested tables are looked for in registers that nothing loads.',
    override: () => ({ nestedFormat: (formats, base) => formats.of(base, false) }),
    fate: byProbe('directed/nested-rights-pae'),
  }),
  nested({
    name: 'nested-leaf-access-for-all-levels',
    history:
      'The rights of the whole nested walk stand in the role of every table on the way, and a linked table serves whatever its ' +
      'role.',
    override: ({ childServes }) => ({
      tableAccess: (_inherited, leaf) => leaf,
      childServes: (child, frame, role) =>
        childServes(child, frame, role) ||
        (!child.direct && child.gfn === frame && ((child.role ^ role) & ~ROLE.ACCESS) === 0),
    }),
    fate: byProbe('directed/nested-table-under-two-directories-2-level'),
  }),
  nested({
    name: 'nested-split-without-leaf-access',
    history: "A large nested page's small pieces are keyed without its own rights.",
    override: () => ({ splitAccess: (inherited) => inherited }),
    fate: byProbe('directed/nested-split-shared-pse'),
  }),
  nested({
    name: 'nested-dirty-not-tracked',
    history: 'A page is writable before its nested entry is dirty: D is never set there.',
    override: () => ({ rightsWhileClean: (rights) => rights }),
    fate: byProbe('directed/nested-accessed-and-dirty-2-level'),
  }),
  nested({
    name: 'nested-accessed-not-set',
    history: 'Nested entries that nothing has used are mapped beside the one that faulted.',
    override: unusedNeighbours,
    fate: byProbe('directed/nested-accessed-and-dirty-2-level'),
  }),
  nested({
    name: 'half-of-a-nested-directory-entry-dropped',
    history: 'A write to a 4-byte nested directory entry empties the first of its two shadow entries only.',
    override: () => ({ sptesPerEntry: () => 1 }),
    fate: byProbe('directed/nested-directory-edits'),
  }),
];

// --- what becomes of changes -----------------------------------------------------------------------------------------------

const CHANGES: readonly Mutant[] = [
  nested({
    name: 'no-flush-of-nested-l2-on-tlb-control',
    history: "TLB_CONTROL in the VMCB of L1 leaves what the processor has of L2's own tables.",
    override: () => ({ flushesL2: (asid, newAsid) => asid !== newAsid }),
    fate: byProbe('directed/nested-guest-tables-edited'),
  }),
  nested({
    name: 'no-flush-of-nested-l2-on-new-asid',
    history: 'Under another ASID L2 finds what was cached of its own tables under the one before.',
    override: newAsidUnnoticed,
    fate: byProbe('directed/nested-guest-tables-edited'),
  }),
  nested({
    name: 'no-flush-of-l1-on-tlb-control',
    history: "TLB_CONTROL 1 leaves L1's own translations.",
    override: () => ({ flushesL1: () => false }),
    fate: byProbe('directed/nested-host-tables-edited'),
  }),
  nested({
    name: 'g-pat-ignored',
    history: 'L2 with nested paging runs with the PAT of L1.',
    override: () => ({ runsWithGuestPat: () => false }),
    fate: byProbe('directed/nested-pat'),
  }),
  nested({
    name: 'g-pat-leaked',
    history: "What L2 with nested paging reads and writes of the PAT is L1's.",
    override: () => ({ reachesGuestPat: () => false }),
    fate: byProbe('directed/nested-pat'),
  }),
  nested({
    name: 'g-pat-not-saved',
    history: 'What L2 has written to the PAT is lost when it exits.',
    override: () => ({ savesGuestPat: () => false }),
    fate: byProbe('directed/nested-pat'),
  }),
  nested({
    name: 'invlpga-of-l2-ignored',
    history: "L1's INVLPGA does nothing to what the processor has of L2.",
    override: () => ({ invlpgaReachesL2: () => false }),
    fate: byProbe('directed/nested-guest-tables-edited'),
  }),
  nested({
    name: 'invlpga-of-l1-by-l2-ignored',
    history: 'INVLPGA with ASID 0, if L2 executes it, is taken to be about L2.',
    override: () => ({ invlpgaIsForL1: (asid, byL2) => asid === 0 && !byL2 }),
    fate: byProbe('directed/invlpga-by-l2'),
  }),
  nested({
    name: 'one-asid-on-nested-tables',
    history: 'L2 runs under the ASID of L1, and transitions do not flush it.',
    override: () => ({ hasOwnAsid: () => false, tlbIsStale: (flushed, epoch) => flushed !== epoch }),
    fate: byProbe('directed/nested-guest-tables-edited'),
  }),
  nested({
    name: 'nested-tables-not-synced-at-vmrun',
    history: 'What L1 wrote to its nested page tables is not looked at before L2 runs again.',
    override: ({ flushes }) => ({
      flushes: (cause, changed) => cause !== 'VMRUN' && flushes(cause, changed),
    }),
    fate: byProbe('directed/nested-edited-by-host-2-level'),
  }),
  nested({
    name: 'nested-tables-unsync-in-use',
    history: 'L2 may write to nested tables without an exit until it invalidates, which L0 does not see.',
    override: () => ({ toleratesUnsync: () => true }),
    fate: equivalent(
      'Nothing that a guest does is said to reach what is cached of nested tables: its INVLPG and its CR3 loads are about linear ' +
        'addresses (APM vol. 2 15.25), and a processor may keep the translation of a guest-physical address until its ASID is ' +
        'flushed. What L2 wrote is read again at the next VMRUN, as what L1 wrote is. With the rule L0 is stricter than it must ' +
        'be: L2 finds its edits as on a processor that keeps whole translations only.',
    ),
  }),
  nested({
    name: 'nested-tables-not-protected',
    history: 'A page that is mapped writable and becomes a nested table stays writable: edits are not seen.',
    override: () => ({ protectsTable: () => false }),
    fate: byProbe('directed/nested-edited-by-host-2-level'),
  }),
  nested({
    name: 'nested-pdptes-not-read-again',
    history: 'PDPTEs of nested tables are read once, when the root is made.',
    override: () => ({ guardedTablesServe: () => true }),
    fate: byProbe('directed/nested-pdptes-edited'),
  }),
  nested({
    name: 'flags-in-nested-pdptes-unseen',
    history:
      'PDPTEs of nested tables are read again after stores, not after a walk of L0 has set flags in them.',
    override: () => ({ flagsLiftGuards: () => false }),
    fate: byProbe('directed/nested-pdpte-used-by-guest'),
  }),
  nested(
    {
      name: 'private-tables-not-emptied',
      history: 'What 2-level tables hold of PAE nested ones stays when those are written.',
      override: () => ({ guardedTablesServe: () => true }),
      fate: byProbe('directed/nested-edited-by-host-pae'),
    },
    'npt/nopae',
  ),
  nested(
    {
      name: 'private-tables-shared',
      history: '2-level tables are taken to stand for PAE nested ones, of which one covers half as much.',
      override: ({ nestedRootRole }) => ({
        nestedRootRole: (base, rootLevel) => (nestedRootRole(base, rootLevel) & ~ROLE.PRIVATE) as PageRole,
      }),
      fate: byProbe('directed/nested-rights-pae'),
    },
    'npt/nopae',
  ),
  nested({
    name: 'nested-paging-left-out',
    history: "NP_ENABLE of L1's VMCB is ignored: L2's physical addresses are those of L1.",
    override: () => ({ usesNestedTables: () => false }),
    fate: byProbe('directed/nested-rights-2-level'),
  }),
  nested({
    name: 'nested-paging-kept',
    history: 'An L2 without nested paging goes on with the nested tables of the one before.',
    override: () => {
      let used = false;
      return {
        usesNestedTables(enabled) {
          used ||= enabled;
          return used;
        },
      };
    },
    fate: byProbe('directed/nested-three-on-one-page'),
  }),
  nested({
    name: 'uncached-pdptes-unchecked-at-vmrun',
    history:
      'On nested tables of L0, VMRUN takes an L2 without nested paging whose PDPTEs have reserved bits.',
    override: () => ({ checksUncachedPdptes: () => false }),
    fate: byProbe('directed/nested-pdptes-of-guest'),
  }),
  nested({
    name: 'uncached-pdptes-checked-on-mov',
    history: 'On nested tables of L0, MOV to CR0 and CR4 raises #GP for PDPTEs that only a walk would read.',
    override: ({ checksUncachedPdptes }) => ({
      checksUncachedPdptes: (cause) =>
        checksUncachedPdptes(cause) || cause === 'MOV CR0' || cause === 'MOV CR4',
    }),
    fate: byProbe('directed/nested-pdptes-of-guest'),
  }),
  nested({
    name: 'flat-l2-leaves-translations',
    history:
      'What the processor has of an L2 without paging stays for the next, to whom it is of linear addresses.',
    override: () => ({ flushesFlatL2: () => false }),
    fate: byProbe('directed/nested-flat-and-paged'),
  }),
];

// --- faults -----------------------------------------------------------------------------------------------------------------

const FAULTS: readonly Mutant[] = [
  nested({
    name: 'own-nested-faults-told-to-l1',
    history: "Nested page faults that L0's tables made go to L1.",
    override: () => ({ nestedFaultIsL1s: () => true }),
    fate: byProbe('directed/nested-rights-2-level'),
  }),
  nested({
    name: 'nested-faults-of-l1-kept',
    history: "Nested page faults that L1's tables made are taken for L0's own, and tried again without end.",
    override: () => ({ nestedFaultIsL1s: () => false }),
    fate: byProbe('directed/nested-rights-2-level'),
  }),
  nested({
    name: 'nested-error-code-of-l0',
    history: "L1 is told the error code that the processor found in L0's tables.",
    override: () => ({ nestedErrorCode: (_judged, reported) => reported }),
    fate: byProbe('directed/nested-rights-2-level'),
  }),
  nested({
    name: 'nested-fault-kinds-swapped',
    history: 'Bits 32 and 33 of EXITINFO1 are taken for each other.',
    override: () => ({
      nestedFaultKind: (kind) =>
        ((kind & NPF.FINAL_HI) !== 0 ? NPF.TABLE_HI : 0) | ((kind & NPF.TABLE_HI) !== 0 ? NPF.FINAL_HI : 0),
    }),
    fate: byProbe('directed/nested-rights-2-level'),
  }),
  nested({
    name: 'table-walks-judged-as-reads',
    history: "A fault at an entry of L2's tables is judged as the read that it looks like, not as a write.",
    override: () => ({
      nestedFaultAccess: (errorCode, kind) =>
        (kind & NPF.TABLE_HI) !== 0 ? errorCode & ~PFERR.W : errorCode,
    }),
    fate: byProbe('directed/nested-tables-behind-2-level'),
  }),
  nested({
    name: 'emulated-table-walks-as-reads',
    history: "Where L0 walks L2's tables itself, it reads them through nested pages that are read-only.",
    override: () => ({ nestedTableAccess: () => 0 }),
    fate: byProbe('directed/nested-emulated-table-walk'),
  }),
  nested(
    {
      name: 'fetches-not-looked-for',
      history: "L1 has SMEP, L0's host has neither it nor NX, and nested faults tell L1 of no fetch.",
      override: () => ({ looksForFetches: () => false }),
      fate: byProbe('directed/nested-smep-of-host'),
    },
    'npt/nopae',
  ),
];

export const NESTED_SYSTEMATIC: readonly Mutant[] = [...ROLES, ...CONTENTS, ...CHANGES, ...FAULTS];
