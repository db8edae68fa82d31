/** Physical memory as the oracle reads and writes it: one access at a time, little-endian, widths in bytes. */
export type Width = 1 | 2 | 4 | 8;

export interface PhysicalMemory {
  /** Unsigned value of `width` bytes at a physical address. Bytes where there is no memory read as all ones. */
  read(address: bigint, width: Width): bigint;
  /** Stores the low `width` bytes of `value`. Bytes where there is no memory are dropped. */
  write(address: bigint, width: Width, value: bigint): void;
  /** Whether the byte at a physical address is memory. */
  isRam(address: bigint): boolean;
  /** Takes the 4-KByte page at `address` out of the memory, contents kept, or puts it back. */
  setPresent(address: bigint, present: boolean): void;
}

/** A range of physical addresses that is memory, in bytes. */
export interface RamRange {
  readonly base: bigint;
  readonly size: bigint;
}

const PAGE = 4096;

/** Memory that exists page by page once written; never-written RAM reads as zero. */
export class SparseMemory implements PhysicalMemory {
  readonly #ranges: readonly RamRange[];
  readonly #pages = new Map<number, Uint8Array>();
  /** Frames that are no memory for the time being. */
  readonly #absent = new Set<number>();

  /** @param ranges where there is RAM; everything else is open bus */
  constructor(ranges: readonly RamRange[]) {
    this.#ranges = ranges;
  }

  setPresent(address: bigint, present: boolean): void {
    const frame = Math.floor(Number(address) / PAGE);
    if (present) this.#absent.delete(frame);
    else this.#absent.add(frame);
  }

  isRam(address: bigint): boolean {
    if (this.#absent.size > 0 && this.#absent.has(Math.floor(Number(address) / PAGE))) return false;
    return this.#ranges.some(({ base, size }) => address >= base && address < base + size);
  }

  read(address: bigint, width: Width): bigint {
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#readByte(address + BigInt(i)));
    return value;
  }

  write(address: bigint, width: Width, value: bigint): void {
    for (let i = 0n; i < width; i++) this.#writeByte(address + i, Number((value >> (8n * i)) & 0xffn));
  }

  /** Forgets all contents. */
  clear(): void {
    this.#pages.clear();
  }

  #readByte(address: bigint): number {
    if (!this.isRam(address)) return 0xff;
    const place = Number(address);
    return this.#pages.get(Math.floor(place / PAGE))?.[place % PAGE] ?? 0;
  }

  #writeByte(address: bigint, value: number): void {
    if (!this.isRam(address)) return;
    const place = Number(address);
    const frame = Math.floor(place / PAGE);
    let page = this.#pages.get(frame);
    if (page === undefined) this.#pages.set(frame, (page = new Uint8Array(PAGE)));
    page[place % PAGE] = value;
  }
}
