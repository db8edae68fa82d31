import { EBDA_BASE } from '../e820.ts';
import { ELF_MAGIC } from './elf.ts';
import { HEADER, HEADER_MAGIC } from './linux-header.ts';
import { beginsAsProgram, hasBootFlag } from './look-alike.ts';
import { findMultibootHeader } from './multiboot-header.ts';
import { BOOT_SECTOR } from './raw.ts';
import type { ImageKind } from './request.ts';

const SECTOR = 512;
/** Above 0x7c00 there is so much memory before the firmware's. */
const LARGEST_BOOT_IMAGE = EBDA_BASE - BOOT_SECTOR.address;

/**
 * What an image says it is, by its signatures alone: whether the rest is sound is for the loader to say. A multiboot
 * header counts before ELF, because it says more. Undefined for what has no signature: its bytes can only be run raw.
 */
export function recognise(bytes: Uint8Array): Exclude<ImageKind, 'raw'> | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const begins = (offset: number, magic: number): boolean =>
    bytes.length >= offset + 4 && view.getUint32(offset, true) === magic;
  if (begins(HEADER.MAGIC, HEADER_MAGIC)) return 'bzimage';
  if (findMultibootHeader(bytes) !== undefined) return 'multiboot';
  if (begins(0, ELF_MAGIC)) return 'elf';
  return isBootSector(bytes) ? 'boot-sector' : undefined;
}

/** One sector or some, the first of which firmware would start. */
const isBootSector = (bytes: Uint8Array): boolean =>
  bytes.length % SECTOR === 0 &&
  bytes.length <= LARGEST_BOOT_IMAGE &&
  hasBootFlag(bytes) &&
  // A Linux kernel has the flag too; where "HdrS" is missing it is damaged.
  !beginsAsProgram(bytes);
