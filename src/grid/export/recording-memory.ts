import { PAGE_SIZE } from '../../arch/address.ts';
import { InputError } from '../../arch/input-error.ts';
import type { PhysicalMemory, Width } from '../../oracle/memory.ts';

const PRESENT = 0x01;
const PAGE_SIZE_BIT = 0x80;
/** Physical-address bits 51:32 in the upper half of an 8-byte entry. */
const HIGH_HALF_BITS = 0x000f_ffff;
/** Physical-address bits 39:32 in a 4-byte entry of a large page, bits 20:13 (SDM vol. 3A table 4-4). */
const PSE36_SHIFT = 13;
const PSE36_BITS = 0xff;

/** Memory that keeps note of what the oracle looks at. Throws an InputError where it looks beyond the end. */
export class RecordingMemory implements PhysicalMemory {
  readonly #memory: PhysicalMemory;
  readonly #pae: boolean;
  readonly #touched = new Set<number>();
  #addressBits = 0;

  /** @param pae whether words may be part of 8-byte entries */
  constructor(memory: PhysicalMemory, pae: boolean) {
    this.#memory = memory;
    this.#pae = pae;
  }

  /** Addresses of the pages that were read or written. */
  get touchedPages(): number[] {
    return [...this.#touched].map((frame) => frame * PAGE_SIZE);
  }

  /**
   * Physical-address bits from 32 on that any word would have set if it was part of an entry; bit 0 is bit 32.
   */
  get addressBits(): number {
    return this.#addressBits;
  }

  isRam(address: bigint): boolean {
    return this.#memory.isRam(address);
  }

  setPresent(address: bigint, present: boolean): void {
    this.#memory.setPresent(address, present);
  }

  read(address: bigint, width: Width): bigint {
    this.#check(address);
    const value = this.#memory.read(address, width);
    this.#note(address, width, value);
    return value;
  }

  write(address: bigint, width: Width, value: bigint): void {
    this.#check(address);
    this.#memory.write(address, width, value);
    this.#note(address, width, value);
  }

  #check(address: bigint): void {
    if (this.#memory.isRam(address)) return;
    throw new InputError(
      `It reaches physical address 0x${address.toString(16)}, where scenarios have no memory.`,
    );
  }

  #note(address: bigint, width: Width, value: bigint): void {
    this.#touched.add(Number(address / BigInt(PAGE_SIZE)));
    const low = Number(value & 0xffff_ffffn);
    if (width === 8) this.#note(address + 4n, 4, value >> 32n);
    else if (this.#pae && Number(address & 4n) !== 0) this.#addressBits |= low & HIGH_HALF_BITS;
    if ((low & PRESENT) !== 0 && (low & PAGE_SIZE_BIT) !== 0) {
      this.#addressBits |= (low >>> PSE36_SHIFT) & PSE36_BITS;
    }
  }
}
