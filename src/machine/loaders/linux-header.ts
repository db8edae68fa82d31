/** The setup header of a Linux/x86 kernel image (kernel Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"). */
import { InputError } from '../../arch/input-error.ts';
import { hex, type ImageReader } from './image-reader.ts';

// biome-ignore format: table
/** Offsets, the same in the file and in boot_params. */
export const HEADER = {
  START:             0x1f1, // setup_sects, the first byte that is handed to the kernel
  SETUP_SECTS:       0x1f1,
  SYSSIZE:           0x1f4,
  VID_MODE:          0x1fa,
  BOOT_FLAG:         0x1fe,
  JUMP_LENGTH:       0x201, // the header ends this many bytes behind 0x202
  MAGIC:             0x202,
  VERSION:           0x206,
  TYPE_OF_LOADER:    0x210,
  LOADFLAGS:         0x211,
  CODE32_START:      0x214,
  RAMDISK_IMAGE:     0x218,
  RAMDISK_SIZE:      0x21c,
  CMD_LINE_PTR:      0x228,
  INITRD_ADDR_MAX:   0x22c,
  KERNEL_ALIGNMENT:  0x230,
  RELOCATABLE:       0x234,
  XLOADFLAGS:        0x236,
  CMDLINE_SIZE:      0x238,
  PAYLOAD_OFFSET:    0x248,
  PAYLOAD_LENGTH:    0x24c,
  PREF_ADDRESS:      0x258,
  INIT_SIZE:         0x260,
} as const;

/** "HdrS" */
export const HEADER_MAGIC = 0x5372_6448;
export const BOOT_FLAG = 0xaa55;
const LOADED_HIGH = 0x01;
const KERNEL_64 = 0x0001;
/** Protocol 2.10 brought pref_address and init_size. */
const OLDEST_VERSION = 0x020a;
const SMALLEST_HEADER_END = HEADER.INIT_SIZE + 4;
/** boot_params keeps the header between 0x1f1 and here. */
const LARGEST_HEADER_END = 0x290;
const SECTOR = 512;

export interface LinuxHeader {
  /** 0x020a and up. */
  readonly version: number;
  /** The header's bytes, from offset 0x1f1 on. */
  readonly bytes: Uint8Array;
  /** The protected-mode kernel. */
  readonly kernel: Uint8Array;
  readonly code32Start: number;
  readonly relocatable: boolean;
  /** A power of two, bytes. */
  readonly alignment: number;
  readonly prefAddress: number;
  /** Bytes of memory from its run-time start that the kernel uses before it reads the memory map. */
  readonly initSize: number;
  /** The highest address that an initrd may occupy. */
  readonly initrdAddrMax: number;
  /** Longest command line in bytes, without the zero at its end. */
  readonly commandLineSize: number;
  readonly is64Bit: boolean;
}

/** Reads and checks the header. @throws InputError where the image is truncated, corrupt or too old */
export function parseLinuxHeader(reader: ImageReader): LinuxHeader {
  const u32 = (offset: number, field: string): number => reader.u32(offset, `the header field ${field}`);
  if (u32(HEADER.MAGIC, 'header') !== HEADER_MAGIC) {
    throw reader.corrupt(`the setup header at offset ${hex(HEADER.MAGIC)} must begin with "HdrS".`);
  }
  const bootFlag = reader.u16(HEADER.BOOT_FLAG, 'the header field boot_flag');
  if (bootFlag !== BOOT_FLAG) {
    throw reader.corrupt(
      `boot_flag at offset ${hex(HEADER.BOOT_FLAG)} is ${hex(bootFlag)}; it must be 0xaa55.`,
    );
  }
  const version = reader.u16(HEADER.VERSION, 'the header field version');
  if (version < OLDEST_VERSION) {
    throw new InputError(
      `The Linux kernel image speaks boot protocol ${version >>> 8}.${String(version & 0xff).padStart(2, '0')} ` +
        `(offset ${hex(HEADER.VERSION)}); 2.10 or newer is needed, which Linux 2.6.31 and later have.`,
    );
  }
  if ((reader.u8(HEADER.LOADFLAGS, 'the header field loadflags') & LOADED_HIGH) === 0) {
    throw new InputError(
      `The Linux kernel image is a zImage, made for low memory (loadflags at offset ${hex(HEADER.LOADFLAGS)}); ` +
        'a bzImage is needed.',
    );
  }
  const setupSize = (1 + (reader.u8(HEADER.SETUP_SECTS, 'the header field setup_sects') || 4)) * SECTOR;
  const headerEnd = HEADER.MAGIC + reader.u8(HEADER.JUMP_LENGTH, 'the jump over the header');
  if (headerEnd < SMALLEST_HEADER_END || headerEnd > Math.min(setupSize, LARGEST_HEADER_END)) {
    throw reader.corrupt(
      `its setup header ends at offset ${hex(headerEnd)}; the end must lie between ${hex(SMALLEST_HEADER_END)} ` +
        `and ${hex(Math.min(setupSize, LARGEST_HEADER_END))}.`,
    );
  }
  const kernelSize = u32(HEADER.SYSSIZE, 'syssize') * 16;
  if (kernelSize === 0) {
    throw reader.corrupt(
      `syssize at offset ${hex(HEADER.SYSSIZE)} is 0; it must give the size of the kernel.`,
    );
  }
  const kernel = reader.slice(setupSize, kernelSize, 'the protected-mode kernel');
  checkPayload(reader, kernelSize);
  return {
    version,
    bytes: reader.slice(HEADER.START, headerEnd - HEADER.START, 'the setup header'),
    kernel,
    code32Start: u32(HEADER.CODE32_START, 'code32_start'),
    relocatable: reader.u8(HEADER.RELOCATABLE, 'the header field relocatable_kernel') !== 0,
    alignment: alignmentOf(reader),
    prefAddress: reader.u64(HEADER.PREF_ADDRESS, 'the header field pref_address'),
    initSize: u32(HEADER.INIT_SIZE, 'init_size'),
    initrdAddrMax: u32(HEADER.INITRD_ADDR_MAX, 'initrd_addr_max'),
    commandLineSize: u32(HEADER.CMDLINE_SIZE, 'cmdline_size'),
    // xloadflags came with 2.12; before, nothing told the two apart.
    is64Bit:
      version >= 0x020c && (reader.u16(HEADER.XLOADFLAGS, 'the header field xloadflags') & KERNEL_64) !== 0,
  };
}

function alignmentOf(reader: ImageReader): number {
  const alignment = reader.u32(HEADER.KERNEL_ALIGNMENT, 'the header field kernel_alignment');
  if (alignment !== 0 && (alignment & (alignment - 1)) === 0) return alignment;
  throw reader.corrupt(
    `kernel_alignment at offset ${hex(HEADER.KERNEL_ALIGNMENT)} is ${hex(alignment)}; it must be a power of two.`,
  );
}

/** The compressed kernel proper must lie inside of what is loaded. */
function checkPayload(reader: ImageReader, kernelSize: number): void {
  const offset = reader.u32(HEADER.PAYLOAD_OFFSET, 'the header field payload_offset');
  const length = reader.u32(HEADER.PAYLOAD_LENGTH, 'the header field payload_length');
  if (offset + length <= kernelSize) return;
  throw reader.corrupt(
    `payload_offset (at ${hex(HEADER.PAYLOAD_OFFSET)}) and payload_length reach to ${hex(offset + length)}, ` +
      `but the protected-mode kernel has ${hex(kernelSize)} bytes.`,
  );
}
