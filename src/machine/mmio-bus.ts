/** The physical addresses that lead to device registers instead of RAM. */
import { PAGE_SIZE } from '../arch/address.ts';
import type { AccessSize, MmioDevice } from './ports.ts';

export interface MmioRegion {
  /** What error messages call it. */
  readonly name: string;
  /** Physical address in the bus's own space (hpa of the machine, gpa of a VM); a multiple of 4096. */
  readonly base: number;
  /** Bytes; a multiple of 4096. */
  readonly size: number;
  readonly device: MmioDevice;
}

/** Told that what `claims` says may be another in so many frames from the first one. */
export type MmioMoved = (firstFrame: number, frames: number) => void;

/**
 * Finds the device behind a physical page. Accesses are naturally aligned and at most 4 bytes wide: whoever calls
 * splits others. Pages that nobody claimed read as all ones and swallow writes.
 */
export class MmioBus {
  readonly #pages = new Map<number, MmioRegion>();
  readonly #core = new Map<number, MmioRegion>();
  readonly #moved: MmioMoved;

  /** @param moved called after a region came or went */
  constructor(moved: MmioMoved = () => {}) {
    this.#moved = moved;
  }

  /** @throws Error where the region is not made of whole pages or overlaps another: a fault of the machine's builder */
  map(region: MmioRegion): void {
    const pages = pagesOf(region);
    for (const page of pages) {
      const other = this.#pages.get(page);
      if (other)
        throw new Error(
          `The registers of ${region.name} overlap those of ${other.name} at ${hex(page * PAGE_SIZE)}.`,
        );
    }
    for (const page of pages) this.#pages.set(page, region);
    this.#notify(region);
  }

  /**
   * Maps a region that lies inside the processor, so that it hides whatever the bus has at these addresses: software
   * may move the local APIC anywhere (SDM vol. 3A 10.4.5).
   * @throws Error where the region is not made of whole pages
   */
  mapInCore(region: MmioRegion): void {
    for (const page of pagesOf(region)) this.#core.set(page, region);
    this.#notify(region);
  }

  /** Takes a region away again. */
  unmap(region: MmioRegion): void {
    for (const pages of [this.#core, this.#pages]) {
      for (const page of pagesOf(region)) if (pages.get(page) === region) pages.delete(page);
    }
    this.#notify(region);
  }

  #notify({ base, size }: MmioRegion): void {
    this.#moved(base / PAGE_SIZE, size / PAGE_SIZE);
  }

  /** The region that answers at a physical address, if any. */
  find(address: number): MmioRegion | undefined {
    const page = Math.floor(address / PAGE_SIZE);
    return this.#core.get(page) ?? this.#pages.get(page);
  }

  /** True if a device answers in the 4 KiB page with this frame number. */
  claims(frame: number): boolean {
    return this.#core.has(frame) || this.#pages.has(frame);
  }

  /** Reads `size` bytes; unsigned. */
  read(address: number, size: AccessSize): number {
    const region = this.find(address);
    const value = region ? region.device.readMmio(address - region.base, size) : 0xffff_ffff;
    return size === 4 ? value >>> 0 : value & (size === 2 ? 0xffff : 0xff);
  }

  /** Writes the low `size` bytes of `value`. */
  write(address: number, size: AccessSize, value: number): void {
    const region = this.find(address);
    region?.device.writeMmio(
      address - region.base,
      size,
      size === 4 ? value >>> 0 : value & (size === 2 ? 0xffff : 0xff),
    );
  }
}

function pagesOf({ name, base, size }: MmioRegion): number[] {
  if (base % PAGE_SIZE !== 0 || size % PAGE_SIZE !== 0 || size <= 0 || base < 0) {
    throw new Error(`The registers of ${name} at ${hex(base)} (${size} bytes) are not made of whole pages.`);
  }
  return Array.from({ length: size / PAGE_SIZE }, (_, index) => base / PAGE_SIZE + index);
}

const hex = (address: number): string => `0x${address.toString(16)}`;
