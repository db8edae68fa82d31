import { PAGING_CONTROL } from '../../arch/paging/permissions.ts';
import { CR3, CR4, EFER } from '../../arch/registers.ts';
import { ROLE } from '../../l0/mmu/role.ts';
import { byCheck, byProbe, type Mutant } from './mutant.ts';
import { withoutKeyBits } from './overrides.ts';

/** Why no guest sees whose shadow pages it runs on. */
export const ALIKE =
  'L2 has no nested paging here, so that its physical addresses are those of L1, and L0 gives both the same memory and the ' +
  "same devices, the local APIC's page among them: where roles agree but for guest_mode, so do the shadow pages. KVM " +
  'has an APIC page for L1 that L2 must not reach.';

/** Bits of the base role by which the walker's format is chosen. */
const FORMAT_BITS = ROLE.LEVEL | ROLE.HAS_4_BYTE_GPTE;

/**
 * Bugs that KVM's shadow and nested MMU has had, as L0 would have them. Origin: the commit that mended it. Those that need
 * what L0 does not have are in `inexpressible.ts`.
 */
export const HISTORICAL: readonly Mutant[] = [
  {
    name: 'nx-not-in-role',
    history:
      'EFER.NX is no part of the role: with NX cleared, pages with bit 63 go on without a reserved-bit fault.',
    mended: '2009, 9645bb56b31a',
    override: withoutKeyBits(ROLE.EFER_NX),
    fate: byProbe('directed/nx-toggled'),
  },
  {
    name: 'wp-not-in-role',
    history: 'CR0.WP is no part of the role: what became writable under WP=0 stays writable under WP=1.',
    mended: '2010, "Segregate shadow pages with different cr0.wp"',
    override: withoutKeyBits(ROLE.CR0_WP),
    fate: byProbe('directed/wp-toggled'),
  },
  {
    name: 'split-page-without-leaf-access',
    history:
      "A large page's small pieces are keyed without its own rights: a read-only mapping of the frame shares them.",
    mended: '2010, 5fd5387c89ec',
    override: () => ({ splitAccess: (inherited) => inherited }),
    fate: byProbe('directed/split-shared-pse'),
  },
  {
    name: 'split-page-kept-on-write',
    history:
      'The first write to a clean large page opens its pieces in place, though a read-only mapping shares them.',
    mended: '2010, 9e7b0e7fba45',
    override: ({ childServes }) => ({
      childServes: (child, frame, role) =>
        childServes(child, frame, role) ||
        (child.direct && child.gfn === frame && ((child.role ^ role) & ~ROLE.ACCESS) === 0),
    }),
    fate: byProbe('directed/split-shared-pse'),
  },
  {
    name: 'dirty-missed-without-wp',
    history:
      'A large page is split by the rights it has before CR0.WP=0 adds W: an alias is written without its D being set.',
    mended: '2013, c22885050e65',
    override: () => ({ splitAccess: (_inherited, granted) => granted }),
    fate: byProbe('directed/split-dirty-without-wp'),
  },
  {
    name: 'smep-in-force-without-paging',
    history:
      'CR4.SMEP stays in force for a guest with paging off, whose pages are all user pages: endless page faults.',
    mended: '2015, 656ec4a4928a; for SVM 2022, c53bbe2145f5',
    override: ({ cr4InForce }) => ({ cr4InForce: (cr0, cr4) => cr4InForce(cr0, cr4) | (cr4 & CR4.SMEP) }),
    fate: byProbe('directed/smep-and-smap-without-paging'),
  },
  {
    name: 'smap-in-force-without-paging',
    history: 'The same with CR4.SMAP: the first read of a guest with paging off faults for ever.',
    mended: '2015, 656ec4a4928a; for SVM 2022, c53bbe2145f5',
    override: ({ cr4InForce }) => ({ cr4InForce: (cr0, cr4) => cr4InForce(cr0, cr4) | (cr4 & CR4.SMAP) }),
    fate: byProbe('directed/smep-and-smap-without-paging'),
  },
  {
    name: 'smap-not-in-role',
    history:
      'No smap_andnot_wp: a user page that a write under CR0.WP=0 made a supervisor page slips past SMAP.',
    mended: '2015, 0be0226f07d1',
    override: withoutKeyBits(ROLE.SMAP_ANDNOT_WP),
    fate: byProbe('directed/smap-toggled-without-wp'),
  },
  {
    name: 'pdptes-read-without-paging',
    history:
      'PDPTEs are loaded as soon as CR4.PAE is set, paging on or not: #GP from a CR3 that points nowhere.',
    mended: '2017, "Don\'t read PDPTEs when paging is not enabled"',
    override: () => ({ isPaePaging: (_cr0, cr4) => (cr4 & CR4.PAE) !== 0 }),
    fate: byProbe('directed/pae-without-paging'),
  },
  {
    name: 'guest-mode-not-in-page-role',
    history: "Shadow pages are shared by L1 and L2. KVM's L2 so reached L1's APIC page.",
    mended: '2017, "Add guest_mode to kvm_mmu_page_role"',
    override: withoutKeyBits(ROLE.GUEST_MODE),
    fate: byCheck('directed/one-root-for-both', ALIKE),
  },
  {
    name: 'pae-not-in-page-role',
    history:
      'The width of guest entries is no part of the role: tables are found that were read in the other format.',
    mended: '2019, 47c42e6b4192',
    override: withoutKeyBits(ROLE.HAS_4_BYTE_GPTE),
    fate: byProbe('directed/pae-toggled'),
  },
  {
    name: 'no-reinit-on-pae-switch',
    history:
      'A 32-bit guest switches PAE and the MMU context stays: the walker reads entries of the wrong width.',
    mended: '2019, "reset MMU context when 32-bit guest switches PAE"',
    override: ({ roleChanged }) => ({
      roleChanged: (cause, base, extended, newBase, newExtended) =>
        roleChanged(cause, base, extended, newBase, newExtended) &&
        !(cause === 'MOV CR4' && ((base ^ newBase) & FORMAT_BITS) !== 0),
    }),
    fate: byProbe('directed/pae-toggled'),
  },
  {
    name: 'nx-not-forced',
    history:
      'The guest runs with its own EFER.NX, though L0 sets NX for SMEP under CR0.WP=0: reserved-bit faults without end.',
    mended: '2019, 9167ab799362',
    override: ({ eferInForce }) => ({
      eferInForce: (efer) => (eferInForce(efer) & ~(efer & EFER.NXE ? 0 : EFER.NXE)) >>> 0,
    }),
    fate: byProbe('directed/smep-without-wp-or-nx'),
  },
  {
    name: 'smap-loads-pdptes',
    history:
      'Toggling CR4.SMAP loads PDPTEs: edits in memory that nobody asked for take effect, or raise #GP.',
    mended: '2020, "Toggling CR4.SMAP does not load PDPTEs"',
    override: ({ loadsPdptes }) => ({
      loadsPdptes: (cause, changed) =>
        loadsPdptes(cause, changed) || (cause === 'MOV CR4' && (changed & CR4.SMAP) !== 0),
    }),
    fate: byProbe('directed/pdptes-and-smap'),
  },
  {
    name: 'same-cr3-keeps-pdptes-on-entry',
    history: 'VMRUN with the CR3 that L1 has already does not load PDPTEs: L2 runs on those from before.',
    mended: '2021, c7313155bf11',
    override: ({ loadsPdptes }) => ({
      loadsPdptes: (cause, changed) => loadsPdptes(cause, changed) && !(cause === 'VMRUN' && changed === 0),
    }),
    fate: byProbe('directed/one-root-for-both'),
  },
  {
    name: 'same-cr3-keeps-pdptes-on-exit',
    history: '#VMEXIT to the CR3 that L2 had does not load PDPTEs: L1 goes on with those of L2.',
    mended: '2021, c7313155bf11',
    override: ({ loadsPdptes }) => ({
      loadsPdptes: (cause, changed) => loadsPdptes(cause, changed) && !(cause === '#VMEXIT' && changed === 0),
    }),
    fate: byProbe('directed/one-root-for-both'),
  },
  {
    name: 'leaf-access-for-all-levels',
    history:
      'The rights of the whole walk stand in the role of every table on the way, and a linked table serves whatever its ' +
      'role: two directories of different rights share a page table and its W.',
    mended: '2021, b1bd5cba3306, CVE-2021-38198',
    override: ({ childServes }) => ({
      tableAccess: (_inherited, leaf) => leaf,
      childServes: (child, frame, role) =>
        childServes(child, frame, role) ||
        (!child.direct && child.gfn === frame && ((child.role ^ role) & ~ROLE.ACCESS) === 0),
    }),
    fate: byProbe('directed/table-under-two-directories-pae'),
  },
  {
    name: 'half-the-role-compared',
    history: "A context is taken to be right if the base role is: L2's SMEP and SMAP are judged by L1's.",
    mended: '2021, 654430efde27',
    override: () => ({ roleChanged: (_cause, base, _extended, newBase) => base !== newBase }),
    fate: byProbe('directed/smep-and-smap-toggled-with-wp'),
  },
  {
    name: 'reserved-bits-of-the-widest-address',
    history:
      "The guest's entries are checked by another MAXPHYADDR than its own: no fault for address bits it lacks.",
    mended: '2021, 4bf48e3c0aaf and fc9bf2e087ef',
    override: ({ guestFeatures }) => ({
      guestFeatures: (features) => ({ ...guestFeatures(features), maxPhysicalAddressBits: 52 }),
    }),
    fate: byProbe('directed/address-beyond-maxphyaddr'),
  },
  {
    name: 'previous-root-not-synced',
    history: 'A transition brings the root in use up to date, not the previous one that it takes up again.',
    mended: '2021, 07ffaf343e34',
    override: ({ flushes, syncsRoot }) => ({
      flushes: (cause, changed) => flushes(cause, changed) && cause !== 'VMRUN' && cause !== '#VMEXIT',
      syncsRoot: (reused) => !reused && syncsRoot(reused),
    }),
    fate: byProbe('directed/edited-while-away'),
  },
  {
    name: 'linked-without-sync',
    history:
      'A page table that becomes reachable again is linked as it was: stale neighbours of the page that was walked.',
    mended: '2021, 65855ed8b034',
    override: () => ({ syncsBeforeLink: () => false }),
    fate: byProbe('directed/table-taken-out-and-back-pae'),
  },
  {
    name: 'no-flush-between-levels-of-one-asid',
    history:
      'L2 runs under the ASID of L1, as VMX does without VPID for L2, and transitions do not flush it.',
    mended: '2021, "Emulate TLB flush on new vpid12"; 2024, "treat vpid01 as current if L2 lacks VPID"',
    override: () => ({
      hasOwnAsid: () => false,
      tlbIsStale: (flushed, epoch) => flushed !== epoch,
    }),
    fate: byProbe('directed/same-addresses-in-both'),
  },
  {
    name: 'loaded-pdptes-keep-the-root',
    history: 'PDPTEs are loaded into the registers, and the tables in use go on with the old ones.',
    mended: '2021, 2c5653caecc4',
    override: ({ rootServes }) => ({
      rootServes: (root, role, registers) =>
        rootServes(root, role, registers) ||
        (root.role === role && (role & FORMAT_BITS) === 3 && root.pgd === (registers.cr3 & CR3.BASE) >>> 0),
    }),
    fate: byProbe('directed/pdptes-reloaded'),
  },
  {
    name: 'accessed-bit-in-the-wrong-page',
    history:
      "Accessed and dirty bits are set at a miscomputed host address: into memory that is not the guest's.",
    mended: '2022, CVE-2022-1158',
    override: () => ({ hostAddressOfFlags: (_host, guest) => guest }),
    fate: byProbe('directed/accessed-and-dirty-2-level'),
  },
  {
    name: 'cr4-of-l2-unchecked',
    history:
      "L0 runs L2 with a CR4 of its own making, which hides that L1's VMCB has bits that the CPU lacks.",
    mended: '2023, CVE-2023-30456',
    override: ({ cr4IsLegal }) => ({
      cr4IsLegal: (cr4, writable, cause) => cause === 'VMRUN' || cr4IsLegal(cr4, writable, cause),
    }),
    fate: byProbe('directed/illegal-cr4-at-entry'),
  },
  {
    name: 'stale-wp-in-permission-checks',
    history: 'CR0.WP has changed, and accesses that L0 judges itself are still judged by the old one.',
    mended: '2023, "Refresh CR0.WP prior to emulated permission checks"',
    override: ({ permissionControl }) => {
      let before = 0;
      return {
        permissionControl(base, extended) {
          const now = permissionControl(base, extended);
          const stale = (now & ~PAGING_CONTROL.WP) | (before & PAGING_CONTROL.WP);
          before = now;
          return stale;
        },
      };
    },
    fate: byProbe('directed/wp-toggled'),
  },
  {
    name: 'guest-mode-set-too-late',
    history: "L2's MMU is set up before guest mode is: the role says L1.",
    mended: '2025, 46d6c6f3ef0e',
    override: ({ cpuRoleBase }) => ({ cpuRoleBase: (cr0, cr4, efer) => cpuRoleBase(cr0, cr4, efer, false) }),
    fate: byCheck('directed/one-root-for-both', ALIKE),
  },
];
