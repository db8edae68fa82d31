/** Memory slots: which guest frames are RAM, and which host frames back them. */
import { type Gfn, type Gpa, gfn, hpa, PAGE_OFFSET_MASK, PAGE_SIZE } from '../arch/address.ts';
import type { HostRange } from './hardware.ts';

/** 4 KiB frames in a 2 MiB page. */
const FRAMES_PER_LARGE_PAGE = 512;

/** A run of guest frames and what the shadow MMU knows about each of them. */
export class MemorySlot {
  readonly baseGfn: Gfn;
  readonly pages: number;
  /** Host frame of the first page. */
  readonly basePfn: number;
  /** Guest stores do not reach the memory: they go to the device behind it, as to a ROM. */
  readonly readOnly: boolean;
  /** 4 KiB frames in a large page of L0's tables, which is what the slot's blocks are. */
  readonly framesPerLargePage: number;

  /** Head of the list of 4 KiB leaf SPTEs that map each frame, -1 when empty (rmap.ts). */
  readonly rmap: Int32Array;
  /** The same for 2 MiB leaf SPTEs, by block of a large page's size of guest frames. */
  readonly largeRmap: Int32Array;
  /** How many shadow pages translate the guest table in each frame. */
  readonly shadowed: Uint16Array;
  /** How many of those forbid every direct write: the upper levels, which never go unsync. */
  readonly writeTracked: Uint16Array;
  /** Reasons why each block of a large page's size cannot be mapped as a large page: a shadowed frame in it, or its shape. */
  readonly disallowLarge: Uint32Array;
  readonly #firstBlock: number;
  /** Host frames of the pages that are not where `basePfn` says, by guest frame. */
  readonly #moved = new Map<number, number>();

  constructor(baseGfn: Gfn, host: HostRange, readOnly: boolean, framesPerLargePage: number) {
    this.baseGfn = baseGfn;
    this.pages = host.size / PAGE_SIZE;
    this.basePfn = host.base / PAGE_SIZE;
    this.readOnly = readOnly;
    this.framesPerLargePage = framesPerLargePage;
    this.#firstBlock = Math.floor(baseGfn / this.framesPerLargePage);
    const lastBlock = Math.floor((baseGfn + this.pages - 1) / this.framesPerLargePage);
    const blocks = lastBlock - this.#firstBlock + 1;
    this.rmap = new Int32Array(this.pages).fill(-1);
    this.largeRmap = new Int32Array(blocks).fill(-1);
    this.shadowed = new Uint16Array(this.pages);
    this.writeTracked = new Uint16Array(this.pages);
    this.disallowLarge = new Uint32Array(blocks);
    this.#disallowRaggedBlocks(blocks);
  }

  /** A large page needs the whole block in the slot, and guest and host addresses that agree below 2 MiB. */
  #disallowRaggedBlocks(blocks: number): void {
    const offset = (this.baseGfn - this.basePfn) % this.framesPerLargePage;
    if (offset !== 0) this.disallowLarge.fill(1);
    else {
      if (this.baseGfn % this.framesPerLargePage !== 0) this.disallowLarge[0] = 1;
      if ((this.baseGfn + this.pages) % this.framesPerLargePage !== 0) this.disallowLarge[blocks - 1] = 1;
    }
  }

  contains(frame: number): boolean {
    return frame >= this.baseGfn && frame < this.baseGfn + this.pages;
  }

  /** Index into the per-frame arrays. */
  index(frame: number): number {
    return frame - this.baseGfn;
  }

  /** Index into the per-block arrays. */
  block(frame: number): number {
    return Math.floor(frame / this.framesPerLargePage) - this.#firstBlock;
  }

  pfn(frame: number): number {
    if (this.#moved.size > 0) {
      const moved = this.#moved.get(frame);
      if (moved !== undefined) return moved;
    }
    return this.basePfn + (frame - this.baseGfn);
  }

  /** Another host frame is behind a guest frame from now on; no SPTE may map it now. No large page covers it again. */
  move(frame: number, pfn: number): void {
    if (!this.#moved.has(frame)) this.disallowLarge[this.block(frame)] += 1;
    this.#moved.set(frame, pfn);
  }

  /** A slot for a run of this slot's frames, with what is behind them. */
  part(first: number, pages: number): MemorySlot {
    const base = (this.basePfn + (first - this.baseGfn)) * PAGE_SIZE;
    const part = new MemorySlot(
      gfn(first),
      { base: hpa(base), size: pages * PAGE_SIZE },
      this.readOnly,
      this.framesPerLargePage,
    );
    for (const [frame, pfn] of this.#moved) if (part.contains(frame)) part.move(frame, pfn);
    return part;
  }
}

/** The slots of a VM. Frames in no slot are devices or nothing at all. */
export class MemorySlots {
  readonly #slots: MemorySlot[] = [];
  /** Frames that a device hides, whatever slot they are in. */
  readonly #hidden = new Set<number>();
  #last: MemorySlot | undefined;
  readonly #framesPerLargePage: number;

  /** @param framesPerLargePage of L0's tables: 512 or 1024 */
  constructor(framesPerLargePage: number = FRAMES_PER_LARGE_PAGE) {
    this.#framesPerLargePage = framesPerLargePage;
  }

  [Symbol.iterator](): IterableIterator<MemorySlot> {
    return this.#slots.values();
  }

  get count(): number {
    return this.#slots.length;
  }

  /** Slot of a guest frame, if no device hides it. The last one found is tried first: accesses cluster. */
  find(frame: number): MemorySlot | undefined {
    if (this.#hidden.size !== 0 && this.#hidden.has(frame)) return undefined;
    const last = this.#last;
    if (last?.contains(frame)) return last;
    for (const slot of this.#slots) {
      if (slot.contains(frame)) {
        this.#last = slot;
        return slot;
      }
    }
    return undefined;
  }

  /** Host-physical address of a guest byte, -1 if it is in no slot. */
  hostAddress(address: number): number {
    const frame = Math.floor(address / PAGE_SIZE);
    const slot = this.find(frame);
    if (slot === undefined) return -1;
    return slot.pfn(frame) * PAGE_SIZE + (address & PAGE_OFFSET_MASK);
  }

  /** Throws RangeError where the new slot is ragged or overlaps another. */
  add(base: Gpa, host: HostRange, readOnly: boolean): MemorySlot {
    if (
      base % PAGE_SIZE !== 0 ||
      host.base % PAGE_SIZE !== 0 ||
      host.size % PAGE_SIZE !== 0 ||
      host.size <= 0
    ) {
      throw new RangeError(
        `A memory slot must start on a 4 KiB boundary in guest and host and hold whole pages; got guest ${base}, ` +
          `host ${host.base}, ${host.size} bytes.`,
      );
    }
    const first = gfn(base / PAGE_SIZE);
    const pages = host.size / PAGE_SIZE;
    for (const slot of this.#slots) {
      if (first < slot.baseGfn + slot.pages && slot.baseGfn < first + pages) {
        throw new RangeError(
          `Guest frames ${first}..${first + pages - 1} overlap the slot at ${slot.baseGfn} of ${slot.pages} pages.`,
        );
      }
    }
    const slot = new MemorySlot(first, host, readOnly, this.#framesPerLargePage);
    this.#insert(slot);
    return slot;
  }

  #insert(slot: MemorySlot): void {
    for (const frame of this.#hidden) if (slot.contains(frame)) slot.disallowLarge[slot.block(frame)] += 1;
    this.#slots.push(slot);
  }

  /** Takes one frame out of a slot: one slot or two remain of it, or none. Nothing may refer to the slot any more. */
  punch(slot: MemorySlot, frame: number): void {
    this.remove(slot);
    const before = frame - slot.baseGfn;
    const after = slot.pages - before - 1;
    if (before > 0) this.#insert(slot.part(slot.baseGfn, before));
    if (after > 0) this.#insert(slot.part(frame + 1, after));
  }

  /** Whether a device hides the frame. */
  isHidden(frame: number): boolean {
    return this.#hidden.has(frame);
  }

  /** A device comes before the frame or goes; no leaf may map it then. A large page would map what is hidden. */
  hide(frame: number, hidden: boolean): void {
    if (hidden === this.#hidden.has(frame)) return;
    if (hidden) this.#hidden.add(frame);
    else this.#hidden.delete(frame);
    for (const slot of this.#slots)
      if (slot.contains(frame)) slot.disallowLarge[slot.block(frame)] += hidden ? 1 : -1;
  }

  remove(slot: MemorySlot): void {
    const at = this.#slots.indexOf(slot);
    if (at < 0) throw new RangeError('The memory slot is not one of this VM, or was removed before.');
    this.#slots.splice(at, 1);
    if (this.#last === slot) this.#last = undefined;
  }
}
