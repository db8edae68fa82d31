/** A VMCB in host memory: its fields by the offsets of src/arch/vmcb.ts, and what L0 does to several of them at once. */
import { type Hpa, PAGE_SIZE } from '../../arch/address.ts';
import { CLEAN, VMCB, VMCB_SEGMENT } from '../../arch/vmcb.ts';
import type { HostMemory } from '../hardware.ts';

export class Vmcb {
  readonly address: Hpa;
  /** The page as 32-bit words: `words[offset >>> 2]`. */
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;

  /** @param address a page of L0's own */
  constructor(memory: HostMemory, address: Hpa) {
    this.address = address;
    this.words = memory.u32.subarray(address >>> 2, (address + PAGE_SIZE) >>> 2);
    this.bytes = memory.u8.subarray(address, address + PAGE_SIZE);
  }

  /** 32 bits at a byte offset that is a multiple of 4; the low half of a 64-bit field. */
  read(offset: number): number {
    return this.words[offset >>> 2];
  }

  write(offset: number, value: number): void {
    this.words[offset >>> 2] = value;
  }

  /** A 64-bit field, both halves. */
  write64(offset: number, lo: number, hi: number): void {
    this.words[offset >>> 2] = lo;
    this.words[(offset >>> 2) + 1] = hi;
  }

  /** The high half of a 64-bit field. */
  readHigh(offset: number): number {
    return this.words[(offset >>> 2) + 1];
  }

  /** Tells the processor that fields of these CLEAN groups were changed since the last VMRUN (APM vol. 2 15.15). */
  dirty(groups: number): void {
    this.words[VMCB.CLEAN_BITS >>> 2] &= ~groups;
  }

  /** After an entry: everything is as the processor knows it. */
  allClean(): void {
    this.words[VMCB.CLEAN_BITS >>> 2] = ALL_CLEAN;
  }

  /** Selector, 12-bit attributes, byte limit and base (low half) of the segment at a save-area offset. */
  writeSegment(offset: number, selector: number, attributes: number, limit: number, base: number): void {
    this.write(offset + VMCB_SEGMENT.SELECTOR, (selector & 0xffff) | (attributes << 16));
    this.write(offset + VMCB_SEGMENT.LIMIT, limit);
    this.write64(offset + VMCB_SEGMENT.BASE, base, 0);
  }

  selector(offset: number): number {
    return this.words[offset >>> 2] & 0xffff;
  }

  attributes(offset: number): number {
    return this.words[offset >>> 2] >>> 16;
  }

  limit(offset: number): number {
    return this.words[(offset + VMCB_SEGMENT.LIMIT) >>> 2];
  }

  base(offset: number): number {
    return this.words[(offset + VMCB_SEGMENT.BASE) >>> 2];
  }
}

/** Every group that L0's VMCBs may claim clean. */
const ALL_CLEAN =
  CLEAN.INTERCEPTS |
  CLEAN.IOPM |
  CLEAN.ASID |
  CLEAN.TPR |
  CLEAN.NP |
  CLEAN.CRX |
  CLEAN.DRX |
  CLEAN.DT |
  CLEAN.SEG |
  CLEAN.CR2 |
  CLEAN.LBR;
