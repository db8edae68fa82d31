/** The multiboot header in a kernel image (Multiboot Specification 0.6.96, section 3.1). */
import { InputError } from '../../arch/input-error.ts';
import { hex, type ImageReader } from './image-reader.ts';

export const MULTIBOOT_MAGIC = 0x1bad_b002;
/** The header lies within these first bytes of the file, aligned to 4. */
const SEARCH_LENGTH = 8192;

// biome-ignore format: table
const HEADER = {
  FLAGS: 4, CHECKSUM: 8, HEADER_ADDR: 12, LOAD_ADDR: 16, LOAD_END_ADDR: 20, BSS_END_ADDR: 24, ENTRY_ADDR: 28,
} as const;
const CHECKED_SIZE = 12;

// biome-ignore format: table
const FLAG = {
  PAGE_ALIGN:    0x0_0001, // modules on page boundaries: they always are
  MEMORY_INFO:   0x0_0002, // mem_* and, where there is one, a memory map: always given
  VIDEO_MODE:    0x0_0004,
  /** Bits 0 to 15 are demands: a loader that does not know one must refuse. */
  DEMANDS:       0x0_ffff,
  ADDRESSES:     0x1_0000, // HEADER_ADDR and the following fields say where the image goes
} as const;

export interface MultibootHeader {
  /** Offset in the file. */
  readonly offset: number;
  /** Present where the header itself says where the image goes; else it must be ELF. */
  readonly flat: FlatLayout | undefined;
}

/** Where a flat image goes; physical addresses, ends exclusive. */
export interface FlatLayout {
  readonly fileOffset: number;
  readonly fileLength: number;
  readonly loadAddress: number;
  /** Bytes in memory, zero-filled behind the file's. */
  readonly memorySize: number;
  readonly entry: number;
}

/** Offset of the first multiboot header with a right checksum, or undefined. */
export function findMultibootHeader(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const last = Math.min(bytes.length, SEARCH_LENGTH) - CHECKED_SIZE;
  for (let offset = 0; offset <= last; offset += 4) {
    if (view.getUint32(offset, true) !== MULTIBOOT_MAGIC) continue;
    const flags = view.getUint32(offset + HEADER.FLAGS, true);
    const checksum = view.getUint32(offset + HEADER.CHECKSUM, true);
    if ((MULTIBOOT_MAGIC + flags + checksum) >>> 0 === 0) return offset;
  }
  return undefined;
}

/** Reads and checks the header. @throws InputError where it is missing, demands the impossible, or contradicts itself */
export function parseMultibootHeader(reader: ImageReader): MultibootHeader {
  const offset = findMultibootHeader(reader.bytes);
  if (offset === undefined) {
    throw reader.corrupt(
      `its first ${SEARCH_LENGTH} bytes hold no multiboot header: ${hex(MULTIBOOT_MAGIC)} on a 4-byte boundary, ` +
        'flags and a checksum that make the sum of the three 0.',
    );
  }
  const flags = reader.u32(offset + HEADER.FLAGS, 'the multiboot header');
  if ((flags & FLAG.VIDEO_MODE) !== 0) {
    throw new InputError(
      `The ${reader.kind} demands a video mode (flag 2 in its header at offset ${hex(offset)}), but the machine has no ` +
        'display; build it without that flag.',
    );
  }
  const unknown = flags & FLAG.DEMANDS & ~(FLAG.PAGE_ALIGN | FLAG.MEMORY_INFO);
  if (unknown !== 0) {
    throw new InputError(
      `The ${reader.kind} demands what multiboot does not define: flags ${hex(unknown)} in its header at offset ` +
        `${hex(offset)}. Only bits 0 (page alignment) and 1 (memory information) can be served.`,
    );
  }
  return { offset, flat: (flags & FLAG.ADDRESSES) !== 0 ? flatLayout(reader, offset) : undefined };
}

function flatLayout(reader: ImageReader, offset: number): FlatLayout {
  const field = (at: number): number => reader.u32(offset + at, 'the address fields of the multiboot header');
  const headerAddress = field(HEADER.HEADER_ADDR);
  const loadAddress = field(HEADER.LOAD_ADDR);
  const entry = field(HEADER.ENTRY_ADDR);
  const fileOffset = offset - (headerAddress - loadAddress);
  const name = `the multiboot header at offset ${hex(offset)}`;
  if (headerAddress < loadAddress || fileOffset < 0) {
    throw reader.corrupt(
      `${name} gives itself the address ${hex(headerAddress)} and the image the load address ${hex(loadAddress)}; ` +
        `the first must be 0 to ${hex(offset)} above the second.`,
    );
  }
  // Zero means: to the end of the file, and no bss.
  const loadEnd = field(HEADER.LOAD_END_ADDR) || loadAddress + reader.bytes.length - fileOffset;
  const bssEnd = field(HEADER.BSS_END_ADDR) || loadEnd;
  if (loadEnd <= loadAddress || bssEnd < loadEnd) {
    throw reader.corrupt(
      `${name} has load_addr ${hex(loadAddress)}, load_end_addr ${hex(loadEnd)} and bss_end_addr ${hex(bssEnd)}; ` +
        'they must ascend.',
    );
  }
  if (entry < loadAddress || entry >= bssEnd) {
    throw reader.corrupt(
      `${name} has the entry ${hex(entry)}, outside of the image (${hex(loadAddress)} to ${hex(bssEnd - 1)}).`,
    );
  }
  const fileLength = loadEnd - loadAddress;
  reader.slice(fileOffset, fileLength, 'the image that the multiboot header describes');
  return { fileOffset, fileLength, loadAddress, memorySize: bssEnd - loadAddress, entry };
}
