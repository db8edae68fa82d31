import type { Hpa } from '../arch/address.ts';
import type { CpuMemory } from './cpu-memory.ts';

/** What lies behind physical addresses that are not RAM. Naturally aligned accesses of 1, 2 or 4 bytes. */
export interface MmioBus {
  /** True if a device claims the 4 KiB page with this frame number: it hides RAM. Who moves a device tells (`coverChanged`). */
  claims(frame: number): boolean;
  read(address: Hpa, size: 1 | 2 | 4): number;
  write(address: Hpa, size: 1 | 2 | 4, value: number): void;
}

/** Physical memory without devices: reads float high, writes vanish. */
export const NO_MMIO: MmioBus = {
  claims: () => false,
  read: (_address, size) => (size === 4 ? 0xffff_ffff : (1 << (size * 8)) - 1),
  write: () => {},
};

/**
 * A single write, to a page with decoded code, that reached memory by another way than the interpreter's fast path. True
 * if it changed instructions that were decoded.
 */
type WriteObserver = (frame: number, offset: number, bytes: number) => boolean;

/**
 * The machine's physical address space: RAM from 0, devices and nothing elsewhere. Values are unsigned,
 * little-endian; accesses may have any alignment but the MMIO part is split into bytes where they cross.
 */
export class PhysicalMemory {
  readonly size: number;
  /** Byte offset of physical address 0 in the WebAssembly memory. */
  readonly hostBase: number;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  /** The same bytes for accesses of any alignment. */
  readonly view: DataView;
  /** One byte per RAM page: not zero while decoded instructions depend on it. */
  readonly codePages: Uint8Array;
  readonly #touched: Uint8Array;
  readonly #mmio: MmioBus;
  /** Pages of RAM that a device covers. */
  readonly #covered: Uint8Array;
  onCodeWrite: WriteObserver = () => false;

  constructor(memory: CpuMemory, mmio: MmioBus = NO_MMIO) {
    const { ramBase: hostBase, ramBytes: size } = memory;
    const { buffer } = memory.wasm;
    this.size = size;
    this.hostBase = hostBase;
    this.u8 = new Uint8Array(buffer, hostBase, size);
    this.u16 = new Uint16Array(buffer, hostBase, size / 2);
    this.u32 = new Uint32Array(buffer, hostBase, size / 4);
    this.view = new DataView(buffer, hostBase, size);
    this.codePages = new Uint8Array(size / 4096);
    this.#touched = memory.touched;
    this.#mmio = mmio;
    this.#covered = new Uint8Array(size / 4096);
    this.coverChanged(0, this.#covered.length);
  }

  /**
   * Devices came or went in so many frames from the first one: looks again which of them hide RAM. True if any does so
   * now that did not before, or the other way round. Instructions decoded from there are forgotten.
   */
  coverChanged(firstFrame: number, frames: number): boolean {
    const end = Math.min(firstFrame + frames, this.#covered.length);
    let changed = false;
    for (let frame = firstFrame; frame < end; frame++) {
      const covers = this.#mmio.claims(frame) ? 1 : 0;
      if (this.#covered[frame] === covers) continue;
      changed = true;
      this.#covered[frame] = covers;
      if (this.codePages[frame] !== 0) this.onCodeWrite(frame, 0, 4096);
    }
    return changed;
  }

  /** True if the 4 KiB frame is plain RAM. */
  isRam(frame: number): boolean {
    return frame < this.#covered.length && this.#covered[frame] === 0;
  }

  read8(address: number): number {
    if (address < this.size && this.#covered[Math.floor(address / 4096)] === 0)
      return this.u8[address] as number;
    return this.#mmio.read(address as Hpa, 1);
  }
  read16(address: number): number {
    if (this.#plain(address, 2)) return this.view.getUint16(address, true);
    return (address & 1) === 0
      ? this.#mmio.read(address as Hpa, 2)
      : this.read8(address) | (this.read8(address + 1) << 8);
  }
  read32(address: number): number {
    if (this.#plain(address, 4)) return this.view.getUint32(address, true);
    if ((address & 3) === 0) return this.#mmio.read(address as Hpa, 4) >>> 0;
    return (this.read16(address) | (this.read16(address + 2) << 16)) >>> 0;
  }
  read(address: number, size: number): number {
    return size === 1 ? this.read8(address) : size === 2 ? this.read16(address) : this.read32(address);
  }

  write8(address: number, value: number): void {
    if (address < this.size && this.#covered[Math.floor(address / 4096)] === 0) {
      this.u8[address] = value;
      this.#observe(address, 1);
    } else this.#mmio.write(address as Hpa, 1, value & 0xff);
  }
  write16(address: number, value: number): void {
    if (this.#plain(address, 2)) {
      this.view.setUint16(address, value, true);
      this.#observe(address, 2);
    } else if ((address & 1) === 0) this.#mmio.write(address as Hpa, 2, value & 0xffff);
    else {
      this.write8(address, value & 0xff);
      this.write8(address + 1, (value >>> 8) & 0xff);
    }
  }
  write32(address: number, value: number): void {
    if (this.#plain(address, 4)) {
      this.view.setUint32(address, value, true);
      this.#observe(address, 4);
    } else if ((address & 3) === 0) this.#mmio.write(address as Hpa, 4, value >>> 0);
    else {
      this.write16(address, value & 0xffff);
      this.write16(address + 2, value >>> 16);
    }
  }
  write(address: number, size: number, value: number): void {
    if (size === 1) this.write8(address, value);
    else if (size === 2) this.write16(address, value);
    else this.write32(address, value);
  }

  /** Copies bytes into RAM. Throws RangeError beyond its end. */
  load(address: Hpa, bytes: Uint8Array): void {
    if (address < 0 || address + bytes.length > this.size) {
      throw new RangeError(
        `${bytes.length} bytes at 0x${address.toString(16)} do not fit into ${this.size} bytes of RAM`,
      );
    }
    this.u8.set(bytes, address);
    this.written(address, bytes.length);
  }

  /** Tells that bytes changed behind the processor's back. */
  written(address: number, bytes: number): void {
    let done = 0;
    while (done < bytes) {
      const chunk = Math.min(bytes - done, 4096 - ((address + done) & 4095));
      this.#observe(address + done, chunk);
      done += chunk;
    }
  }

  /** Tells that a page of RAM may be written from now on by who does not tell each time. */
  touch(frame: number): void {
    this.#touched[frame] = 1;
  }

  /** Within one page of RAM? */
  #plain(address: number, bytes: number): boolean {
    return (
      (address & 4095) + bytes <= 4096 &&
      address < this.size &&
      this.#covered[Math.floor(address / 4096)] === 0
    );
  }

  #observe(address: number, bytes: number): void {
    const frame = Math.floor(address / 4096);
    this.#touched[frame] = 1;
    if (this.codePages[frame] !== 0) this.onCodeWrite(frame, address & 4095, bytes);
  }
}
