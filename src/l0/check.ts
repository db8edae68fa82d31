/**
 * Invariants of the shadow MMU (`--check`), looked at after every MMU operation. Every statement is checked against the
 * guest's tables and registers as they are, never against what L0 derived from them before. A broken one is a bug in
 * Umbra, and ends the run with a sentence.
 *
 * Most operations touch a few shadow pages, so the checker looks at those it has not seen in their present state, and at all
 * of them every so often.
 */
import { RIGHTS } from '../arch/paging/format.ts';
import { PDPTE_COUNT } from '../arch/paging/pae.ts';
import { controlOf, type MmuContext } from './mmu/context.ts';
import { type GuestEntry, guestEntry, nestedLeaf, nestedPdpte, upperHalf } from './mmu/guest-entry.ts';
import type { Mmu, MmuChecker } from './mmu/mmu.ts';
import {
  childRole,
  cpuRoleBase,
  cpuRoleExtended,
  directRootRole,
  has4ByteGpte,
  isDirect,
  isPrivate,
  nestedRoleBase,
  nestedRoleExtended,
  nestedRootRole,
  type PageRole,
  paeDirectoryRole,
  ROLE,
  roleAccess,
  roleLevel,
  roleString,
  shadowRootRole,
} from './mmu/role.ts';
import type { Root } from './mmu/roots.ts';
import { NONE, type ShadowPage } from './mmu/shadow-page.ts';
import type { ShadowTables } from './mmu/shadow-tables.ts';
import { isLeaf, isMmio, isPresent, SPTE, spteAddress, spteRights } from './mmu/spte.ts';

export class InvariantBroken extends Error {
  override readonly name = 'InvariantBroken';
}

/** Operations between two looks at everything. */
const FULL_EVERY = 256;
const PAGE = 4096;
const FRAMES_PER_GIB = 0x40000;
const PAGE_WORDS = 1024;

export class ShadowChecker implements MmuChecker {
  /** Hash of each shadow page when it was last found right, with the flags that the judgement rests on. */
  #seen = new Float64Array(0);
  #operations = 0;
  #mmu!: Mmu;
  #tables!: ShadowTables;
  #context!: MmuContext;
  #operation = '';

  /** Throws InvariantBroken. */
  check(mmu: Mmu, operation: string): void {
    this.#mmu = mmu;
    this.#tables = mmu.tables;
    this.#context = mmu.context;
    this.#operation = operation;
    const { pages } = mmu.tables.pool;
    if (this.#seen.length < pages.length) {
      const seen = this.#seen;
      this.#seen = new Float64Array(pages.length);
      this.#seen.set(seen);
    }
    this.#operations += 1;
    const full = this.#operations % FULL_EVERY === 0;
    this.#checkRoles();
    this.#checkRoots();
    for (const page of pages) {
      if (!page.inUse) continue;
      const state = this.#fingerprint(page);
      if (!full && this.#seen[page.index] === state) continue;
      this.#checkPage(page);
      this.#seen[page.index] = state;
    }
    if (full) this.#checkSlots();
  }

  /** Looks at everything now, whatever was seen before. */
  checkAll(mmu: Mmu, operation: string): void {
    this.#seen.fill(0);
    this.check(mmu, operation);
    this.#checkSlots();
  }

  #require(holds: boolean, page: ShadowPage | null, sentence: string): void {
    if (holds) return;
    const where =
      page === null
        ? ''
        : ` Shadow page ${page.index}: gfn 0x${page.gfn.toString(16)}, ${roleString(page.role)}, ` +
          `${page.unsync ? 'unsync' : 'sync'}, ${page.rootCount} roots.`;
    throw new InvariantBroken(`After ${this.#operation}: ${sentence}.${where}`);
  }

  /** A cheap digest of a shadow page: changes when an entry, the key or the sync state do. */
  #fingerprint(page: ShadowPage): number {
    const { u32 } = this.#tables.memory;
    let sum = (page.role + page.gfn * 31 + (page.unsync ? 7 : 0) + page.unsyncChildCount * 13) | 0;
    for (let word = page.words; word < page.words + PAGE_WORDS; word += 1) {
      sum = (Math.imul(sum, 0x0100_0193) ^ u32[word]) | 0;
    }
    return sum + 0x8000_0001;
  }

  // --- roles and roots -----------------------------------------------------------------------------------------

  #checkRoles(): void {
    const { kind, registers, cpuBase, cpuExtended, rootRole, control, format, formats } = this.#context;
    const { cr0, cr4, efer, guestMode } = registers;
    const nested = kind === 'nested';
    const base = nested ? nestedRoleBase(cr4, efer, guestMode) : cpuRoleBase(cr0, cr4, efer, guestMode);
    const extended = nested ? nestedRoleExtended(cr4) : cpuRoleExtended(cr0, cr4, efer);
    this.#require(
      base === cpuBase,
      null,
      `the cpu role is "${roleString(cpuBase)}", not "${roleString(base)}"`,
    );
    this.#require(extended === cpuExtended, null, 'the extended role is not that of CR0, CR4 and EFER');
    const root = this.#rootRole(base);
    this.#require(
      rootRole === root,
      null,
      `the root role is "${roleString(rootRole)}", not "${roleString(root)}"`,
    );
    this.#require(
      format === formats.of(base, kind !== 'shadow'),
      null,
      'the walker is not that of the cpu role',
    );
    this.#require(
      control === controlOf(base, extended),
      null,
      'the permission rules are not those of the cpu role',
    );
  }

  #rootRole(base: PageRole): PageRole {
    const { kind, registers, tableFormat } = this.#context;
    if (kind === 'shadow') return shadowRootRole(base);
    if (kind === 'direct') return directRootRole(registers.guestMode, tableFormat.rootLevel);
    return nestedRootRole(base, tableFormat.rootLevel);
  }

  #checkRoots(): void {
    const { u32 } = this.#tables.memory;
    for (const root of this.#mmu.roots.all) {
      this.#require(root.address < 0x1_0000_0000, null, 'a root lies above 4 GiB');
      if (root.built) {
        const pointers = this.#context.tableFormat.rootLevel === 3;
        this.#require(
          root.hasPointers === pointers,
          null,
          'a root has not the shape that the processor walks',
        );
      }
      if (!root.hasPointers) {
        const [directory] = root.directories;
        if (directory !== null) this.#checkDirectory(directory, root.built, root.role, 0);
        const others = root.directories.some((page, i) => i > 0 && page !== null);
        this.#require(!others, directory, 'a root has more than the directory that it is');
        continue;
      }
      for (const [i, page] of root.directories.entries()) {
        const lo = u32[(root.page >>> 2) + 2 * i];
        const hi = u32[(root.page >>> 2) + 2 * i + 1];
        if (page === null)
          this.#require((lo | hi) === 0, null, `PDPTE ${i} is 0x${lo.toString(16)} without a directory`);
        else this.#checkDirectory(page, root.built && lo === page.address + 1 && hi === 0, root.role, i);
      }
      if (root.built && this.#context.kind === 'nested' && !has4ByteGpte(root.role))
        this.#checkNestedPdptes(root);
    }
  }

  /** PDPTEs of nested tables are no registers: those in use are those in memory, unless a write to them is yet to be looked at. */
  #checkNestedPdptes(root: Root): void {
    if (root.guardEpoch !== this.#tables.guards.epoch) return;
    for (let i = 0; i < PDPTE_COUNT; i += 1) {
      const lo = root.pdptes[2 * i];
      if ((lo & SPTE.P) === 0) continue;
      const inMemory = nestedPdpte(this.#tables, root.pgd, i);
      const same = inMemory.lo === lo && inMemory.hi === root.pdptes[2 * i + 1];
      this.#require(same, null, `PDPTE ${i} of the nested tables is not that in memory`);
    }
  }

  #checkDirectory(page: ShadowPage, pointsThere: boolean, rootRole: number, index: number): void {
    this.#require(page.inUse && page.rootCount > 0, page, `directory ${index} of a root is not held by it`);
    this.#require(pointsThere, page, `PDPTE ${index} does not point to its directory`);
    if (page.invalid) return;
    const role = paeDirectoryRole(rootRole as typeof page.role, index);
    this.#require(page.role === role, page, `directory ${index} of a root should be "${roleString(role)}"`);
    if (isDirect(role))
      this.#require(page.gfn === index * FRAMES_PER_GIB, page, `directory ${index} maps elsewhere`);
  }

  // --- shadow pages --------------------------------------------------------------------------------------------

  #checkPage(page: ShadowPage): void {
    const { pool, memory } = this.#tables;
    const { u32 } = memory;
    if (page.invalid) {
      this.#require(page.rootCount > 0, page, 'an invalid page is held by no root');
    } else this.#checkKey(page);
    if (page.unsync) {
      this.#require(
        page.shadowsTable && roleLevel(page.role) === 1,
        page,
        'only level-1 tables may be unsync',
      );
      this.#checkParentsKnow(page);
    }
    let unsyncChildren = 0;
    for (let entry = 0; entry < page.entries; entry += 1) {
      const at = page.wordOf(entry);
      const lo = u32[at];
      const hi = pool.high(at);
      if ((page.unsyncChildren[entry >>> 5] & (1 << (entry & 31))) !== 0) unsyncChildren += 1;
      if ((lo | hi) === 0) continue;
      this.#require(!page.invalid, page, `a zapped page has entry ${entry}`);
      if (isMmio(lo, hi)) this.#checkMmio(page, entry);
      else {
        this.#require(isPresent(lo) && (lo & SPTE.P) !== 0, page, `entry ${entry} is none of L0's making`);
        if (isLeaf(lo, roleLevel(page.role))) this.#checkLeaf(page, entry, lo, hi);
        else this.#checkLink(page, entry, lo, hi);
      }
    }
    this.#require(unsyncChildren === page.unsyncChildCount, page, 'the count of unsync children is wrong');
  }

  #checkKey(page: ShadowPage): void {
    let found = 0;
    for (let other = this.#tables.bucket(page.gfn); other !== null; other = other.hashNext) {
      if (other.gfn === page.gfn && other.role === page.role) found += 1;
    }
    const expected = isPrivate(page.role) ? 0 : 1;
    this.#require(found === expected, page, `its key finds ${found} pages`);
    this.#require((page.role & ROLE.SMM) === 0, page, 'there is one address space only');
    if (page.shadowsTable) {
      const slot = this.#tables.slots.find(page.gfn);
      this.#require(slot !== undefined, page, 'the guest table is in no slot');
    }
  }

  #checkParentsKnow(page: ShadowPage): void {
    const { pool } = this.#tables;
    for (let reference = pool.parents[page.index]; reference !== NONE; reference = pool.next[reference]) {
      const parent = pool.owner(reference);
      const entry = pool.entryOf(reference);
      const marked = (parent.unsyncChildren[entry >>> 5] & (1 << (entry & 31))) !== 0;
      this.#require(marked, parent, `entry ${entry} leads to an unsync page and the bitmap does not say so`);
    }
  }

  #checkLink(page: ShadowPage, entry: number, lo: number, hi: number): void {
    const child = this.#tables.pool.at(spteAddress(lo, hi));
    this.#require(child?.inUse === true && !child.invalid, page, `entry ${entry} points to no shadow page`);
    this.#require(
      this.#isListed(this.#tables.pool.parents[child.index], page.reference(entry)),
      page,
      `the child of entry ${entry} does not know this parent`,
    );
    const { format } = this.#tables;
    if (isPrivate(page.role)) {
      const role = childRole(page.role, false, RIGHTS.ALL, entry, format);
      this.#require(child.role === role, child, `role should be "${roleString(role)}" under entry ${entry}`);
      this.#require(child.gfn === entry * page.entries, child, `entry ${entry} above is for other addresses`);
      return;
    }
    const guest = guestEntry(this.#tables, page, entry);
    if (page.direct || guest === null) {
      const role = childRole(page.role, true, roleAccess(page.role), entry, format);
      this.#require(
        child.role === role,
        child,
        `role should be "${roleString(role)}" under entry ${entry} of a direct page`,
      );
      this.#require(
        child.gfn === page.gfn + entry * page.entries,
        child,
        'the frame is not that of the entry above',
      );
      return;
    }
    this.#require(guest.present, page, `entry ${entry} is present and the guest's is not`);
    const rights = roleAccess(page.role) & guest.rights;
    if (guest.large) this.#checkSplit(page, entry, child, guest, rights);
    else {
      const role = childRole(page.role, false, rights, entry, format);
      this.#require(child.role === role, child, `role should be "${roleString(role)}" under entry ${entry}`);
      this.#require(child.gfn === guest.frame, child, `entry ${entry} above refers to another guest table`);
    }
  }

  /** A direct page under a large guest page. */
  #checkSplit(page: ShadowPage, entry: number, child: ShadowPage, guest: GuestEntry, rights: number): void {
    this.#require(child.direct, child, `entry ${entry} above is a large page and needs a direct one`);
    this.#require(roleLevel(child.role) === 1, child, 'a direct page has the wrong level');
    const frame = guest.frame + upperHalf(this.#tables, page, entry);
    this.#require(child.gfn === frame, child, `entry ${entry} above maps other frames`);
    this.#checkGrant(page, entry, roleAccess(child.role), rights);
    this.#checkDirty(page, entry, roleAccess(child.role), guest);
  }

  /** A write must be seen by L0 while the guest's D is clear. */
  #checkDirty(page: ShadowPage, entry: number, rights: number, guest: GuestEntry): void {
    const seen = guest.dirty || (rights & RIGHTS.W) === 0;
    this.#require(seen, page, `entry ${entry} allows writes that set no dirty bit`);
  }

  #checkLeaf(page: ShadowPage, entry: number, lo: number, hi: number): void {
    const { pool, slots } = this.#tables;
    const level = roleLevel(page.role);
    const reference = page.reference(entry);
    const frame = pool.frames[reference];
    const slot = slots.find(frame);
    const large = level > 1;
    if (slot === undefined) {
      this.#require(false, page, `entry ${entry} maps frame 0x${frame.toString(16)}, which is in no slot`);
      return;
    }
    this.#require(
      spteAddress(lo, hi) === slot.pfn(frame) * PAGE,
      page,
      `entry ${entry} maps a wrong host page`,
    );
    const last = frame + (large ? page.entries - 1 : 0);
    this.#require(slot.contains(last), page, `entry ${entry} maps memory outside the VM`);
    const head = large ? slot.largeRmap[slot.block(frame)] : slot.rmap[slot.index(frame)];
    this.#require(this.#isListed(head, reference), page, `the reverse map misses entry ${entry}`);
    const rights = spteRights(lo, hi);
    if ((rights & RIGHTS.W) !== 0) {
      this.#require(!slot.readOnly, page, `entry ${entry} is writable in a read-only slot`);
      for (let f = frame; f <= last; f += 1) this.#checkWritable(page, entry, f);
    }
    const grown = rights & ~pool.rights[reference];
    this.#require(grown === 0, page, `entry ${entry} allows more than it was made from`);
    this.#checkAgainstGuest(page, entry, frame, rights);
  }

  /** A writable frame holds no guest table that is in sync. */
  #checkWritable(page: ShadowPage, entry: number, frame: number): void {
    const slot = this.#tables.slotOf(frame);
    if (slot.shadowed[slot.index(frame)] === 0) return;
    this.#require(!this.#tables.guards.has(frame), page, `entry ${entry} writes to a guarded table`);
    this.#require(
      slot.writeTracked[slot.index(frame)] === 0,
      page,
      `entry ${entry} writes to an upper-level table`,
    );
    for (let other = this.#tables.bucket(frame as typeof page.gfn); other !== null; other = other.hashNext) {
      if (other.gfn !== frame || !other.shadowsTable) continue;
      this.#require(other.unsync, other, `entry ${entry} of page ${page.index} writes to it unseen`);
    }
  }

  #checkAgainstGuest(page: ShadowPage, entry: number, frame: number, rights: number): void {
    if (isPrivate(page.role)) {
      this.#checkPrivateLeaf(page, entry, frame, rights);
      return;
    }
    if (page.direct) {
      const size = page.entries ** (roleLevel(page.role) - 1);
      this.#require(
        frame === page.gfn + entry * size,
        page,
        `entry ${entry} of a direct page maps a wrong frame`,
      );
      this.#require(
        (rights & ~roleAccess(page.role)) === 0,
        page,
        `entry ${entry} allows more than its page`,
      );
      return;
    }
    // The guest may have changed its entries since; it is owed the old translation or the new one until it invalidates.
    if (page.unsync) return;
    const guest = guestEntry(this.#tables, page, entry);
    if (guest === null) return;
    this.#require(guest.present, page, `entry ${entry} is present and the guest's is not`);
    const half = guest.large ? upperHalf(this.#tables, page, entry) : 0;
    this.#require(frame === guest.frame + half, page, `entry ${entry} maps another frame than the guest's`);
    this.#checkGrant(page, entry, rights, roleAccess(page.role) & guest.rights);
    this.#checkDirty(page, entry, rights, guest);
  }

  /** A leaf of the tables in use, which stand for L1's PAE nested tables, against a walk of those as they are. */
  #checkPrivateLeaf(page: ShadowPage, entry: number, frame: number, rights: number): void {
    const { current } = this.#mmu.roots;
    const { pool, guards } = this.#tables;
    const parent = pool.parents[page.index];
    const inUse = parent !== NONE && pool.owner(parent) === current.directories[0];
    if (!inUse || current.guardEpoch !== guards.epoch) return;
    const guest = nestedLeaf(this.#tables, current.pgd, (page.gfn + entry) * PAGE);
    this.#require(guest.present, page, `entry ${entry} is present and the guest's is not`);
    this.#require(frame === guest.frame, page, `entry ${entry} maps another frame than the guest's`);
    this.#checkGrant(page, entry, rights, guest.rights);
    this.#checkDirty(page, entry, rights, guest);
  }

  /**
   * Rights given against rights that the guest's entries grant. With CR0.WP = 0 a leaf may be writable beyond them, but then
   * it must be closed to users, and a user page to supervisor fetches under SMEP and to everything under SMAP.
   */
  #checkGrant(page: ShadowPage, entry: number, given: number, granted: number): void {
    const beyond = given & ~granted;
    if (beyond === 0) return;
    this.#require(beyond === RIGHTS.W, page, `entry ${entry} allows what the guest's entries do not`);
    this.#require((page.role & ROLE.CR0_WP) === 0, page, `entry ${entry} is writable under CR0.WP = 1`);
    this.#require((given & RIGHTS.U) === 0, page, `entry ${entry} lets users write by CR0.WP = 0`);
    if ((granted & RIGHTS.U) === 0) return;
    const smep = (page.role & ROLE.SMEP_ANDNOT_WP) !== 0;
    this.#require(
      !smep || (given & RIGHTS.X) === 0,
      page,
      `entry ${entry} opens a user page to supervisor fetches`,
    );
    this.#require(
      (page.role & ROLE.SMAP_ANDNOT_WP) === 0,
      page,
      `entry ${entry} hides a user page from SMAP`,
    );
  }

  #checkMmio(page: ShadowPage, entry: number): void {
    this.#require(roleLevel(page.role) === 1, page, `entry ${entry} is an MMIO entry above level 1`);
  }

  #isListed(head: number, reference: number): boolean {
    for (let link = head; link !== NONE; link = this.#tables.pool.next[link])
      if (link === reference) return true;
    return false;
  }

  // --- memory slots --------------------------------------------------------------------------------------------

  /** The counters of every slot against a count of the shadow pages, and every list entry against what it lists. */
  #checkSlots(): void {
    const { pool, slots, memory } = this.#tables;
    const shadowed = new Map<number, { all: number; tracked: number }>();
    for (const page of pool.pages) {
      if (!page.inUse || page.invalid || !page.shadowsTable) continue;
      const count = shadowed.get(page.gfn) ?? { all: 0, tracked: 0 };
      count.all += 1;
      if (roleLevel(page.role) > 1) count.tracked += 1;
      shadowed.set(page.gfn, count);
    }
    for (const frame of this.#tables.guards.frames) {
      const count = shadowed.get(frame) ?? { all: 0, tracked: 0 };
      shadowed.set(frame, { ...count, all: count.all + 1 });
    }
    for (const slot of slots) {
      for (let i = 0; i < slot.pages; i += 1) {
        const frame = slot.baseGfn + i;
        const count = shadowed.get(frame);
        const right =
          slot.shadowed[i] === (count?.all ?? 0) && slot.writeTracked[i] === (count?.tracked ?? 0);
        this.#require(right, null, `the counts of shadow pages of frame 0x${frame.toString(16)} are wrong`);
        for (let link = slot.rmap[i]; link !== NONE; link = pool.next[link]) {
          const live = isPresent(memory.u32[pool.wordOf(link)]) && pool.frames[link] === frame;
          this.#require(
            live,
            pool.owner(link),
            `the reverse map of frame 0x${frame.toString(16)} lists a dead entry`,
          );
        }
      }
    }
  }
}
