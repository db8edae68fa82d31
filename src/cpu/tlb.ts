import { FAST_TLB, FAST_TLB_ENTRIES, FAST_TLB_ENTRY_SHIFT, TLB_ENTRY } from './layout.ts';

/** Properties of a cached translation. W, U, X are RIGHTS of arch/paging. */
export const TLB_FLAG = {
  X: 1,
  W: 2,
  U: 4,
  /** The leaf's dirty bit was set when the entry was made; under nested paging the nested leaf's as well, and it was writable. */
  DIRTY: 8,
  GLOBAL: 16,
  /** Part of a page larger than 4 KiB. */
  LARGE: 32,
  /** Code was fetched through it. */
  EXECUTED: 64,
  /** The nested tables forbid fetches, whatever the guest's own EFER.NXE. */
  NO_FETCH: 128,
} as const;

export const INVALIDATED = { PAGE: 0, CODE: 1, REGION: 2 } as const;
export type Invalidated = (typeof INVALIDATED)[keyof typeof INVALIDATED];

const SETS = 2048;
const WAYS = 4;
const NONE = -1;
/** 4 MiB regions of linear space, folded: where large pages were seen. */
const REGIONS = 1024;
/** No tag of the fast TLB has these low bits. */
const NO_TAG = 0xfff;

/**
 * The translation lookaside buffer: tagged with ASIDs, keeping global entries, and not coherent with the tables: an
 * entry stays until software invalidates it or another one needs its place (SDM vol. 3A 4.10, APM vol. 2 5.5, 15.16).
 *
 * An entry is valid while its generation is that of its ASID (of its ASID's global entries, if global): flushing an
 * address space is one increment.
 */
export class Tlb {
  readonly #page = new Float64Array(SETS * WAYS).fill(NONE);
  readonly #asid = new Int32Array(SETS * WAYS);
  readonly #generation = new Int32Array(SETS * WAYS);
  readonly #frame = new Float64Array(SETS * WAYS);
  readonly #flags = new Uint8Array(SETS * WAYS);
  readonly #caching = new Uint8Array(SETS * WAYS);
  #hasCaching = false;
  readonly #victim = new Uint8Array(SETS);
  readonly #local: Int32Array;
  readonly #global: Int32Array;
  readonly #largeRegion = new Uint8Array(REGIONS);

  readonly #codeLost: (asid: number) => void;

  /**
   * @param asids    how many there are, ASID 0 (the host's) included
   * @param codeLost called when an entry that code was fetched through goes without being invalidated: whoever found that
   *                 code by its linear address must look for it again, since INVLPG will not find the entry any more
   */
  constructor(asids: number, codeLost: (asid: number) => void) {
    this.#codeLost = codeLost;
    this.#local = new Int32Array(asids).fill(1);
    this.#global = new Int32Array(asids).fill(1);
  }

  /** The entry for a linear page (linear >> 12) under an ASID, or -1. */
  find(page: number, asid: number): number {
    const first = (page & (SETS - 1)) * WAYS;
    for (let entry = first; entry < first + WAYS; entry++) {
      if (this.#page[entry] === page && this.#asid[entry] === asid && this.#valid(entry)) return entry;
    }
    return NONE;
  }

  frame(entry: number): number {
    return this.#frame[entry] as number;
  }
  flags(entry: number): number {
    return this.#flags[entry] as number;
  }
  /** What `setCaching` left with it, else 0. */
  caching(entry: number): number {
    return this.#caching[entry] as number;
  }
  /** Leaves something with an entry that means nothing here. */
  setCaching(entry: number, caching: number): void {
    this.#caching[entry] = caching;
    this.#hasCaching = true;
  }
  addFlags(entry: number, flags: number): void {
    this.#flags[entry] |= flags;
  }
  drop(entry: number): void {
    this.#loseCode(entry);
    this.#page[entry] = NONE;
  }

  #loseCode(entry: number): void {
    if (((this.#flags[entry] as number) & TLB_FLAG.EXECUTED) !== 0)
      this.#codeLost(this.#asid[entry] as number);
  }

  /** Puts a translation in; replaces the one for the same page and ASID, or an invalid one, or the next victim. */
  insert(page: number, asid: number, frame: number, flags: number): number {
    const set = page & (SETS - 1);
    const entry = this.#place(set, page, asid);
    this.#page[entry] = page;
    this.#asid[entry] = asid;
    this.#frame[entry] = frame;
    this.#flags[entry] = flags;
    if (this.#hasCaching) this.#caching[entry] = 0;
    this.#generation[entry] = (
      (flags & TLB_FLAG.GLOBAL) !== 0 ? this.#global[asid] : this.#local[asid]
    ) as number;
    if ((flags & TLB_FLAG.LARGE) !== 0) this.#largeRegion[(page >>> 10) & (REGIONS - 1)] = 1;
    return entry;
  }

  /**
   * Drops the translation of a page, global or not, and all parts of a large page (SDM vol. 3A 4.10.4.1). Tells what
   * copies are now untrue: of this page's data, of code as well, or of more than this page.
   */
  invalidatePage(page: number, asid: number): Invalidated {
    if (this.#largeRegion[(page >>> 10) & (REGIONS - 1)] !== 0) {
      this.#invalidateRegion(page, asid);
      return INVALIDATED.REGION;
    }
    const entry = this.find(page, asid);
    if (entry < 0) return INVALIDATED.PAGE;
    this.#page[entry] = NONE;
    return ((this.#flags[entry] as number) & TLB_FLAG.EXECUTED) !== 0 ? INVALIDATED.CODE : INVALIDATED.PAGE;
  }

  /** MOV CR3: all of an ASID but its global entries. */
  flushLocal(asid: number): void {
    this.#local[asid]++;
  }
  /** All of an ASID. */
  flush(asid: number): void {
    this.#local[asid]++;
    this.#global[asid]++;
  }
  flushEverything(): void {
    for (let asid = 0; asid < this.#local.length; asid++) this.flush(asid);
    this.#largeRegion.fill(0);
  }

  #valid(entry: number): boolean {
    const asid = this.#asid[entry] as number;
    const global = ((this.#flags[entry] as number) & TLB_FLAG.GLOBAL) !== 0;
    return this.#generation[entry] === (global ? this.#global[asid] : this.#local[asid]);
  }

  #place(set: number, page: number, asid: number): number {
    const first = set * WAYS;
    let free = NONE;
    for (let entry = first; entry < first + WAYS; entry++) {
      if (this.#page[entry] === page && this.#asid[entry] === asid) {
        if (this.#valid(entry)) this.#loseCode(entry);
        return entry;
      }
      if (free < 0 && (this.#page[entry] === NONE || !this.#valid(entry))) free = entry;
    }
    if (free >= 0) return free;
    const way = this.#victim[set] as number;
    this.#victim[set] = (way + 1) % WAYS;
    this.#loseCode(first + way);
    return first + way;
  }

  /** A 4 MiB region has at most 1024 parts; they lie in consecutive sets, one half of all or the other. */
  #invalidateRegion(page: number, asid: number): void {
    const small = this.find(page, asid);
    if (small >= 0) this.#page[small] = NONE;
    const region = Math.floor(page / 1024);
    const flags = this.#flags;
    const first = (region & 1) * 1024 * WAYS;
    for (let entry = first; entry < first + 1024 * WAYS; entry++) {
      if (((flags[entry] as number) & TLB_FLAG.LARGE) === 0 || this.#asid[entry] !== asid) continue;
      const other = this.#page[entry] as number;
      if (other !== NONE && Math.floor(other / 1024) === region) this.#page[entry] = NONE;
    }
  }
}

/**
 * The fast TLB in WebAssembly memory, which the interpreter's code looks at. It holds copies of entries of `Tlb` for
 * one kind of access each: a read tag and a write tag, each the linear page plus twelve bits of context.
 */
export class FastTlb {
  readonly #u32: Uint32Array;

  constructor(u32: Uint32Array) {
    this.#u32 = u32;
    this.clear();
  }

  /** @param host byte offset of the page in WebAssembly memory */
  fill(page: number, tag: number, host: number, readable: boolean, writable: boolean): void {
    const entry = this.#entry(page);
    const linear = (page * 4096) >>> 0;
    this.#u32[entry + (TLB_ENTRY.READ_TAG >> 2)] = readable ? linear | tag : NO_TAG;
    this.#u32[entry + (TLB_ENTRY.WRITE_TAG >> 2)] = writable ? linear | tag : NO_TAG;
    this.#u32[entry + (TLB_ENTRY.ADDEND >> 2)] = host - linear;
  }

  /** Host address that an access under `tag` goes to, or -1 if it has to ask. */
  host(linear: number, tag: number, write: boolean): number {
    const entry = this.#entry(linear >>> 12);
    const place = entry + ((write ? TLB_ENTRY.WRITE_TAG : TLB_ENTRY.READ_TAG) >> 2);
    if (this.#u32[place] !== ((linear & ~0xfff) | tag) >>> 0) return -1;
    return ((this.#u32[entry + (TLB_ENTRY.ADDEND >> 2)] as number) + linear) >>> 0;
  }

  drop(page: number): void {
    const entry = this.#entry(page);
    this.#u32[entry + (TLB_ENTRY.READ_TAG >> 2)] = NO_TAG;
    this.#u32[entry + (TLB_ENTRY.WRITE_TAG >> 2)] = NO_TAG;
  }

  /** Takes the right to write away from every copy that leads to this place: its page now holds decoded code. */
  protect(host: number): void {
    const u32 = this.#u32;
    const end = (FAST_TLB >> 2) + (FAST_TLB_ENTRIES << (FAST_TLB_ENTRY_SHIFT - 2));
    for (let entry = FAST_TLB >> 2; entry < end; entry += 1 << (FAST_TLB_ENTRY_SHIFT - 2)) {
      const tag = u32[entry + (TLB_ENTRY.WRITE_TAG >> 2)] as number;
      const linear = (tag & ~0xfff) >>> 0;
      if ((linear + (u32[entry + (TLB_ENTRY.ADDEND >> 2)] as number)) >>> 0 === host) {
        u32[entry + (TLB_ENTRY.WRITE_TAG >> 2)] = NO_TAG;
      }
    }
  }

  clear(): void {
    const start = FAST_TLB >> 2;
    this.#u32.fill(NO_TAG, start, start + (FAST_TLB_ENTRIES << (FAST_TLB_ENTRY_SHIFT - 2)));
  }

  #entry(page: number): number {
    return (FAST_TLB >> 2) + ((page & (FAST_TLB_ENTRIES - 1)) << (FAST_TLB_ENTRY_SHIFT - 2));
  }
}
