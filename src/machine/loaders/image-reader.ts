import { InputError } from '../../arch/input-error.ts';

/** A number as the loaders' messages show addresses, offsets and flags. */
export const hex = (value: number): string => `0x${value.toString(16)}`;

/**
 * Little-endian reads from an image of unknown quality. Every read names what it wants, so that a file that ends too
 * early is refused with a sentence.
 */
export class ImageReader {
  readonly bytes: Uint8Array;
  /** What the messages call the image: "Linux kernel image", "ELF image". */
  readonly kind: string;
  readonly #view: DataView;

  constructor(kind: string, bytes: Uint8Array) {
    this.kind = kind;
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Unsigned integers of 1, 2 and 4 bytes at an offset in bytes. @throws InputError beyond the end */
  u8(offset: number, what: string): number {
    return this.#view.getUint8(this.#within(offset, 1, what));
  }
  u16(offset: number, what: string): number {
    return this.#view.getUint16(this.#within(offset, 2, what), true);
  }
  u32(offset: number, what: string): number {
    return this.#view.getUint32(this.#within(offset, 4, what), true);
  }

  /** 8 bytes as a double: exact below 2^53, and large enough to be out of every range above. */
  u64(offset: number, what: string): number {
    const at = this.#within(offset, 8, what);
    return this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
  }

  /** A view of `length` bytes. @throws InputError where the file does not hold them all */
  slice(offset: number, length: number, what: string): Uint8Array {
    this.#within(offset, length, what);
    return this.bytes.subarray(offset, offset + length);
  }

  /** The error for something in the image that cannot be: `sentence` goes on after "The <kind> is corrupt: ". */
  corrupt(sentence: string): InputError {
    return new InputError(`The ${this.kind} is corrupt: ${sentence}`);
  }

  #within(offset: number, length: number, what: string): number {
    if (offset >= 0 && offset + length <= this.bytes.length) return offset;
    throw new InputError(
      `The ${this.kind} is truncated: ${what} takes ${length} bytes at offset ${hex(offset)}, ` +
        `but the file ends at ${hex(this.bytes.length)}.`,
    );
  }
}
