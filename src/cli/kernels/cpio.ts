/**
 * The "newc" cpio archive, the format of a Linux initramfs (kernel Documentation/driver-api/early-userspace/
 * buffer-format.rst): per entry a header of 110 ASCII characters, the name and the data, each padded to 4 bytes.
 */
export type CpioEntry =
  | { readonly kind: 'directory'; readonly name: string; readonly mode?: number }
  | { readonly kind: 'file'; readonly name: string; readonly mode?: number; readonly data: Uint8Array }
  | { readonly kind: 'symlink'; readonly name: string; readonly target: string }
  | {
      readonly kind: 'character-device';
      readonly name: string;
      readonly mode?: number;
      readonly major: number;
      readonly minor: number;
    };

/** File type bits of st_mode, octal as in stat(2). */
const FILE_TYPE = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  'character-device': 0o020000,
} as const;

const DEFAULT_MODE = { directory: 0o755, file: 0o644, symlink: 0o777, 'character-device': 0o600 } as const;

const MAGIC = '070701';
const TRAILER = 'TRAILER!!!';

const utf8 = new TextEncoder();

/**
 * Packs entries in the order given. Owner is root and every date is 0, so that equal entries give equal bytes.
 * A directory must come before what is in it: the kernel unpacks in one pass.
 */
export function packCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  entries.forEach((entry, index) => {
    const mode =
      FILE_TYPE[entry.kind] |
      ('mode' in entry ? (entry.mode ?? DEFAULT_MODE[entry.kind]) : DEFAULT_MODE[entry.kind]);
    const data =
      entry.kind === 'file'
        ? entry.data
        : entry.kind === 'symlink'
          ? utf8.encode(entry.target)
          : new Uint8Array(0);
    const device: [number, number] = entry.kind === 'character-device' ? [entry.major, entry.minor] : [0, 0];
    parts.push(record(entry.name, index + 1, mode, entry.kind === 'directory' ? 2 : 1, data, device));
  });
  parts.push(record(TRAILER, 0, 0, 1, new Uint8Array(0), [0, 0]));
  return concatenate(parts);
}

function record(
  name: string,
  inode: number,
  mode: number,
  links: number,
  data: Uint8Array,
  [major, minor]: [number, number],
): Uint8Array {
  const nameBytes = utf8.encode(`${name}\0`);
  const fields = [
    inode,
    mode,
    0, // owner
    0, // group
    links,
    0, // date
    data.length,
    0, // device that holds the file, major and minor
    0,
    major,
    minor,
    nameBytes.length,
    0, // checksum: only the "crc" variant has one
  ];
  const header = utf8.encode(MAGIC + fields.map((field) => field.toString(16).padStart(8, '0')).join(''));
  const dataStart = align4(header.length + nameBytes.length);
  const bytes = new Uint8Array(align4(dataStart + data.length));
  bytes.set(header);
  bytes.set(nameBytes, header.length);
  bytes.set(data, dataStart);
  return bytes;
}

const align4 = (length: number): number => (length + 3) & ~3;

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
