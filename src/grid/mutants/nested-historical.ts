import { CR3, CR4 } from '../../arch/registers.ts';
import { isDirect, roleLevel } from '../../l0/mmu/role.ts';
import { byCheck, byProbe, type Mutant, nested } from './mutant.ts';

/** Why no guest sees whether tables of nested paging were made for L2. */
export const NEVER_SHARED =
  "The shadows of L1's nested tables are the only tables under this L0 that are not direct, and the direct ones under them " +
  'carry cr0_wp, which no table of L0 for L1 does: none is ever found in the place of another.';

/** Bugs that KVM's nested paging has had, as L0 would have them. */
export const NESTED_HISTORICAL: readonly Mutant[] = [
  nested({
    name: 'direct-root-without-pointers',
    history: "L0's own nested tables are in PAE format, and no page of PDPTEs is made for their root.",
    mended: '2019, b6b80c78af83',
    override: ({ rootHasPointers }) => ({
      rootHasPointers: (role, format) => !isDirect(role) && rootHasPointers(role, format),
    }),
    fate: byProbe('directed/nested-rights-2-level'),
  }),
  nested({
    name: 'nested-root-level-of-l1',
    history: "The root for L1's nested tables has their level instead of that of L0's own format.",
    mended: '2020, 096586fda522; 2021, a3322d5cd87f',
    override: ({ rootHasPointers }) => ({
      nestedRootRole: (base) => base,
      rootHasPointers: (role, format) =>
        isDirect(role) ? rootHasPointers(role, format) : roleLevel(role) === format.rootLevel,
    }),
    fate: byProbe('directed/nested-rights-2-level'),
  }),
  nested({
    name: 'nested-root-without-pointers',
    history: "No page of PDPTEs is made for the root that stands for a 32-bit L1's nested tables.",
    mended: '2021, 04d45551a1ee',
    override: ({ rootHasPointers }) => ({
      rootHasPointers: (role, format) => isDirect(role) && rootHasPointers(role, format),
    }),
    fate: byProbe('directed/nested-rights-pae'),
  }),
  nested({
    name: 'nested-walk-by-half-the-role',
    history:
      'The context of the walk through both stages is taken to be right if the extended role is: levels and entry size are not ' +
      'compared.',
    mended: '2021, 654430efde27',
    override: ({ roleChanged }) => ({
      roleChanged: (cause, base, extended, newBase, newExtended) =>
        cause === 'guest walk'
          ? extended !== newExtended
          : roleChanged(cause, base, extended, newBase, newExtended),
    }),
    fate: byProbe('directed/nested-emulated-in-modes'),
  }),
  nested({
    name: 'smep-of-l2-in-nested-walk',
    history: "Whether nested faults tell of fetches follows L2's CR4.SMEP, not L1's.",
    mended: '2021, ef318b9edf66',
    override: ({ nestedRegisters }) => ({
      nestedRegisters(saved, current) {
        const registers = nestedRegisters(saved, current);
        return { ...registers, cr4: (registers.cr4 & ~CR4.SMEP) | (current.cr4 & CR4.SMEP) };
      },
    }),
    fate: byProbe('directed/nested-smep-of-host'),
  }),
  nested({
    name: 'nested-root-kept-across-modes',
    history:
      "L1 changes its paging mode and nCR3 stays, and so does the root made in the other mode. KVM's L1 changed CR4.LA57.",
    mended: '2022, 84e5ffd045f3',
    override: () => ({
      nestedRootServes: (root, _role, cr3) => (root.pgd & CR3.BASE) === (cr3 & CR3.BASE),
    }),
    fate: byProbe('directed/nested-host-modes'),
  }),
  nested({
    name: 'guest-mode-set-after-nested-mmu',
    history: "The MMU for L1's nested tables is set up before guest mode is: the role says L1.",
    mended: '2025, 46d6c6f3ef0e',
    override: ({ nestedRoleBase }) => ({ nestedRoleBase: (cr4, efer) => nestedRoleBase(cr4, efer, false) }),
    fate: byCheck('directed/nested-rights-2-level', NEVER_SHARED),
  }),
];
