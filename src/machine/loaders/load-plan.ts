import { type Hpa, hpa } from '../../arch/address.ts';
import { InputError } from '../../arch/input-error.ts';
import { sizeText } from '../../arch/memory-size.ts';
import { E820_TYPE, type E820Entry } from '../e820.ts';
import { hex } from './image-reader.ts';
import type { LoadedRegion, LoadTarget } from './request.ts';

interface Piece {
  readonly name: string;
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** May be shorter than the piece; zeros follow. Undefined: set aside, not written. */
  readonly bytes: Uint8Array | undefined;
}

/** A stretch of addresses; `end` exclusive. */
interface Range {
  readonly start: number;
  readonly end: number;
}

const ZEROS = new Uint8Array(0x1_0000);

/**
 * Collects what a loader wants to put into memory. Each piece is checked when it is added: it must lie in RAM, outside
 * reserved ranges, and touch no other piece. Nothing is written before `commit`, so a refused image leaves no trace.
 */
export class LoadPlan {
  readonly #ram: readonly Range[];
  readonly #memorySize: number;
  readonly #pieces: Piece[] = [];

  /** @param e820 the memory map; RAM that it claims beyond `memorySize` bytes does not count */
  constructor(memorySize: number, e820: readonly E820Entry[]) {
    this.#memorySize = memorySize;
    this.#ram = mergedRam(memorySize, e820);
  }

  /**
   * Puts bytes at an address, followed by zeros up to `size`.
   * @throws InputError where that is not free RAM
   */
  put(name: string, address: number, bytes: Uint8Array, size = bytes.length): void {
    this.#add({ name, start: address, end: address + size, bytes });
  }

  /** Sets a range aside that the image will use by itself. @throws InputError where that is not free RAM */
  reserve(name: string, address: number, size: number): void {
    this.#add({ name, start: address, end: address + size, bytes: undefined });
  }

  /**
   * Puts bytes at the highest free address such that they end at or below `limit`.
   * @throws InputError where no free RAM is large enough
   */
  putHigh(name: string, bytes: Uint8Array, alignment: number, limit: number): Hpa {
    for (const { start, end } of this.#free().reverse()) {
      const address = Math.floor((Math.min(end, limit) - bytes.length) / alignment) * alignment;
      if (address >= start) return this.#place(name, address, bytes);
    }
    throw noRoom(name, bytes.length, `below ${hex(limit)}`);
  }

  /** Puts bytes at the lowest free address at or above `from`. @throws InputError where no free RAM is large enough */
  putLow(name: string, bytes: Uint8Array, alignment: number, from: number): Hpa {
    for (const { start, end } of this.#free()) {
      const address = Math.ceil(Math.max(start, from) / alignment) * alignment;
      if (address + bytes.length <= end) return this.#place(name, address, bytes);
    }
    throw noRoom(name, bytes.length, `above ${hex(from)}`);
  }

  /** Writes everything and returns what lies where. */
  commit(target: LoadTarget): LoadedRegion[] {
    for (const { start, end, bytes } of this.#pieces) {
      if (!bytes) continue;
      if (bytes.length > 0) target.write(hpa(start), bytes);
      for (let at = start + bytes.length; at < end; at += ZEROS.length) {
        target.write(hpa(at), ZEROS.subarray(0, Math.min(ZEROS.length, end - at)));
      }
    }
    return this.#pieces
      .map(({ name, start, end }) => ({ name, start: hpa(start), end: hpa(end) }))
      .sort((a, b) => a.start - b.start);
  }

  #place(name: string, address: number, bytes: Uint8Array): Hpa {
    this.put(name, address, bytes);
    return hpa(address);
  }

  #add(piece: Piece): void {
    const { name, start, end } = piece;
    if (start === end) return;
    const where = `${capital(name)} (${hex(start)} to ${hex(end - 1)})`;
    if (!this.#ram.some((range) => start >= range.start && end <= range.end)) {
      throw new InputError(
        end > this.#memorySize
          ? `${where} does not fit into ${sizeText(this.#memorySize)} of memory; ${hex(end)} bytes or more are needed.`
          : `${where} overlaps memory that is reserved; RAM is ${this.#ram.map(describe).join(' and ')}.`,
      );
    }
    const other = this.#pieces.find((taken) => start < taken.end && taken.start < end);
    if (other) {
      throw new InputError(`${where} overlaps ${other.name} (${hex(other.start)} to ${hex(other.end - 1)}).`);
    }
    this.#pieces.push(piece);
  }

  /** RAM that no piece takes, lowest first. */
  #free(): Range[] {
    const taken = [...this.#pieces].sort((a, b) => a.start - b.start);
    const free: Range[] = [];
    for (const { start, end } of this.#ram) {
      let from = start;
      for (const piece of taken) {
        if (piece.end <= from || piece.start >= end) continue;
        if (piece.start > from) free.push({ start: from, end: piece.start });
        from = piece.end;
      }
      if (from < end) free.push({ start: from, end });
    }
    return free;
  }
}

/** The RAM of a map, sorted, neighbours joined, less what other entries of the map claim. */
function mergedRam(memorySize: number, e820: readonly E820Entry[]): Range[] {
  const merged: { start: number; end: number }[] = [];
  const ram = e820.filter(({ type }) => type === E820_TYPE.RAM).sort((a, b) => a.base - b.base);
  for (const { base, size } of ram) {
    const end = Math.min(base + size, memorySize);
    const last = merged.at(-1);
    if (last && base <= last.end) last.end = Math.max(last.end, end);
    else if (base < end) merged.push({ start: base, end });
  }
  return e820
    .filter(({ type }) => type !== E820_TYPE.RAM)
    .reduce<Range[]>(
      (ranges, { base, size }) => ranges.flatMap((range) => without(range, base, base + size)),
      merged,
    );
}

function without({ start, end }: Range, from: number, to: number): Range[] {
  if (to <= start || from >= end) return [{ start, end }];
  return [
    { start, end: from },
    { start: to, end },
  ].filter((part) => part.start < part.end);
}

const noRoom = (name: string, size: number, where: string): InputError =>
  new InputError(
    `${capital(name)} (${size} bytes) finds no free memory ${where}; give the machine more memory.`,
  );

const describe = ({ start, end }: Range): string => `${hex(start)} to ${hex(end - 1)}`;

const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);
