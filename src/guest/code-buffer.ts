import type { LabelAddress } from './operands.ts';

/** An assembled program: `bytes` belong at address `origin`; `labels` are absolute addresses. */
export interface Program {
  readonly origin: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly labels: ReadonlyMap<string, number>;
}

/** A place in the code that waits for a label's address. Relative ones count from the end of the field. */
export interface Fixup {
  readonly at: number;
  readonly size: 1 | 2 | 4;
  readonly kind: 'absolute' | 'relative';
  readonly target: LabelAddress;
}

/**
 * Bytes in the making: data, labels, alignment, and references to labels that may be defined later.
 * The assembler adds the instructions.
 */
export class CodeBuffer {
  readonly origin: number;
  #bytes = new Uint8Array(4096);
  #length = 0;
  readonly #labels = new Map<string, number>();
  readonly #fixups: Fixup[] = [];

  /** @param origin address of the first byte, in the address space the code will run in. */
  constructor(origin: number) {
    this.origin = origin;
  }

  /** Address of the next byte. */
  get here(): number {
    return this.origin + this.#length;
  }

  /** Gives the next byte a name. Throws if the name is taken. */
  label(name: string): void {
    this.define(name, this.here);
  }

  /** Gives an address outside this program a name. Throws if the name is taken. */
  define(name: string, value: number): void {
    if (this.#labels.has(name)) throw new Error(`Label "${name}" is defined twice.`);
    this.#labels.set(name, value >>> 0);
  }

  /** Appends bytes as they are: data, or an instruction the assembler does not know. */
  raw(...values: readonly number[]): void {
    this.append(values);
  }

  append(values: ArrayLike<number>): void {
    this.#grow(values.length);
    this.#bytes.set(values, this.#length);
    this.#length += values.length;
  }

  data8(...values: readonly number[]): void {
    for (const value of values) this.#value(value, 1);
  }

  data16(...values: readonly (number | LabelAddress)[]): void {
    for (const value of values) this.#value(value, 2);
  }

  data32(...values: readonly (number | LabelAddress)[]): void {
    for (const value of values) this.#value(value, 4);
  }

  data64(...values: readonly bigint[]): void {
    for (const value of values) {
      this.#value(Number(value & 0xffff_ffffn), 4);
      this.#value(Number((value >> 32n) & 0xffff_ffffn), 4);
    }
  }

  /** Appends ASCII text without a terminator. */
  text(value: string): void {
    this.append(Array.from(value, (character) => character.charCodeAt(0) & 0x7f));
  }

  /** Appends `count` zero bytes. */
  zero(count: number): void {
    this.#grow(count);
    this.#length += count;
  }

  /** Pads until the address is a multiple of `boundary` (a power of two). */
  align(boundary: number, filler = 0): void {
    while (this.here % boundary !== 0) this.data8(filler);
  }

  /** Pads with zeros up to an address. Throws if the code is already beyond it. */
  org(target: number): void {
    if (target < this.here) {
      throw new Error(
        `Cannot go back to 0x${target.toString(16)}: the code has reached 0x${this.here.toString(16)}.`,
      );
    }
    this.zero(target - this.here);
  }

  /** Leaves a hole for a label's address at `at`, an offset in bytes from the origin. */
  fixup(fixup: Fixup): void {
    this.#fixups.push(fixup);
  }

  /** The bytes with every reference resolved. Throws if a label is missing or a relative target is out of reach. */
  finish(): Program {
    const bytes = this.#bytes.slice(0, this.#length);
    const view = new DataView(bytes.buffer);
    for (const { at, size, kind, target } of this.#fixups) {
      const labelled = this.#labels.get(target.label);
      if (labelled === undefined) throw new Error(`Label "${target.label}" is used but not defined.`);
      let value = labelled + target.offset;
      if (kind === 'relative') {
        value -= this.origin + at + size;
        const limit = 2 ** (size * 8 - 1);
        if (value < -limit || value >= limit) {
          throw new Error(
            `Label "${target.label}" is ${value} bytes away, too far for a ${size * 8}-bit branch.`,
          );
        }
      }
      if (size === 1) view.setUint8(at, value & 0xff);
      else if (size === 2) view.setUint16(at, value & 0xffff, true);
      else view.setUint32(at, value >>> 0, true);
    }
    return { origin: this.origin, bytes, labels: new Map(this.#labels) };
  }

  #value(value: number | LabelAddress, size: 1 | 2 | 4): void {
    if (typeof value !== 'number') {
      this.fixup({ at: this.#length, size, kind: 'absolute', target: value });
      this.zero(size);
      return;
    }
    this.#grow(size);
    for (let index = 0; index < size; index++) this.#bytes[this.#length++] = (value >>> (8 * index)) & 0xff;
  }

  #grow(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}
