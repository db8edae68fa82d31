import { ATTRIBUTE } from '../../arch/descriptors.ts';
import { VECTOR } from '../../arch/exceptions.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import type { Cpu } from '../cpu.ts';
import { TR } from '../layout.ts';
import { type Descriptor, selectorError } from './descriptor.ts';

/** Stack pointer for a privilege level from the TSS (SDM vol. 3A 7.2.1, 7.6). */
export function innerStack(cpu: Cpu, level: number): { selector: number; pointer: number } {
  const { state } = cpu;
  const wide = (state.segmentAttributes(TR) & 0x8) !== 0;
  const offset = wide ? 4 + level * 8 : 2 + level * 4;
  const bytes = wide ? 6 : 4;
  if (offset + bytes - 1 > state.segmentLimit(TR)) cpu.raise(VECTOR.TS, selectorError(state.selector(TR)));
  const address = (state.segmentBase(TR) + offset) >>> 0;
  const pointer = cpu.memory.read(address, wide ? 4 : 2, ACCESS.IMPLICIT);
  const selector = cpu.memory.read((address + (wide ? 4 : 2)) >>> 0, 2, ACCESS.IMPLICIT);
  return { selector, pointer };
}

/** A frame on an inner level's stack, written through a stack segment that is not loaded yet. */
export class InnerFrame {
  readonly #cpu: Cpu;
  readonly #stack: Descriptor;
  readonly #size: 2 | 4;
  readonly #pointer: number;
  readonly #mask: number;
  readonly #bottom: number;

  /**
   * Raises #SS with the new selector where the segment has no room.
   *
   * @param pointer ESP from the TSS
   * @param count   elements of `size` bytes
   */
  constructor(cpu: Cpu, stack: Descriptor, pointer: number, size: 2 | 4, count: number) {
    this.#cpu = cpu;
    this.#stack = stack;
    this.#size = size;
    this.#pointer = pointer;
    this.#mask = (stack.attributes & ATTRIBUTE.DB) !== 0 ? 0xffff_ffff : 0xffff;
    const top = (pointer & this.#mask) >>> 0;
    const bytes = size * count;
    this.#bottom = ((top - bytes) & this.#mask) >>> 0;
    const expandDown = (stack.type & ATTRIBUTE.EXPAND_DOWN) !== 0;
    // A stack that begins at the end of the address space has zero for its top.
    const wraps = top !== 0 && this.#bottom >= top;
    const fits = expandDown ? this.#bottom > stack.limit : this.#bottom + bytes - 1 <= stack.limit;
    if (wraps || !fits) cpu.raise(VECTOR.SS, selectorError(stack.selector));
  }

  /** Pushes the elements in this order. A page fault comes before the first of them is written. */
  write(values: readonly number[]): void {
    const cpu = this.#cpu;
    const { base, dpl } = this.#stack;
    const access = dpl === 3 ? ACCESS.USER : ACCESS.READ;
    cpu.memory.check((base + this.#bottom) >>> 0, this.#size * values.length, access | ACCESS.WRITE);
    let pointer = this.#pointer;
    for (const value of values) {
      pointer = ((pointer - this.#size) & this.#mask) >>> 0;
      cpu.memory.write((base + pointer) >>> 0, this.#size, value, access);
    }
  }

  /** ESP below the frame. */
  get stackPointer(): number {
    return ((this.#pointer & ~this.#mask) | this.#bottom) >>> 0;
  }
}
