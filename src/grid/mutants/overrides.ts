import { has4ByteGpte, type PageRole, roleQuadrant, withQuadrant } from '../../l0/mmu/role.ts';
import type { Mutant } from './mutant.ts';

// Wrong answers of more than one mutant. Those of shadow paging that are wrong in nested paging too have a mutant in either
// table, since it takes another guest to see them.

/** The key of shadow pages lacks bits of the role; the guest's mode stays known to the walk. */
export const withoutKeyBits =
  (bits: number): Mutant['override'] =>
  ({ shadowRootRole }) => ({
    shadowRootRole: (base) => (shadowRootRole(base) & ~bits) as PageRole,
  });

/** The halves of a 4-byte page table are taken for each other. */
export const halvesExchanged: Mutant['override'] = ({ childRole }) => ({
  childRole(parent, direct, access, index, format) {
    const role = childRole(parent, direct, access, index, format);
    return has4ByteGpte(role) && !direct ? withQuadrant(role, roleQuadrant(role) ^ 1) : role;
  },
});

/** Each gigabyte is shadowed by the quarter of the 4-byte directory that belongs to the next. */
export const quarterOfTheNext: Mutant['override'] = ({ paeDirectoryRole }) => ({
  paeDirectoryRole(root, index) {
    const role = paeDirectoryRole(root, index);
    return has4ByteGpte(role) ? withQuadrant(role, (roleQuadrant(role) + 1) & 3) : role;
  },
});

/** A neighbour of the entry that faulted is mapped though nothing has used it. */
export const unusedNeighbours: Mutant['override'] = ({ gpteUsable }) => ({
  gpteUsable: (format, lo, hi) => gpteUsable(format, lo | 0x20, hi),
});

/** L2 under another ASID is flushed as if it had the one before still. */
export const newAsidUnnoticed: Mutant['override'] = ({ flushesL2 }) => ({
  flushesL2: (_asid, newAsid, control) => flushesL2(newAsid, newAsid, control),
});
