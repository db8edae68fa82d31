/**
 * Roots: what the hardware CR3 or nCR3 points to. In L0's PAE format a root is a page of four PDPTEs, each for one page directory;
 * it has no shadow page of its own. In the 2-level format the one directory is the root. The current root and three previous
 * ones are kept, so that a switch between address spaces, or between L1 and L2, finds its tables ready.
 *
 * A root is known by its role, the guest's CR3 and, under PAE paging, the PDPTE registers: memory changes behind those have
 * no effect before the guest reloads them (SDM vol. 3A 4.4.1), so they are the key and not the table in memory.
 *
 * PDPTEs of L1's PAE nested tables are no registers: the processor reads them at every nested walk (APM vol. 2 15.25.10). A
 * present one may be cached until L1 or L2 invalidates, an absent one not at all. L0 does not see L2 invalidate, so it guards the
 * page they are in (guards.ts) and reads them again after any write there, before the root is next used.
 */
import { type Gfn, gfn, type Hpa } from '../../arch/address.ts';
import { PDPTE_COUNT, pdpteIsValid } from '../../arch/paging/pae.ts';
import { CR3 } from '../../arch/registers.ts';
import type { HostPages } from '../pages.ts';
import type { GuestPagingRegisters, MmuContext } from './context.ts';
import { getShadowPage } from './lookup.ts';
import { has4ByteGpte, isPrivate, type PageRole } from './role.ts';
import type { ShadowPage } from './shadow-page.ts';
import type { ShadowTables } from './shadow-tables.ts';
import { syncChildren } from './sync.ts';

/** The current root and three more. */
const ROOTS = 4;
const PDPTE_P = 1;
const PAGE = 4096;
/** Frames in 1 GiB. */
const FRAMES_PER_DIRECTORY = 0x40000;

/** What a root is known by. */
export interface RootKey {
  readonly role: PageRole;
  /** The guest's CR3, or nCR3, without bits that do not locate tables; 0 where no guest table is shadowed. */
  readonly pgd: number;
  /** The PDPTEs that the directories are from, under PAE paging; else zero. */
  readonly pdptes: Uint32Array;
}

/** A root with four page directories (APM vol. 2 5.2.3), or with one that it is itself. */
export class Root implements RootKey {
  /**
   * Page of the PDPTEs: below 4 GiB, since CR3 has 32 bits outside long mode. The entries hold P and an address only: W and U
   * are reserved in PDPTEs. All zero, it is the directory where the guest has none.
   */
  readonly page: Hpa;
  /** The processor starts at the PDPTEs; else at the first directory. */
  hasPointers = true;
  readonly directories: (ShadowPage | null)[] = [null, null, null, null];
  built = false;
  /** Differs each time it is built: the same page with other contents is another root. */
  serial = 0;
  /** Generation of the memory slots when it was built: a later one may have put memory where a directory was absent. */
  generation = 0;
  role: PageRole = 0 as PageRole;
  pgd = 0;
  readonly pdptes = new Uint32Array(2 * PDPTE_COUNT);
  /** Count of the guards' writes when PDPTEs in memory were read, or private tables were empty. */
  guardEpoch = 0;

  constructor(page: Hpa) {
    this.page = page;
  }

  /** Host-physical address for CR3 or nCR3. */
  get address(): Hpa {
    return this.hasPointers ? this.page : (this.directories[0]?.address ?? this.page);
  }

  /** The directory that translates an address. */
  directoryOf(address: number): ShadowPage | null {
    return this.directories[this.hasPointers ? address >>> 30 : 0];
  }
}

export class Roots {
  readonly #tables: ShadowTables;
  readonly #context: MmuContext;
  readonly #registers: GuestPagingRegisters;
  /** Most recently used first; the first is current. */
  readonly #roots: Root[] = [];
  #rootEpoch = 0;

  constructor(tables: ShadowTables, context: MmuContext, hostPages: HostPages) {
    this.#tables = tables;
    this.#context = context;
    this.#registers = context.registers;
    for (let i = 0; i < ROOTS; i += 1) this.#roots.push(new Root(hostPages.allocate(1)));
  }

  get current(): Root {
    return this.#roots[0];
  }

  /** All roots kept, current first. For checks and dumps. */
  get all(): readonly Root[] {
    return this.#roots;
  }

  /**
   * Makes the root for the guest's registers and role current and builds it if need be. Unsync pages below a root that is taken
   * up again, or built of pages found in the hash, are synchronised: other roots do not see the guest's invalidations.
   */
  load(): Root {
    this.#dropObsolete();
    const at = this.#find();
    if (at > 0 || !this.#roots[0].built || !this.#matches(this.#roots[0])) this.#makeCurrent(at);
    const [root] = this.#roots;
    const { rules, guards } = this.#tables;
    if (this.#context.kind === 'nested' && !rules.guardedTablesServe(root.guardEpoch, guards.epoch))
      this.#readAgain(root);
    return root;
  }

  /** Brings all unsync pages below the current root up to date. */
  sync(): void {
    const root = this.#roots[0];
    if (root.built) this.#syncRoot(root);
  }

  /** Frees every root. Their shadow pages stay, to be found again. */
  free(): void {
    for (const root of this.#roots) this.#free(root);
  }

  #makeCurrent(at: number): void {
    const found = at >= 0;
    const [root] = this.#roots.splice(found ? at : ROOTS - 1, 1);
    this.#roots.unshift(root);
    if (found) this.#tables.statistics.rootHits += 1;
    else {
      this.#free(root);
      this.#build(root);
    }
    if (this.#tables.rules.syncsRoot(found)) this.#syncRoot(root);
  }

  #syncRoot(root: Root): void {
    for (let i = 0; i < PDPTE_COUNT; i += 1) {
      const directory = root.directories[i];
      if (directory !== null) syncChildren(this.#tables, this.#context, directory);
    }
  }

  #find(): number {
    for (let i = 0; i < ROOTS; i += 1) if (this.#roots[i].built && this.#matches(this.#roots[i])) return i;
    return -1;
  }

  #matches(root: Root): boolean {
    const { rules } = this.#tables;
    const { kind, rootRole } = this.#context;
    if (kind === 'nested') return rules.nestedRootServes(root, rootRole, this.#registers.cr3);
    return rules.rootServes(root, rootRole, this.#registers);
  }

  #build(root: Root): void {
    const context = this.#context;
    this.#tables.makeRoom(PDPTE_COUNT);
    this.#tables.statistics.roots += 1;
    root.serial += 1;
    root.role = context.rootRole;
    root.generation = this.#tables.generation;
    root.hasPointers = this.#tables.rules.rootHasPointers(root.role, this.#tables.format);
    root.pgd = 0;
    root.pdptes.fill(0);
    if (!context.direct) {
      const inMemory = this.#hasPdptesInMemory(root);
      root.pgd = (this.#registers.cr3 & (inMemory ? CR3.PAE_BASE : CR3.BASE)) >>> 0;
      if (context.kind === 'nested') this.#readPdptes(root);
      else if (!has4ByteGpte(root.role)) root.pdptes.set(this.#registers.pdptes);
    }
    root.built = true;
    const count = root.hasPointers ? PDPTE_COUNT : 1;
    for (let i = 0; i < count; i += 1) this.#buildDirectory(root, i);
  }

  #hasPdptesInMemory(root: Root): boolean {
    return this.#context.kind === 'nested' && !has4ByteGpte(root.role);
  }

  /** Reads PDPTEs of nested tables and guards them; what a nested walk would find in fault is as good as absent. */
  #readPdptes(root: Root): void {
    const { slots, memory, guards } = this.#tables;
    root.guardEpoch = guards.epoch;
    if (!this.#hasPdptesInMemory(root) || isPrivate(root.role)) return;
    root.pdptes.fill(0);
    const at = slots.hostAddress(root.pgd) >>> 2;
    const { format } = this.#context;
    if (slots.find(Math.floor(root.pgd / PAGE)) === undefined || format === null) return;
    guards.guard(Math.floor(root.pgd / PAGE) as Gfn);
    for (let i = 0; i < 2 * PDPTE_COUNT; i += 2) {
      const lo = memory.u32[at + i];
      const hi = memory.u32[at + i + 1];
      if (!pdpteIsValid(format, lo, hi)) continue;
      root.pdptes[i] = lo;
      root.pdptes[i + 1] = hi;
    }
  }

  /** A page has been written that entries of the root were read from, in tables that are not shadowed one by one. */
  #readAgain(root: Root): void {
    if (isPrivate(root.role)) {
      root.guardEpoch = this.#tables.guards.epoch;
      const [directory] = root.directories;
      if (directory !== null) this.#tables.emptyPrivate(directory);
      return;
    }
    const before = root.pdptes.slice();
    this.#readPdptes(root);
    for (let i = 0; i < PDPTE_COUNT; i += 1) {
      if (before[2 * i] === root.pdptes[2 * i] && before[2 * i + 1] === root.pdptes[2 * i + 1]) continue;
      this.#tables.makeRoom(1);
      const directory = root.directories[i];
      root.directories[i] = null;
      if (directory !== null) this.#tables.releaseRoot(directory);
      this.#buildDirectory(root, i);
      this.#tables.requestFlush();
    }
    this.#syncRoot(root);
  }

  /** A directory that the guest does not have, or has outside its memory, stays absent: accesses fault and are looked at. */
  #buildDirectory(root: Root, index: number): void {
    const frame = this.#directoryFrame(root, index);
    let directory: ShadowPage | null = null;
    if (frame >= 0 && (this.#context.direct || this.#tables.slots.find(frame) !== undefined)) {
      const role = this.#tables.rules.paeDirectoryRole(root.role, index);
      directory = isPrivate(role)
        ? this.#tables.create(gfn(0), role)
        : getShadowPage(this.#tables, this.#context, frame as Gfn, role);
      directory.rootCount += 1;
    }
    root.directories[index] = directory;
    if (!root.hasPointers) return;
    const at = (root.page >>> 2) + index * 2;
    const words = this.#tables.memory.u32;
    words[at] = directory === null ? 0 : directory.address | PDPTE_P;
    words[at + 1] = 0;
  }

  /** Guest frame of a page directory, -1 if there is none. With paging off: the first frame it maps. */
  #directoryFrame(root: Root, index: number): number {
    if (this.#context.direct) return gfn(index * FRAMES_PER_DIRECTORY);
    if (has4ByteGpte(root.role) || isPrivate(root.role)) return Math.floor(root.pgd / PAGE);
    const lo = root.pdptes[index * 2];
    if ((lo & PDPTE_P) === 0) return -1;
    return (root.pdptes[index * 2 + 1] & 0x000f_ffff) * 0x10_0000 + (lo >>> 12);
  }

  #free(root: Root): void {
    if (!root.built) return;
    this.#freePrivate(root);
    for (let i = 0; i < PDPTE_COUNT; i += 1) {
      const directory = root.directories[i];
      root.directories[i] = null;
      if (directory !== null) this.#tables.releaseRoot(directory);
    }
    root.built = false;
    this.#tables.memory.u32.fill(0, root.page >>> 2, (root.page >>> 2) + 2 * PDPTE_COUNT);
  }

  /** Nothing would ever find private tables again. */
  #freePrivate(root: Root): void {
    const [directory] = root.directories;
    if (directory === null || !isPrivate(directory.role) || directory.invalid) return;
    this.#tables.emptyPrivate(directory);
    this.#tables.zap(directory);
  }

  /** Frees roots that lost a page to zapping, or were built over other memory slots. */
  #dropObsolete(): void {
    if (this.#rootEpoch === this.#tables.rootEpoch) return;
    this.#rootEpoch = this.#tables.rootEpoch;
    const { rules, generation } = this.#tables;
    for (const root of this.#roots) {
      const zapped = root.directories.some((page) => page?.invalid === true);
      if (rules.rootIsObsolete(root.generation, generation, zapped)) this.#free(root);
    }
  }
}
