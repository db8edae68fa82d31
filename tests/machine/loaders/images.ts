/** Small sound images of each kind, built field by field from the formats' own documents, and a memory to load into. */
import type { Hpa } from '../../../src/arch/address.ts';
import { e820Map } from '../../../src/machine/e820.ts';
import type { LoadRequest, LoadTarget } from '../../../src/machine/loaders/request.ts';

export const MIB = 2 ** 20;

/** RAM that refuses a write outside of itself, as a test failure. */
export class TestMemory implements LoadTarget {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  writes = 0;

  constructor(size: number) {
    // Not zero, so that a loader which forgets to clear something is seen.
    this.bytes = new Uint8Array(size).fill(0xcc);
    this.view = new DataView(this.bytes.buffer);
  }

  write(address: Hpa, bytes: Uint8Array): void {
    this.writes++;
    if (address < 0 || address + bytes.length > this.bytes.length) {
      throw new RangeError(`write of ${bytes.length} bytes at ${address} leaves the memory`);
    }
    this.bytes.set(bytes, address);
  }

  u32(address: number): number {
    return this.view.getUint32(address, true);
  }

  string(address: number): string {
    return new TextDecoder().decode(this.bytes.subarray(address, this.bytes.indexOf(0, address)));
  }
}

export function request(image: Uint8Array, memorySize: number, more: Partial<LoadRequest> = {}): LoadRequest {
  return { image, memorySize, e820: e820Map(memorySize), ...more };
}

/** Bytes that differ from place to place. */
export const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 7 + seed * 13) & 0xff);

export interface BzImageFields {
  version: number;
  loadflags: number;
  code32Start: number;
  initrdAddrMax: number;
  alignment: number;
  relocatable: number;
  xloadflags: number;
  cmdlineSize: number;
  payloadOffset: number;
  payloadLength: number;
  prefAddress: bigint;
  initSize: number;
  headerEnd: number;
  setupSects: number;
}

export const BZIMAGE_KERNEL_SIZE = 0x3000;

/** A bzImage of 2 setup sectors and a "kernel" of 12 KiB, relocatable, that likes to be at 16 MiB. */
export function makeBzImage(fields: Partial<BzImageFields> = {}): Uint8Array {
  const f: BzImageFields = {
    version: 0x020f,
    loadflags: 1,
    code32Start: 0x10_0000,
    initrdAddrMax: 0x7fff_ffff,
    alignment: 0x20_0000,
    relocatable: 1,
    xloadflags: 0,
    cmdlineSize: 255,
    payloadOffset: 0x100,
    payloadLength: 0x2000,
    prefAddress: 0x100_0000n,
    initSize: 0x10_0000,
    headerEnd: 0x26c,
    setupSects: 2,
    ...fields,
  };
  const setup = (1 + (f.setupSects || 4)) * 512;
  const image = new Uint8Array(setup + BZIMAGE_KERNEL_SIZE);
  const view = new DataView(image.buffer);
  image[0x1f1] = f.setupSects;
  view.setUint32(0x1f4, BZIMAGE_KERNEL_SIZE / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  image[0x200] = 0xeb;
  image[0x201] = f.headerEnd - 0x202;
  image.set(new TextEncoder().encode('HdrS'), 0x202);
  view.setUint16(0x206, f.version, true);
  image[0x211] = f.loadflags;
  view.setUint32(0x214, f.code32Start, true);
  view.setUint32(0x22c, f.initrdAddrMax, true);
  view.setUint32(0x230, f.alignment, true);
  image[0x234] = f.relocatable;
  view.setUint16(0x236, f.xloadflags, true);
  view.setUint32(0x238, f.cmdlineSize, true);
  view.setUint32(0x248, f.payloadOffset, true);
  view.setUint32(0x24c, f.payloadLength, true);
  view.setBigUint64(0x258, f.prefAddress, true);
  view.setUint32(0x260, f.initSize, true);
  image.set(pattern(BZIMAGE_KERNEL_SIZE), setup);
  return image;
}

export interface ElfSegment {
  physical: number;
  virtual?: number;
  bytes: Uint8Array;
  memorySize?: number;
  type?: number;
}

/** An ELF32 executable whose segments start at file offset 0x1000; `prefix` (a multiboot header) goes behind the headers. */
export function makeElf(
  segments: ElfSegment[],
  entry: number,
  prefix: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const image = new Uint8Array(0x1000 + segments.reduce((size, { bytes }) => size + bytes.length, 0));
  const view = new DataView(image.buffer);
  image.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 3, true);
  view.setUint32(20, 1, true);
  view.setUint32(24, entry, true);
  view.setUint32(28, 52, true);
  view.setUint16(40, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, segments.length, true);
  let offset = 0x1000;
  segments.forEach(({ physical, virtual = physical, bytes, memorySize = bytes.length, type = 1 }, index) => {
    const fields = [type, offset, virtual, physical, bytes.length, memorySize, 5, 0x1000];
    fields.forEach((value, at) => {
      view.setUint32(52 + index * 32 + at * 4, value, true);
    });
    image.set(bytes, offset);
    offset += bytes.length;
  });
  image.set(prefix, 0x400);
  return image;
}

/** A multiboot header of flags and, for flag 16, header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr. */
export function multibootHeader(flags: number, addresses: number[] = []): Uint8Array {
  const words = [0x1bad_b002, flags, -(0x1bad_b002 + flags) >>> 0, ...addresses];
  const bytes = new Uint8Array(words.length * 4);
  words.forEach((word, index) => {
    new DataView(bytes.buffer).setUint32(index * 4, word, true);
  });
  return bytes;
}

/** A flat multiboot image of 4 KiB for 2 MiB, its header at file offset 0x40, with 8 KiB of bss. */
export function makeFlatMultiboot(
  changes: Partial<Record<'header' | 'load' | 'loadEnd' | 'bssEnd' | 'entry', number>> = {},
) {
  const image = pattern(0x1000);
  const a = {
    header: 0x20_0040,
    load: 0x20_0000,
    loadEnd: 0x20_1000,
    bssEnd: 0x20_3000,
    entry: 0x20_0080,
    ...changes,
  };
  image.set(multibootHeader(0x1_0003, [a.header, a.load, a.loadEnd, a.bssEnd, a.entry]), 0x40);
  return image;
}
