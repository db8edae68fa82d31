import type { PhysicalMemory } from '../physical-memory.ts';

const WORDS = 1024;
const PAGE = 4096;

/**
 * A page in the layout of the VMCB, wherever physical memory has it: the guest's VMCB, and the host save area, which is
 * kept in the same layout. Offsets are those of src/arch/vmcb.ts, in bytes; fields are read and written in 32-bit halves.
 */
export class VmcbPage {
  readonly #physical: PhysicalMemory;
  /** A page outside RAM, which devices may hold or nobody: as it is to be, and as it was when last looked at. */
  readonly #copy = new Uint32Array(WORDS);
  readonly #before = new Uint32Array(WORDS);
  #words: Uint32Array;
  #first = 0;
  #address = 0;

  constructor(physical: PhysicalMemory) {
    this.#physical = physical;
    this.#words = this.#copy;
  }

  /** Physical address of the page. */
  get address(): number {
    return this.#address;
  }

  /** @param address physical, a multiple of 4096 */
  attach(address: number): void {
    this.#address = address;
    if (this.#physical.isRam(address / PAGE)) {
      this.#physical.touch(address / PAGE);
      this.#words = this.#physical.u32;
      this.#first = address / 4;
      return;
    }
    this.#words = this.#copy;
    this.#first = 0;
    for (let word = 0; word < WORDS; word++) this.#copy[word] = this.#physical.read32(address + word * 4);
    this.#before.set(this.#copy);
  }

  /** 32 bits, unsigned; the low half of a 64-bit field. */
  read(offset: number): number {
    return this.#words[this.#first + (offset >>> 2)];
  }
  /** The high half of a 64-bit field. */
  readHigh(offset: number): number {
    return this.#words[this.#first + (offset >>> 2) + 1];
  }
  readByte(offset: number): number {
    return (this.read(offset) >>> ((offset & 3) * 8)) & 0xff;
  }

  write(offset: number, value: number): void {
    this.#words[this.#first + (offset >>> 2)] = value;
  }
  write64(offset: number, lo: number, hi: number): void {
    const word = this.#first + (offset >>> 2);
    this.#words[word] = lo;
    this.#words[word + 1] = hi;
  }
  writeByte(offset: number, value: number): void {
    const shift = (offset & 3) * 8;
    const place = offset & ~3;
    this.write(place, (this.read(place) & ~(0xff << shift)) | (value << shift));
  }

  /** To be called behind the last `write`: instructions may have been decoded from the page, or it is not RAM. */
  written(): void {
    if (this.#words === this.#copy) this.#writeOut();
    else if (this.#physical.codePages[this.#address / PAGE] !== 0)
      this.#physical.written(this.#address, PAGE);
  }

  #writeOut(): void {
    for (let word = 0; word < WORDS; word++) {
      const value = this.#copy[word];
      if (value === this.#before[word]) continue;
      this.#physical.write32(this.#address + word * 4, value);
      this.#before[word] = value;
    }
  }
}
