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

/** The blocks decoded in one physical page under one decode mode. */
class CodePage {
  /** Page offset to block number + 1. */
  readonly starts = new Uint16Array(4096);
  readonly records: number[] = [];
  /** Lines of the page that instructions were decoded from. */
  readonly lines = new Uint8Array(4096 >> LINE_SHIFT);
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
  #pages = new Map<number, CodePage>();
  #crossing = new Map<number, CrossingBlock>();
  readonly #protect: (frame: number) => void;
  readonly #joined = new Uint8Array(32);

  /**
   * @param protect called when a page gets its first block: no fast path may write to it any more
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
    this.#mark(first, frame, offset, 4096);
    this.#mark(second, secondFrame, 0, offset + length - 4096);
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
    let stale = false;
    for (let mode = 0; mode < 4; mode++) {
      const page = this.#pages.get(frame * 4 + mode);
      if (page === undefined || !this.#touches(page, offset, bytes)) continue;
      stale = true;
      for (const record of page.records) this.#u16[(record + RECORD.HANDLER) >> 1] = this.#special.stale;
      this.#pages.delete(frame * 4 + mode);
    }
    if (stale) {
      for (const [key, block] of this.#crossing) {
        if (block.secondFrame === frame || Math.floor(key / 16384) === frame) this.#crossing.delete(key);
      }
      if (![0, 1, 2, 3].some((mode) => this.#pages.has(frame * 4 + mode)))
        this.#physical.codePages[frame] = 0;
    }
    return stale;
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
    for (const key of this.#pages.keys()) this.#physical.codePages[key >>> 2] = 0;
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
    const key = frame * 4 + mode;
    let page = this.#pages.get(key);
    if (page === undefined) {
      page = new CodePage();
      this.#pages.set(key, page);
      this.#physical.codePages[frame] = 1;
      this.#protect(frame);
    }
    return page;
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
    this.#mark(page, frame, start, offset);
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

  #mark(page: CodePage, frame: number, from: number, to: number): void {
    page.lines.fill(1, from >> LINE_SHIFT, ((to - 1) >> LINE_SHIFT) + 1);
    this.#physical.codePages[frame] = 1;
  }

  #touches(page: CodePage, offset: number, bytes: number): boolean {
    for (let line = offset >> LINE_SHIFT; line <= (offset + bytes - 1) >> LINE_SHIFT; line++) {
      if (page.lines[line] !== 0) return true;
    }
    return false;
  }
}
