import { DECODE_MODE, type Decoder, INCOMPLETE } from './decode/decoder.ts';
import type { SpecialSlots } from './interpreter/core.ts';
import {
  CODE_CONTEXT,
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  JUMP_ENTRY,
  RECORD,
  RECORD_ARENA,
  RECORD_SIZE,
  UNCACHED_RECORD,
} from './layout.ts';
import type { PhysicalMemory } from './physical-memory.ts';

/** Instructions in a block, at most. */
const BLOCK_LIMIT = 32;
/** Writes are compared with what was decoded in units of 64 bytes. */
const LINE_SHIFT = 6;
/** Writes that a page without blocks sees before nobody watches it any more: code that modifies itself comes back. */
const PATIENCE = 16;

/** The blocks decoded in one physical page under one decode mode. */
class CodePage {
  /** Page offset to block number + 1. */
  readonly starts = new Uint16Array(4096);
  readonly records: number[] = [];
  /** Keys of the instructions that lie in this page and another. */
  readonly crossing: number[] = [];
  /** Lines of the page that instructions were decoded from. */
  readonly lines = new Uint8Array(4096 >> LINE_SHIFT);
}

/** A page as writes see it. */
class WatchedPage {
  /** By decode mode. */
  readonly modes: (CodePage | undefined)[] = [undefined, undefined, undefined, undefined];
  /** Writes since it lost its last block. */
  idleWrites = 0;
}

/** An instruction that lies in two pages: a block of its own, true for this pair only. */
interface CrossingBlock {
  readonly record: number;
  readonly secondFrame: number;
}

/**
 * Decoded blocks, by physical page and decode mode. A page with blocks is write-watched: a write to a line that was
 * decoded makes its blocks stale, and whoever comes to a stale block looks the address up again.
 */
export class CodeCache {
  readonly #physical: PhysicalMemory;
  readonly #decoder: Decoder;
  readonly #special: SpecialSlots;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  readonly #arenaEnd: number;
  #next = RECORD_ARENA;
  #pages = new Map<number, WatchedPage>();
  #crossing = new Map<number, CrossingBlock>();
  readonly #protect: (frame: number) => void;
  readonly #joined = new Uint8Array(32);

  /**
   * @param protect called when a page is going to be watched: no fast path may write to it any more
   */
  constructor(
    buffer: ArrayBuffer,
    arenaEnd: number,
    physical: PhysicalMemory,
    decoder: Decoder,
    special: SpecialSlots,
    protect: (frame: number) => void,
  ) {
    this.#u8 = new Uint8Array(buffer);
    this.#u16 = new Uint16Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.#i32 = new Int32Array(buffer);
    this.#arenaEnd = arenaEnd;
    this.#physical = physical;
    this.#decoder = decoder;
    this.#special = special;
    this.#protect = protect;
  }

  /**
   * The block at an offset of a RAM page, decoded if need be; 0 if its first instruction runs into the next page.
   *
   * @param limit bytes from `offset` that the code segment allows, at least 1
   */
  block(frame: number, offset: number, mode: number, limit: number): number {
    const page = this.#page(frame, mode);
    const known = page.starts[offset] as number;
    if (known !== 0 && limit >= 4096) return page.records[known - 1] as number;
    return this.#decodeBlock(page, frame, offset, mode, Math.min(4096, offset + limit));
  }

  /** The one-instruction block that starts in `frame` and ends in `secondFrame`; 0 if `limit` bytes do not hold it. */
  crossingBlock(frame: number, offset: number, secondFrame: number, mode: number, limit: number): number {
    const key = (frame * 4096 + offset) * 4 + mode;
    const known = this.#crossing.get(key);
    if (known?.secondFrame === secondFrame && limit >= 32) return known.record;
    const first = this.#page(frame, mode);
    const second = this.#page(secondFrame, mode);
    const head = 4096 - offset;
    this.#joined.set(this.#physical.u8.subarray(frame * 4096 + offset, frame * 4096 + 4096));
    this.#joined.set(this.#physical.u8.subarray(secondFrame * 4096, secondFrame * 4096 + 32 - head), head);
    const record = this.#allocate(2);
    const length = this.#decoder.decode(this.#joined, 0, Math.min(32, limit), offset, mode, record);
    if (length === INCOMPLETE) return 0;
    this.#u8[record + RECORD.REMAINING] = 1;
    this.#setFrame(record, 1, frame);
    if (!this.#decoder.ends) this.#chain(record + RECORD_SIZE, offset + length, false, 0);
    this.#keep(record + RECORD_SIZE * 2);
    this.#crossing.set(key, { record, secondFrame });
    this.#mark(first, offset, 4096);
    this.#mark(second, 0, offset + length - 4096);
    first.crossing.push(key);
    second.crossing.push(key);
    // Reached by a start in neither page, so that only a lookup that knows both frames finds it.
    first.records.push(record);
    second.records.push(record);
    return record;
  }

  /** A one-instruction block from bytes that no cache may keep; 0 if `count` bytes do not hold it. */
  uncachedBlock(bytes: Uint8Array, count: number, offset: number, mode: number): number {
    const length = this.#decoder.decode(bytes, 0, count, offset, mode, UNCACHED_RECORD);
    if (length === INCOMPLETE) return 0;
    this.#u8[UNCACHED_RECORD + RECORD.REMAINING] = 1;
    if (this.#i32[(UNCACHED_RECORD + RECORD.LINK) >> 2] === 0)
      this.#i32[(UNCACHED_RECORD + RECORD.LINK) >> 2] = -1;
    if (!this.#decoder.ends) this.#chain(UNCACHED_RECORD + RECORD_SIZE, offset + length, false, 0);
    return UNCACHED_RECORD;
  }

  /** Ends a shortened block: EIP becomes that of the instruction that does not fit the slice any more. */
  endOfSlice(record: number, offset: number): void {
    this.#chain(record, offset, false, 0);
  }

  /** A RAM page was written. Returns true if blocks became stale. */
  written(frame: number, offset: number, bytes: number): boolean {
    const watched = this.#pages.get(frame);
    if (watched === undefined) return false;
    let stale = false;
    let inUse = false;
    for (const page of watched.modes) {
      if (page === undefined || page.records.length === 0) continue;
      if (this.#touches(page, offset, bytes)) {
        this.#makeStale(page);
        stale = true;
      } else inUse = true;
    }
    if (!stale && !inUse && ++watched.idleWrites > PATIENCE) {
      this.#pages.delete(frame);
      this.#physical.codePages[frame] = 0;
    }
    return stale;
  }

  /** The page stays watched: watching it anew takes a look at all of the fast TLB. */
  #makeStale(page: CodePage): void {
    for (const record of page.records) {
      this.#u16[(record + RECORD.HANDLER) >> 1] = this.#special.stale;
      page.starts[this.#u16[(record + RECORD.OFFSET) >> 1] as number] = 0;
    }
    for (const key of page.crossing) this.#crossing.delete(key);
    page.records.length = 0;
    page.crossing.length = 0;
    page.lines.fill(0);
  }

  /** Notes a block for its EIP and the current context; without one, EIP alone does not say which code it is. */
  remember(eip: number, record: number): void {
    if (this.#i32[CODE_CONTEXT >> 2] === -1) return;
    const entry = (JUMP_CACHE + ((eip ^ (eip >>> 12)) & (JUMP_CACHE_ENTRIES - 1)) * JUMP_ENTRY.SIZE) >> 2;
    this.#u32[entry + (JUMP_ENTRY.EIP >> 2)] = eip;
    this.#u32[entry + (JUMP_ENTRY.CONTEXT >> 2)] = this.#u32[CODE_CONTEXT >> 2] as number;
    this.#u32[entry + (JUMP_ENTRY.RECORD >> 2)] = record;
  }

  /** Forgets every block. Nothing may be running. */
  clear(): void {
    for (const frame of this.#pages.keys()) this.#physical.codePages[frame] = 0;
    this.#pages = new Map();
    this.#crossing = new Map();
    this.#next = RECORD_ARENA;
    this.clearJumps();
  }

  clearJumps(): void {
    // Context -1 is what the jump cache must never match.
    const start = JUMP_CACHE >> 2;
    this.#i32.fill(-2, start, start + (JUMP_CACHE_ENTRIES * JUMP_ENTRY.SIZE) / 4);
  }

  /** True when decoding the largest block might not find room: time to `clear`. */
  get full(): boolean {
    return this.#next + (BLOCK_LIMIT + 2) * RECORD_SIZE * 2 > this.#arenaEnd;
  }

  #page(frame: number, mode: number): CodePage {
    let watched = this.#pages.get(frame);
    if (watched === undefined) {
      watched = new WatchedPage();
      this.#pages.set(frame, watched);
      this.#physical.codePages[frame] = 1;
      this.#protect(frame);
    }
    watched.idleWrites = 0;
    return (watched.modes[mode] ??= new CodePage());
  }

  #decodeBlock(page: CodePage, frame: number, start: number, mode: number, end: number): number {
    const bytes = this.#physical.u8;
    const base = frame * 4096;
    const first = this.#allocate(BLOCK_LIMIT + 1);
    let record = first;
    let offset = start;
    let count = 0;
    let open = true;
    while (open && count < BLOCK_LIMIT && offset < end) {
      const length = this.#decoder.decode(bytes, base + offset, base + end, offset, mode, record);
      if (length === INCOMPLETE) break;
      open = !this.#decoder.ends;
      offset += length;
      record += RECORD_SIZE;
      count++;
    }
    if (count === 0) return 0;
    if (open) {
      this.#chain(record, offset, (mode & DECODE_MODE.FLAT) !== 0 && offset < 4096, frame);
      record += RECORD_SIZE;
    }
    for (let place = 0; place < count; place++)
      this.#u8[first + place * RECORD_SIZE + RECORD.REMAINING] = count - place;
    this.#setFrame(first, count, frame);
    this.#keep(record);
    this.#mark(page, start, offset);
    page.starts[start] = page.records.push(first);
    return first;
  }

  /** Branches that may be linked remember their own frame: a link must not leave it. */
  #setFrame(first: number, count: number, frame: number): void {
    for (let record = first; record < first + count * RECORD_SIZE; record += RECORD_SIZE) {
      if (this.#i32[(record + RECORD.LINK) >> 2] === 0)
        this.#i32[(record + RECORD.DISPLACEMENT) >> 2] = frame;
    }
  }

  /** The record behind a block that no branch ended: a branch to what follows. */
  #chain(record: number, offset: number, linkable: boolean, frame: number): void {
    this.#u8.fill(0, record, record + RECORD_SIZE);
    this.#u16[(record + RECORD.HANDLER) >> 1] = this.#special.chain;
    this.#u16[(record + RECORD.OFFSET) >> 1] = offset;
    this.#i32[(record + RECORD.IMMEDIATE) >> 2] = offset;
    this.#i32[(record + RECORD.LINK) >> 2] = linkable ? 0 : -1;
    this.#i32[(record + RECORD.DISPLACEMENT) >> 2] = frame;
  }

  #allocate(records: number): number {
    if (this.#next + records * RECORD_SIZE > this.#arenaEnd) throw new Error('the record arena is full');
    return this.#next;
  }

  #keep(end: number): void {
    this.#next = end;
  }

  #mark(page: CodePage, from: number, to: number): void {
    page.lines.fill(1, from >> LINE_SHIFT, ((to - 1) >> LINE_SHIFT) + 1);
  }

  #touches(page: CodePage, offset: number, bytes: number): boolean {
    for (let line = offset >> LINE_SHIFT; line <= (offset + bytes - 1) >> LINE_SHIFT; line++) {
      if (page.lines[line] !== 0) return true;
    }
    return false;
  }
}
