import { type CpuModel, pagingFeaturesOf } from '../arch/cpu-models.ts';
import { VECTOR } from '../arch/exceptions.ts';
import { patIndexOf } from '../arch/memory-types.ts';
import { ENTRY, type PagingFormat, RIGHTS } from '../arch/paging/format.ts';
import { paeFormat, pdpteIndex } from '../arch/paging/pae.ts';
import { ACCESS, accessAllowed, PAGING_CONTROL, pagingControl } from '../arch/paging/permissions.ts';
import { twoLevelFormat } from '../arch/paging/two-level.ts';
import { translate, WALK, WalkResult } from '../arch/paging/walker.ts';
import { CR0, CR4, EFER, EFLAGS } from '../arch/registers.ts';
import { A20Gate, NestedEntries, PhysicalEntries } from './entry-memory.ts';
import type { GuestException } from './guest-exception.ts';
import { SYSTEM, TLB_TAG } from './layout.ts';
import type { LinearMemory } from './linear-memory.ts';
import { NestedStage } from './nested-stage.ts';
import type { PhysicalMemory } from './physical-memory.ts';
import type { CpuState } from './state.ts';
import { FastTlb, INVALIDATED, TLB_FLAG, Tlb } from './tlb.ts';

/** What #AC looks at: words, doublewords and quadwords (SDM vol. 3A table 6-7); images have rules of their own. */
const isMisaligned = (linear: number, size: number): boolean => size <= 8 && (linear & (size - 1)) !== 0;

/**
 * What the TLB keeps for memory types with a translation through two stages: the index of the guest's PAT field in bits 2:0,
 * or UNPAGED, and that of the host's.
 */
export const CACHING = { INDEX: 7, HOST_SHIFT: 3, NESTED: 0x40, UNPAGED: 0x80 } as const;

/** Contexts that fit above the access class in the twelve low bits of a fast-TLB tag; the last is never used. */
const CONTEXTS = 1023;
const NO_CONTEXT = -1;

/** Who accesses: the low two bits of a fast-TLB tag. */
const ACCESS_CLASS = { SUPERVISOR: 0, USER: 1, SUPERVISOR_AC: 2, ALWAYS_SLOW: 3 } as const;

/**
 * Linear memory through paging and the TLB: SDM vol. 3A chapter 4. Two levels of caching: `Tlb` is the
 * architectural one; `FastTlb` holds what interpreted code may do without asking.
 */
export class PagedMemory implements LinearMemory {
  readonly tlb: Tlb;
  readonly #fast: FastTlb;
  readonly #state: CpuState;
  readonly #physical: PhysicalMemory;
  readonly #model: CpuModel;
  readonly #exception: GuestException;
  readonly #a20 = new A20Gate();
  readonly #entries: PhysicalEntries;
  readonly #nested: NestedStage;
  readonly #nestedEntries: NestedEntries;
  readonly #walk = new WalkResult();
  readonly #contexts: Int32Array;
  readonly #codeContexts: Int32Array;
  #nextContext = 0;
  #nextCodeContext = 0;
  #asid = 0;
  #format: PagingFormat | undefined;
  /** Linear addresses are not physical ones: paging or nested paging is on. */
  #translates = false;
  #control = 0;
  #a20Open = true;
  #ignoresA20 = false;
  #watched = false;
  /** Called when `codeContext` changed by itself, in the middle of an access. */
  onCodeLost: () => void = () => {};
  /** Called with the linear address, size and whether it is a write, for every data access while `watch` is on. */
  onWatched: (linear: number, size: number, write: boolean) => void = () => {};

  constructor(state: CpuState, physical: PhysicalMemory, model: CpuModel, exception: GuestException) {
    const asids = Math.max(model.asidCount, 1);
    this.tlb = new Tlb(asids, (asid) => this.#codeLost(asid));
    this.#fast = new FastTlb(state.u32);
    this.#state = state;
    this.#physical = physical;
    this.#model = model;
    this.#exception = exception;
    this.#entries = new PhysicalEntries(physical, this.#a20);
    this.#nested = new NestedStage(this.#entries);
    this.#nestedEntries = new NestedEntries(this.#entries, this.#nested);
    this.#contexts = new Int32Array(asids).fill(NO_CONTEXT);
    this.#codeContexts = new Int32Array(asids);
    this.modeChanged();
  }

  get asid(): number {
    return this.#asid;
  }
  /** Changes whenever code that was found by its linear address must be looked for again. */
  get codeContext(): number {
    return this.#codeContexts[this.#asid] as number;
  }
  get pagingEnabled(): boolean {
    return this.#format !== undefined;
  }

  /** CR0, CR4 or EFER changed: takes them over. Flushes nothing but the copies. */
  modeChanged(): void {
    this.switchAsid(this.#asid, false);
  }

  /** Goes on with another ASID's translations under the registers' present values, with its copies if `keep`. */
  switchAsid(asid: number, keep: boolean): void {
    const { cr0, cr4, efer } = this.#state;
    this.#asid = asid;
    const nested = this.#nested.active;
    const paging = (cr0 & CR0.PG) !== 0;
    this.#format = paging ? this.#formatFor(cr4, efer, nested) : undefined;
    this.#translates = paging || nested;
    this.#control = paging ? pagingControl(cr0, cr4, efer, 0) : 0;
    if (!keep || this.#contexts[asid] === NO_CONTEXT) this.dropCopies();
  }

  /**
   * VMRUN with NP_ENABLE: from here on physical addresses are a guest's, which the tables at `nCr3` translate in the format
   * of the host's CR4 and EFER (APM vol. 2 15.25.3). Counts from the next `switchAsid`, as does `leaveNested`.
   */
  enterNested(nCr3: number, hostCr4: number, hostEfer: number): void {
    this.#nested.enter(this.#formatFor(hostCr4, hostEfer, true), nCr3, hostCr4, hostEfer);
  }
  leaveNested(): void {
    this.#nested.leave();
  }
  /** Nested paging is on: PDPTEs are no registers, each walk reads them (APM vol. 2 15.25.10). */
  get isNested(): boolean {
    return this.#nested.active;
  }

  readonly #formats = new Map<number, PagingFormat>();

  #formatFor(cr4: number, efer: number, pdptesInMemory: boolean): PagingFormat {
    const key = (cr4 & (CR4.PSE | CR4.PAE)) | (efer & EFER.NXE) | (pdptesInMemory ? 1 : 0);
    let format = this.#formats.get(key);
    if (format === undefined) {
      const features = pagingFeaturesOf(this.#model, (efer & EFER.NXE) !== 0);
      format =
        (cr4 & CR4.PAE) !== 0
          ? paeFormat(features, pdptesInMemory)
          : twoLevelFormat((cr4 & CR4.PSE) !== 0, features);
      this.#formats.set(key, format);
    }
    return format;
  }

  /** New contexts: nothing in the fast TLB and the jump cache belongs to this ASID any more. */
  dropCopies(): void {
    if (this.#nextContext >= CONTEXTS) {
      this.#fast.clear();
      this.#contexts.fill(NO_CONTEXT);
      this.#nextContext = 0;
    }
    this.#contexts[this.#asid] = this.#nextContext++;
    this.#codeContexts[this.#asid] = this.#freshCodeContext();
  }

  /** Forgets the copies of every ASID. One without a context gets new ones when it is switched to. */
  dropAllCopies(): void {
    this.#fast.clear();
    this.#contexts.fill(NO_CONTEXT);
    this.#nextContext = 0;
    this.dropCopies();
  }

  /** Takes CPL, EFLAGS.AC and watching over into the tag that interpreted accesses must match. */
  setAccessClass(user: boolean, eflags: number): void {
    const alignmentChecked = user && (eflags & EFLAGS.AC) !== 0 && (this.#state.cr0 & CR0.AM) !== 0;
    const ac = (eflags & EFLAGS.AC) !== 0;
    const kind =
      alignmentChecked || this.#watched
        ? ACCESS_CLASS.ALWAYS_SLOW
        : user
          ? ACCESS_CLASS.USER
          : ac
            ? ACCESS_CLASS.SUPERVISOR_AC
            : ACCESS_CLASS.SUPERVISOR;
    this.#control = ac ? this.#control | PAGING_CONTROL.AC : this.#control & ~PAGING_CONTROL.AC;
    this.#alignmentChecked = alignmentChecked;
    this.#class = kind;
    this.#state.u32[TLB_TAG >> 2] = ((this.#contexts[this.#asid] as number) << 2) | kind;
  }
  #class: number = ACCESS_CLASS.SUPERVISOR;
  #alignmentChecked = false;

  /** While on, every data access takes the slow path and is reported. */
  set watch(on: boolean) {
    this.#watched = on;
  }

  /** A20 gate: closed, physical address bit 20 reads as zero. */
  set a20(open: boolean) {
    this.#a20Open = open;
    this.#followA20();
  }

  /** VM_CR.DIS_A20M: the gate has no effect (APM vol. 2 15.30.1). */
  set ignoresA20(ignores: boolean) {
    if (ignores === this.#ignoresA20) return;
    this.#ignoresA20 = ignores;
    this.#followA20();
  }

  /** Where a physical address leads behind the A20 gate. */
  behindA20(address: number): number {
    return this.#a20.pass(address);
  }

  #followA20(): void {
    this.#a20.open = this.#a20Open || this.#ignoresA20;
    this.tlb.flushEverything();
    this.dropAllCopies();
  }

  /** INVLPG and INVLPGA: the page's translation under an ASID, global or not. */
  invalidatePage(linear: number, asid: number): void {
    const page = linear >>> 12;
    const what = this.tlb.invalidatePage(page, asid);
    this.#fast.drop(page);
    if (what === INVALIDATED.PAGE) return;
    if (what === INVALIDATED.CODE) this.#codeContexts[asid] = this.#freshCodeContext();
    else if (asid === this.#asid) this.dropCopies();
    else this.#contexts[asid] = NO_CONTEXT;
  }

  #codeLost(asid: number): void {
    this.#codeContexts[asid] = this.#freshCodeContext();
    if (asid === this.#asid) this.onCodeLost();
  }

  #freshCodeContext(): number {
    this.#nextCodeContext = (this.#nextCodeContext + 1) & 0xff_ffff;
    return this.#nextCodeContext;
  }

  /** A page of RAM got its first decoded instruction. */
  protect(frame: number): void {
    this.#fast.protect((this.#physical.hostBase + frame * 4096) >>> 0);
  }

  /**
   * System-physical address for an access within one page, or -1 after filling in the exception. Sets A and D bits as
   * the access demands.
   */
  translate(linear: number, access: number): number {
    if (!this.#translates) return this.#a20.pass(linear);
    const page = linear >>> 12;
    let entry = this.tlb.find(page, this.#asid);
    if (entry >= 0) {
      const flags = this.tlb.flags(entry);
      const usable =
        ((access & ACCESS.WRITE) === 0 || (flags & TLB_FLAG.DIRTY) !== 0) &&
        ((access & ACCESS.FETCH) === 0 || (flags & TLB_FLAG.NO_FETCH) === 0);
      if (usable && accessAllowed(flags & 7, access, this.#control))
        return this.#physicalOf(entry, linear, access);
      // A fault found in the TLB is confirmed by a walk: an entry may be stricter than the tables are by now.
      this.tlb.drop(entry);
      this.#fast.drop(page);
    }
    entry = this.#nested.active
      ? this.#walkBothStages(page, linear, access)
      : this.#walkAndInsert(page, linear, access);
    return entry < 0 ? -1 : this.#physicalOf(entry, linear, access);
  }

  #physicalOf(entry: number, linear: number, access: number): number {
    if ((access & ACCESS.FETCH) !== 0) this.tlb.addFlags(entry, TLB_FLAG.EXECUTED);
    return this.tlb.frame(entry) * 4096 + (linear & 0xfff);
  }

  #walkAndInsert(page: number, linear: number, access: number): number {
    const format = this.#format as PagingFormat;
    const walk = this.#walk;
    let rootLo = this.#state.cr3;
    let rootHi = 0;
    if (format.rootIsEntry) {
      const place = (SYSTEM.PDPTES >> 2) + pdpteIndex(page) * 2;
      rootLo = this.#state.u32[place] as number;
      rootHi = this.#state.u32[place + 1] as number;
    }
    const status = translate(format, rootLo, rootHi, page, access, this.#control, this.#entries, walk);
    if (status !== WALK.OK) {
      this.#pageFault(linear, walk.errorCode);
      return -1;
    }
    const frame = this.#a20.pass(walk.frame * 4096) / 4096;
    return this.tlb.insert(page, this.#asid, frame, this.#flagsOfWalk());
  }

  /** Under nested paging entries are linear to system-physical: the guest's rights, and what the second stage takes away. */
  #walkBothStages(page: number, linear: number, access: number): number {
    const nested = this.#nested;
    const format = this.#format;
    const walk = this.#walk;
    let frame = page;
    if (format !== undefined) {
      if (!this.#walkGuestTables(format, linear, access)) return -1;
      frame = walk.frame;
    }
    const address = nested.translate(frame * 4096 + (linear & 0xfff), access);
    if (address < 0) {
      this.#exception.setNestedPageFault(nested.address, nested.errorCode, false);
      return -1;
    }
    const paged = format !== undefined;
    let flags = paged ? this.#flagsOfWalk() : RIGHTS.ALL | TLB_FLAG.DIRTY;
    if (!nested.dirty) flags &= ~TLB_FLAG.DIRTY;
    if (!nested.executable) flags |= TLB_FLAG.NO_FETCH;
    const entry = this.tlb.insert(page, this.#asid, Math.floor(this.#a20.pass(address) / 4096), flags);
    const own = paged ? patIndexOf(walk.entryLo[walk.level] as number, walk.pageShift > 12) : CACHING.UNPAGED;
    this.tlb.setCaching(entry, CACHING.NESTED | (nested.patIndex << CACHING.HOST_SHIFT) | own);
    return entry;
  }

  /** False after filling in the exception: the guest's page fault, or a nested one. */
  #walkGuestTables(format: PagingFormat, linear: number, access: number): boolean {
    const { cr3 } = this.#state;
    const walk = this.#walk;
    const status = translate(format, cr3, 0, linear >>> 12, access, this.#control, this.#nestedEntries, walk);
    if (status === WALK.OK) return true;
    const { address, errorCode } = this.#nested;
    if (status !== WALK.TABLE_ABSENT) this.#pageFault(linear, walk.errorCode);
    else this.#exception.setNestedPageFault(address, errorCode, true);
    return false;
  }

  /** TLB_FLAG of the page that the tables of CR3 map. */
  #flagsOfWalk(): number {
    const walk = this.#walk;
    const leaf = walk.entryLo[walk.level] as number;
    const global = (leaf & ENTRY.G) !== 0 && (this.#state.cr4 & CR4.PGE) !== 0;
    return (
      walk.rights |
      ((leaf & ENTRY.D) !== 0 ? TLB_FLAG.DIRTY : 0) |
      (global ? TLB_FLAG.GLOBAL : 0) |
      (walk.pageShift > 12 ? TLB_FLAG.LARGE : 0)
    );
  }

  /** What the TLB knows of a linear page under the present ASID, for inspection: `CACHING`, and where the page leads. */
  cachedPage(linear: number): { readonly caching: number; readonly address: number } | undefined {
    const entry = this.#translates ? this.tlb.find(linear >>> 12, this.#asid) : -1;
    if (entry < 0) return undefined;
    return { caching: this.tlb.caching(entry), address: this.tlb.frame(entry) * 4096 };
  }

  #pageFault(linear: number, errorCode: number): void {
    this.#exception.vector = VECTOR.PF;
    this.#exception.errorCode = errorCode;
    this.#exception.linear = linear >>> 0;
  }

  /** Lets interpreted code access this page by itself from now on, as far as its rights go. */
  fill(linear: number, user: boolean): void {
    if (this.#class === ACCESS_CLASS.ALWAYS_SLOW) return;
    const page = linear >>> 12;
    let frame = this.#a20.pass(page * 4096) / 4096;
    let readable = true;
    let writable = true;
    if (this.#translates) {
      const entry = this.tlb.find(page, this.#asid);
      if (entry < 0) return;
      const flags = this.tlb.flags(entry);
      const mode = user ? ACCESS.USER : 0;
      frame = this.tlb.frame(entry);
      readable = accessAllowed(flags & 7, mode, this.#control);
      writable =
        (flags & TLB_FLAG.DIRTY) !== 0 && accessAllowed(flags & 7, mode | ACCESS.WRITE, this.#control);
    }
    if (!this.#physical.isRam(frame)) return;
    if (this.#physical.codePages[frame] !== 0) writable = false;
    if (writable) this.#physical.touch(frame);
    const host = this.#physical.hostBase + frame * 4096;
    this.#fast.fill(page, this.#state.u32[TLB_TAG >> 2] as number, host, readable, writable);
  }

  /**
   * Where in RAM an explicit access within one page goes, as an offset in `PhysicalMemory.u8` that holds for the whole
   * page. -1 if it faults, goes to a device or has to be looked at by itself: then `read` or `write` decides.
   */
  ramOffset(linear: number, access: number): number {
    if (this.#class === ACCESS_CLASS.ALWAYS_SLOW) return -1;
    const tag = this.#state.u32[TLB_TAG >> 2] as number;
    const host = this.#fast.host(linear, tag, (access & ACCESS.WRITE) !== 0);
    if (host >= 0) return host - this.#physical.hostBase;
    const address = this.translate(linear, access);
    if (address < 0 || !this.#physical.isRam(Math.floor(address / 4096))) return -1;
    this.fill(linear, (access & ACCESS.USER) !== 0);
    return address;
  }

  allows(linear: number, size: number, access: number): boolean {
    if (this.#alignmentChecked && (access & ACCESS.USER) !== 0 && isMisaligned(linear, size)) {
      this.#exception.vector = VECTOR.AC;
      this.#exception.errorCode = 0;
      return false;
    }
    if (this.translate(linear, access) < 0) return false;
    const last = (linear + size - 1) >>> 0;
    return last >>> 12 === linear >>> 12 || this.translate((last & ~0xfff) >>> 0, access) >= 0;
  }

  check(linear: number, size: number, access: number): void {
    if (!this.allows(linear, size, access)) throw this.#exception;
  }

  read(linear: number, size: 1 | 2 | 4, access: number): number {
    if ((linear & 0xfff) + size > 4096) return this.#readAcross(linear, size, access);
    if (this.#alignmentChecked) this.check(linear, size, access);
    const address = this.translate(linear, access);
    if (address < 0) throw this.#exception;
    if (this.#watched) this.onWatched(linear, size, false);
    return this.#physical.read(address, size);
  }

  write(linear: number, size: 1 | 2 | 4, value: number, access: number): void {
    if ((linear & 0xfff) + size > 4096) {
      this.#writeAcross(linear, size, value, access);
      return;
    }
    if (this.#alignmentChecked) this.check(linear, size, access | ACCESS.WRITE);
    const address = this.translate(linear, access | ACCESS.WRITE);
    if (address < 0) throw this.#exception;
    if (this.#watched) this.onWatched(linear, size, true);
    this.#physical.write(address, size, value);
  }

  #readAcross(linear: number, size: number, access: number): number {
    this.check(linear, size, access);
    let value = 0;
    for (let byte = 0; byte < size; byte++) {
      value |= this.#physical.read8(this.translate((linear + byte) >>> 0, access)) << (byte * 8);
    }
    if (this.#watched) this.onWatched(linear, size, false);
    return value >>> 0;
  }

  #writeAcross(linear: number, size: number, value: number, access: number): void {
    this.check(linear, size, access | ACCESS.WRITE);
    for (let byte = 0; byte < size; byte++) {
      this.#physical.write8(
        this.translate((linear + byte) >>> 0, access | ACCESS.WRITE),
        (value >>> (byte * 8)) & 0xff,
      );
    }
    if (this.#watched) this.onWatched(linear, size, true);
  }
}
