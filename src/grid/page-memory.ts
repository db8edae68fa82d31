import { PAGE_SIZE } from '../arch/address.ts';
import { InputError } from '../arch/input-error.ts';
import type { Segment } from '../guest/elf.ts';
import type { PhysicalMemory, Width } from '../oracle/memory.ts';

/** Memory that a scenario must leave alone, or the agents could not go on. */
export interface Reserved {
  /** First address behind the agents' own memory, which begins at 0. */
  readonly below: number;
  /** Addresses of further 4-byte words. */
  readonly words: ReadonlySet<number>;
}

const NOTHING_RESERVED: Reserved = { below: 0, words: new Set() };

/** Physical memory for the oracle, filled from an image's segments a page at a time. RAM is 0 to `size`. */
export class PageMemory implements PhysicalMemory {
  readonly #size: bigint;
  readonly #pages = new Map<number, DataView>();
  /** Frames that are no memory for the time being. */
  readonly #absent = new Set<number>();
  /** Frames whose bytes are the segment's own until somebody writes: most never are written. */
  readonly #borrowed = new Set<number>();
  readonly #reserved: Reserved;

  /** @param size bytes of RAM */
  constructor(size: number, segments: readonly Segment[], reserved = NOTHING_RESERVED) {
    this.#size = BigInt(size);
    this.#reserved = reserved;
    for (const { address, bytes } of segments) {
      for (let offset = 0; offset < bytes.length; ) {
        const place = (address + offset) % PAGE_SIZE;
        const count = Math.min(PAGE_SIZE - place, bytes.length - offset);
        const frame = (address + offset - place) / PAGE_SIZE;
        if (count === PAGE_SIZE && !this.#pages.has(frame)) {
          this.#pages.set(frame, new DataView(bytes.buffer, bytes.byteOffset + offset, PAGE_SIZE));
          this.#borrowed.add(frame);
        } else {
          const page = this.#pageAt(address + offset);
          new Uint8Array(page.buffer).set(bytes.subarray(offset, offset + count), place);
        }
        offset += count;
      }
    }
  }

  setPresent(address: bigint, present: boolean): void {
    const frame = Math.floor(Number(address) / PAGE_SIZE);
    if (present) this.#absent.delete(frame);
    else this.#absent.add(frame);
  }

  isRam(address: bigint): boolean {
    return address < this.#size && !this.#isAbsent(Math.floor(Number(address) / PAGE_SIZE));
  }

  #isAbsent(frame: number): boolean {
    return this.#absent.size > 0 && this.#absent.has(frame);
  }

  read(address: bigint, width: Width): bigint {
    const frame = Math.floor(Number(address) / PAGE_SIZE);
    const page = this.#pages.get(frame);
    const place = Number(address % BigInt(PAGE_SIZE));
    if (page !== undefined && !this.#isAbsent(frame) && place + width <= PAGE_SIZE) {
      if (width === 8) return page.getBigUint64(place, true);
      if (width === 4) return BigInt(page.getUint32(place, true));
    }
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#byte(address + BigInt(i)));
    return value;
  }

  /** Throws an InputError for a store over reserved memory. */
  write(address: bigint, width: Width, value: bigint): void {
    const first = Number(address);
    const { below, words } = this.#reserved;
    if (
      first < below ||
      words.has(first - (first % 4)) ||
      words.has(Math.floor((first + width - 1) / 4) * 4)
    ) {
      throw new InputError(`A store to 0x${first.toString(16)} may overwrite what the agents need there.`);
    }
    for (let i = 0; i < width; i++) {
      const at = address + BigInt(i);
      if (!this.isRam(at)) continue;
      this.#pageAt(Number(at)).setUint8(
        Number(at % BigInt(PAGE_SIZE)),
        Number((value >> BigInt(8 * i)) & 0xffn),
      );
    }
  }

  /** Memory that nobody wrote is zero; where there is none, the bus floats high. */
  #byte(address: bigint): number {
    if (!this.isRam(address)) return 0xff;
    const page = this.#pages.get(Math.floor(Number(address) / PAGE_SIZE));
    return page?.getUint8(Number(address % BigInt(PAGE_SIZE))) ?? 0;
  }

  /** The page to store to. */
  #pageAt(address: number): DataView {
    const frame = Math.floor(address / PAGE_SIZE);
    const page = this.#pages.get(frame);
    if (page !== undefined && !this.#borrowed.delete(frame)) return page;
    const own = new DataView(new ArrayBuffer(PAGE_SIZE));
    if (page !== undefined)
      new Uint8Array(own.buffer).set(new Uint8Array(page.buffer, page.byteOffset, PAGE_SIZE));
    this.#pages.set(frame, own);
    return own;
  }
}
