import { ELF_MAGIC } from './elf.ts';
import { HEADER, HEADER_MAGIC } from './linux-header.ts';
import { findMultibootHeader } from './multiboot-header.ts';
import type { ImageKind } from './request.ts';

/**
 * What an image says it is, by its signatures alone: whether the rest is sound is for the loader to say. A multiboot
 * header counts before ELF, because it says more; what has no signature is raw.
 */
export function recognise(bytes: Uint8Array): ImageKind {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const begins = (offset: number, magic: number): boolean =>
    bytes.length >= offset + 4 && view.getUint32(offset, true) === magic;
  if (begins(HEADER.MAGIC, HEADER_MAGIC)) return 'bzimage';
  if (findMultibootHeader(bytes) !== undefined) return 'multiboot';
  if (begins(0, ELF_MAGIC)) return 'elf';
  return 'raw';
}
