/** Little-endian fields as lists of bytes, of which tables and AML are put together. */

export type Bytes = readonly number[];

export const u8 = (value: number): Bytes => [value & 0xff];
export const u16 = (value: number): Bytes => [value & 0xff, (value >> 8) & 0xff];
export const u32 = (value: number): Bytes => [...u16(value), ...u16(value >>> 16)];
/** @param value at most 2^53 */
export const u64 = (value: number): Bytes => [...u32(value >>> 0), ...u32(Math.floor(value / 2 ** 32))];
export const zeros = (count: number): Bytes => new Array<number>(count).fill(0);

/** Characters, filled up with spaces. */
export const ascii = (text: string, length = text.length): Bytes =>
  Array.from(text.padEnd(length), (character) => character.charCodeAt(0));

/** The byte that makes the sum of all a multiple of 256. */
export const checksum = (bytes: Bytes): number => -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
