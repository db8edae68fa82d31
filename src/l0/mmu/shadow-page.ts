/**
 * Shadow pages: tables of SPTEs in host memory, each with what L0 must remember about it. They live in a pool of fixed
 * size at most, so that an SPTE has a small number, its *reference*: slot in the pool times entries of a table plus index in it. Lists of
 * SPTEs and everything kept per SPTE are typed arrays over that number, which grow by doubling.
 */
import { type Gfn, gfn, type Hpa, hpa, PAGE_SIZE } from '../../arch/address.ts';
import type { HostMemory } from '../hardware.ts';
import type { HostPages } from '../pages.ts';
import { isDirect, isInvalid, type PageRole, shadowsTable } from './role.ts';
import type { TableFormat } from './table-format.ts';

/** End of a list, and no reference. */
export const NONE = -1;
/** Pages that a pool begins with. */
const FIRST_PAGES = 32;
const PAGE_WORDS = PAGE_SIZE / 4;

/** One shadow page. The object stays with its slot in the pool; gfn and role change with each use. */
export class ShadowPage {
  /** Slot in the pool. */
  readonly index: number;
  readonly address: Hpa;
  /** Index of the low half of entry 0 in HostMemory.u32. */
  readonly words: number;
  /** SPTEs in it. */
  readonly entries: number;
  readonly #entryWords: number;

  /** The guest table translated here; for a direct or private page the first frame that it maps. */
  gfn: Gfn = gfn(0);
  role: PageRole = 0 as PageRole;
  inUse = false;
  /** The guest may have written to its table since this translation of it (level 1 only). */
  unsync = false;
  /** Entries whose child is unsync or has unsync children, as a bitmap and as a count of its bits. */
  readonly unsyncChildren: Uint32Array;
  unsyncChildCount = 0;
  /** Roots that use it; it is not reused before they let go. */
  rootCount = 0;
  /** Writes to the guest table seen since the shadow page was last used in a fault. */
  writeFlooding = 0;
  /** Generation of the memory slots under which it was made. */
  generation = 0;

  hashNext: ShadowPage | null = null;
  /** Neighbours in the list of used pages, youngest first. */
  younger: ShadowPage | null = null;
  older: ShadowPage | null = null;

  constructor(index: number, address: Hpa, format: TableFormat) {
    this.index = index;
    this.address = address;
    this.words = address >>> 2;
    this.entries = format.entries;
    this.#entryWords = format.entryWords;
    this.unsyncChildren = new Uint32Array(format.entries / 32);
  }

  reference(entry: number): number {
    return this.index * this.entries + entry;
  }

  /** Index of the low half of an entry in HostMemory.u32. */
  wordOf(entry: number): number {
    return this.words + entry * this.#entryWords;
  }

  get direct(): boolean {
    return isDirect(this.role);
  }

  /** It stands for one guest table, or a part of one; `direct` and private pages do not. */
  get shadowsTable(): boolean {
    return shadowsTable(this.role);
  }

  get invalid(): boolean {
    return isInvalid(this.role);
  }
}

/** The pool: pages, and per SPTE its list links, the guest frame it maps and the rights the guest's entries give. */
export class ShadowPagePool {
  readonly memory: HostMemory;
  readonly format: TableFormat;
  /** Those in use, and those that were. */
  readonly pages: ShadowPage[] = [];
  /** Links of the list each present SPTE is in: the rmap of its frame, or its child's list of parents. */
  next = new Int32Array(0);
  previous = new Int32Array(0);
  /** Guest frame that a leaf or MMIO entry translates to. */
  frames = new Float64Array(0);
  /** RIGHTS that a leaf or MMIO entry was made from. */
  rights = new Uint8Array(0);
  /** First SPTE that refers to each shadow page. */
  readonly parents: Int32Array;
  readonly #base: number;
  readonly #entries: number;
  readonly #entryWords: number;
  readonly #words: Uint32Array;
  readonly #limit: number;
  #used = 0;
  readonly #free: ShadowPage[] = [];
  #youngest: ShadowPage | null = null;
  #oldest: ShadowPage | null = null;

  /** Takes `limit` pages from L0's own. */
  constructor(memory: HostMemory, hostPages: HostPages, limit: number, format: TableFormat) {
    this.memory = memory;
    this.format = format;
    this.#words = memory.u32;
    this.#entries = format.entries;
    this.#entryWords = format.entryWords;
    this.#base = hostPages.reserve(limit);
    this.#limit = limit;
    this.parents = new Int32Array(limit).fill(NONE);
  }

  /** Twice the pages, within the limit: most VMs never need a tenth of it. */
  #grow(): void {
    const before = this.pages.length;
    const count = Math.min(Math.max(before * 2, FIRST_PAGES), this.#limit);
    for (let i = before; i < count; i += 1)
      this.pages.push(new ShadowPage(i, hpa(this.#base + i * PAGE_SIZE), this.format));
    for (let i = count - 1; i >= before; i -= 1) this.#free.push(this.pages[i]);
    const { next, previous, frames, rights } = this;
    this.next = new Int32Array(count * this.#entries);
    this.next.set(next);
    this.previous = new Int32Array(count * this.#entries);
    this.previous.set(previous);
    this.frames = new Float64Array(count * this.#entries);
    this.frames.set(frames);
    this.rights = new Uint8Array(count * this.#entries);
    this.rights.set(rights);
  }

  get available(): number {
    return this.#limit - this.#used;
  }

  get used(): number {
    return this.#used;
  }

  /** The page used longest, where eviction starts. */
  get oldest(): ShadowPage | null {
    return this.#oldest;
  }

  get youngest(): ShadowPage | null {
    return this.#youngest;
  }

  /** A cleared page. The caller has made sure that there is one. */
  take(frame: Gfn, role: PageRole, generation: number): ShadowPage {
    if (this.#free.length === 0) this.#grow();
    const page = this.#free.pop();
    if (page === undefined)
      throw new Error('The shadow page pool is empty: room was not made before the fault.');
    this.#used += 1;
    this.memory.u32.fill(0, page.words, page.words + PAGE_WORDS);
    this.memory.written(page.address, PAGE_SIZE);
    page.gfn = frame;
    page.role = role;
    page.generation = generation;
    page.inUse = true;
    page.unsync = false;
    page.unsyncChildren.fill(0);
    page.unsyncChildCount = 0;
    page.rootCount = 0;
    page.writeFlooding = 0;
    page.hashNext = null;
    page.younger = null;
    page.older = this.#youngest;
    if (this.#youngest !== null) this.#youngest.younger = page;
    else this.#oldest = page;
    this.#youngest = page;
    return page;
  }

  /** Takes back a page that nothing refers to any more. */
  give(page: ShadowPage): void {
    if (page.younger !== null) page.younger.older = page.older;
    else this.#youngest = page.older;
    if (page.older !== null) page.older.younger = page.younger;
    else this.#oldest = page.younger;
    page.younger = null;
    page.older = null;
    page.inUse = false;
    this.#used -= 1;
    this.#free.push(page);
  }

  /** Shadow page at a host-physical address taken from a non-leaf SPTE. */
  at(address: number): ShadowPage {
    return this.pages[(address - this.#base) / PAGE_SIZE];
  }

  /** Shadow page that holds an SPTE. */
  owner(reference: number): ShadowPage {
    return this.pages[Math.floor(reference / this.#entries)];
  }

  /** Index of an SPTE in its table. */
  entryOf(reference: number): number {
    return reference % this.#entries;
  }

  /** Index of the low half of an SPTE in HostMemory.u32. */
  wordOf(reference: number): number {
    return (this.#base >>> 2) + reference * this.#entryWords;
  }

  /** High half of the SPTE whose low half is at index `at` of HostMemory.u32; zero where entries have 4 bytes. */
  high(at: number): number {
    return this.#entryWords === 2 ? this.#words[at + 1] : 0;
  }

  /** Stores an SPTE; `hi` must be zero where entries have 4 bytes. */
  store(at: number, lo: number, hi: number): void {
    this.#words[at] = lo;
    if (this.#entryWords === 2) this.#words[at + 1] = hi;
  }

  /** Puts an SPTE at the head of a list. */
  insert(heads: Int32Array, at: number, reference: number): void {
    const head = heads[at];
    this.next[reference] = head;
    this.previous[reference] = NONE;
    if (head !== NONE) this.previous[head] = reference;
    heads[at] = reference;
  }

  /** Takes an SPTE out of the list it is in. */
  remove(heads: Int32Array, at: number, reference: number): void {
    const next = this.next[reference];
    const previous = this.previous[reference];
    if (next !== NONE) this.previous[next] = previous;
    if (previous !== NONE) this.next[previous] = next;
    else heads[at] = next;
  }
}
