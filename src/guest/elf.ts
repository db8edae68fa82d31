/** A range of physical memory with its contents. */
export interface Segment {
  readonly address: number;
  readonly bytes: Uint8Array;
  /** Bytes of memory after them, zero at first, that need no room in an image. */
  readonly reserved?: number;
}

const HEADER_SIZE = 52;
const PROGRAM_HEADER_SIZE = 32;
const ET_EXEC = 2;
const EM_386 = 3;
const PT_LOAD = 1;
/** Read, write and execute. */
const FLAGS = 7;

/**
 * A 32-bit ELF executable (System V ABI, Intel386 supplement) with one program header per segment, virtual address =
 * physical address. The first segment's bytes come right after the headers, so a multiboot header at its start lies
 * within the first 8192 bytes of the file, as long as there are at most 250 segments.
 */
export function elfImage(entry: number, segments: readonly Segment[]): Uint8Array<ArrayBuffer> {
  const headers = HEADER_SIZE + segments.length * PROGRAM_HEADER_SIZE;
  const start = (headers + 15) & ~15;
  const size = segments.reduce((total, segment) => total + segment.bytes.length, start);
  const image = new Uint8Array(size);
  const view = new DataView(image.buffer);
  // Identification: magic, 32-bit, little-endian, version 1.
  image.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, ET_EXEC, true);
  view.setUint16(18, EM_386, true);
  view.setUint32(20, 1, true);
  view.setUint32(24, entry, true);
  view.setUint32(28, HEADER_SIZE, true);
  view.setUint16(40, HEADER_SIZE, true);
  view.setUint16(42, PROGRAM_HEADER_SIZE, true);
  view.setUint16(44, segments.length, true);
  let offset = start;
  segments.forEach(({ address, bytes, reserved = 0 }, index) => {
    const header = HEADER_SIZE + index * PROGRAM_HEADER_SIZE;
    [PT_LOAD, offset, address, address, bytes.length, bytes.length + reserved, FLAGS, 1].forEach(
      (field, position) => {
        view.setUint32(header + position * 4, field, true);
      },
    );
    image.set(bytes, offset);
    offset += bytes.length;
  });
  return image;
}
