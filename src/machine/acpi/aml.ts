/** A small encoder for the ACPI machine language (ACPI specification 6.4, chapter 20): named data, scopes, devices. */
import { ascii, type Bytes, u8, u16, u32, u64 } from './encode.ts';

// biome-ignore format: table
const OP = {
  ZERO: 0x00, ONE: 0x01, NAME: 0x08, BYTE: 0x0a, WORD: 0x0b, DWORD: 0x0c, QWORD: 0x0e,
  SCOPE: 0x10, BUFFER: 0x11, PACKAGE: 0x12,
  DUAL_NAME: 0x2e, MULTI_NAME: 0x2f, ROOT: 0x5c, DEVICE: [0x5b, 0x82],
} as const;

/** An encoded term or data object. Branded, so that loose bytes do not get where AML belongs. */
declare const encoded: unique symbol;
export type Aml = Bytes & { readonly [encoded]: true };

const aml = (...parts: readonly Bytes[]): Aml => parts.flat() as readonly number[] as Aml;

/** `Name (path, value)` */
export const name = (path: string, value: Aml): Aml => aml(u8(OP.NAME), nameString(path), value);

/** `Scope (path) { terms }` */
export const scope = (path: string, ...terms: readonly Aml[]): Aml =>
  aml(u8(OP.SCOPE), withLength([nameString(path), ...terms].flat()));

/** `Device (path) { terms }` */
export const device = (path: string, ...terms: readonly Aml[]): Aml =>
  aml(OP.DEVICE, withLength([nameString(path), ...terms].flat()));

/** An integer in its shortest form; at most 2^53. */
export function integer(value: number): Aml {
  if (value === 0) return aml(u8(OP.ZERO));
  if (value === 1) return aml(u8(OP.ONE));
  if (value <= 0xff) return aml(u8(OP.BYTE), u8(value));
  if (value <= 0xffff) return aml(u8(OP.WORD), u16(value));
  return value <= 0xffff_ffff ? aml(u8(OP.DWORD), u32(value)) : aml(u8(OP.QWORD), u64(value));
}

/** `Package () { elements }`, at most 255 of them. */
export const packageOf = (...elements: readonly Aml[]): Aml =>
  aml(u8(OP.PACKAGE), withLength([u8(elements.length), ...elements].flat()));

/** `Buffer () { bytes }` */
export const buffer = (bytes: Bytes): Aml =>
  aml(u8(OP.BUFFER), withLength([...integer(bytes.length), ...bytes]));

/**
 * `EisaId ("PNP0A03")`: three letters of five bits, four hexadecimal digits, big endian (19.6.36).
 * @throws Error where the text is not of that form
 */
export function eisaId(text: string): Aml {
  if (!/^[A-Z]{3}[0-9A-F]{4}$/.test(text)) throw new Error(`${text} is not an EISA ID such as PNP0A03.`);
  const letters = [...text.slice(0, 3)].reduce(
    (bits, letter) => (bits << 5) | (letter.charCodeAt(0) - 0x40),
    0,
  );
  const product = Number.parseInt(text.slice(3), 16);
  return aml(u8(OP.DWORD), [letters >> 8, letters & 0xff, product >> 8, product & 0xff]);
}

/** NameString (20.2.2): segments of four characters, short ones filled up with underscores. */
function nameString(path: string): Bytes {
  const root = path.startsWith('\\');
  const segments = path
    .slice(root ? 1 : 0)
    .split('.')
    .filter(Boolean);
  for (const segment of segments) {
    if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment))
      throw new Error(`${segment} in ${path} is not an ACPI name.`);
  }
  const prefix = [[0x00], [], [OP.DUAL_NAME]][segments.length] ?? [OP.MULTI_NAME, segments.length];
  return [
    ...(root ? [OP.ROOT] : []),
    ...prefix,
    ...segments.flatMap((segment) => ascii(segment.padEnd(4, '_'))),
  ];
}

/** PkgLength (20.2.4) before what it counts; it counts itself too. */
function withLength(content: Bytes): Bytes {
  for (let extra = 0; extra <= 3; extra++) {
    const length = content.length + 1 + extra;
    if (extra === 0 && length <= 0x3f) return [length, ...content];
    if (extra > 0 && length < 1 << (4 + 8 * extra)) {
      return [(extra << 6) | (length & 0xf), ...u32(length >> 4).slice(0, extra), ...content];
    }
  }
  throw new Error(`${content.length} bytes are too many for one AML package.`);
}
