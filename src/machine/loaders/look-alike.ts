import { BOOT_FLAG, HEADER } from './linux-header.ts';

// biome-ignore format: table
/** Files that people hand over by mistake, and how they begin. */
const SIGNATURES: readonly (readonly [what: string, offset: number, bytes: string])[] = [
  ['a PNG picture',              0, '\x89PNG'],
  ['a JPEG picture',             0, '\xff\xd8\xff'],
  ['a PDF document',             0, '%PDF'],
  ['gzip-compressed data',       0, '\x1f\x8b'],
  ['xz-compressed data',         0, '\xfd7zXZ'],
  ['zstd-compressed data',       0, '\x28\xb5\x2f\xfd'],
  ['LZ4-compressed data',        0, '\x04\x22\x4d\x18'],
  ['bzip2-compressed data',      0, 'BZh'],
  ['a ZIP archive',              0, 'PK\x03\x04'],
  ['an ar archive, as Debian packages are', 0, '!<arch>\n'],
  ['a tar archive',            257, 'ustar'],
  ['a cpio archive, as an initrd is', 0, '07070'],
  ['an ISO 9660 image; Umbra has no drives', 0x8001, 'CD001'],
  ['a QCOW2 disk image; Umbra has no drives', 0, 'QFI\xfb'],
];

const WORD = 2;
const SHOWN_TEXT = 512;

/** What an image that cannot be booted seems to be, as a clause with its article; undefined where nothing is known. */
export function lookAlike(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return 'an empty file';
  const known = SIGNATURES.find(([, offset, signature]) =>
    [...signature].every((character, index) => bytes[offset + index] === character.charCodeAt(0)),
  );
  if (known !== undefined) return known[0];
  if (hasBootFlag(bytes)) {
    return beginsAsProgram(bytes)
      ? 'a Linux kernel whose setup header is damaged: there is no "HdrS" at 0x202'
      : 'a disk image; Umbra has no drives';
  }
  if (beginsAsProgram(bytes)) return 'a DOS, Windows or EFI program';
  return isText(bytes) ? 'text' : undefined;
}

/** 55 AA at 510: of a boot sector, of a partitioned disk, and of a Linux kernel. */
export const hasBootFlag = (bytes: Uint8Array): boolean =>
  bytes.length >= HEADER.BOOT_FLAG + WORD &&
  ((bytes[HEADER.BOOT_FLAG] as number) | ((bytes[HEADER.BOOT_FLAG + 1] as number) << 8)) === BOOT_FLAG;

/** "MZ", with which a Linux kernel begins too that firmware can start. */
export const beginsAsProgram = (bytes: Uint8Array): boolean => bytes[0] === 0x4d && bytes[1] === 0x5a;

const isText = (bytes: Uint8Array): boolean =>
  bytes.subarray(0, SHOWN_TEXT).every((byte) => byte >= 0x20 || byte === 9 || byte === 10 || byte === 13);
