import { ATTRIBUTE } from '../../arch/descriptors.ts';
import { RSP } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import { SS } from '../layout.ts';
import { checkWrite, readSegment, segmentLinear, writeSegment } from '../segmentation/access.ts';

/**
 * A stack that an instruction works on without moving ESP until `commit`: if anything faults before, nothing happened
 * to the stack pointer. Pushes may have written below it, as processors do.
 */
export class StackWalk {
  readonly #cpu: Cpu;
  readonly #mask: number;
  /** Stack pointer as it would be now, within the mask. */
  #pointer: number;

  constructor(cpu: Cpu) {
    this.#cpu = cpu;
    this.#mask = (cpu.state.segmentAttributes(SS) & ATTRIBUTE.DB) !== 0 ? 0xffff_ffff : 0xffff;
    this.#pointer = (cpu.state.gpr(RSP) & this.#mask) >>> 0;
  }

  /** Stack pointer as it would be now, within the mask. */
  get pointer(): number {
    return this.#pointer;
  }
  /** 0xffff or 0xffffffff, by SS.B. */
  get mask(): number {
    return this.#mask;
  }

  push(size: 2 | 4, value: number): void {
    const pointer = ((this.#pointer - size) & this.#mask) >>> 0;
    writeSegment(this.#cpu, SS, pointer, size, value);
    this.#pointer = pointer;
  }

  pop(size: 2 | 4): number {
    const value = readSegment(this.#cpu, SS, this.#pointer, size);
    this.skip(size);
    return value;
  }

  /** Reads `bytes` bytes above the top without popping. */
  peek(bytes: number, size: 2 | 4): number {
    return readSegment(this.#cpu, SS, ((this.#pointer + bytes) & this.#mask) >>> 0, size);
  }

  skip(bytes: number): void {
    this.#pointer = ((this.#pointer + bytes) & this.#mask) >>> 0;
  }

  /** Raises #SS(0) where the segment has no room for so many pushes. No page is touched. */
  checkRoom(size: 2 | 4, count: number): void {
    for (let n = 1; n <= count; n++) {
      segmentLinear(this.#cpu, SS, ((this.#pointer - n * size) & this.#mask) >>> 0, size, true);
    }
  }

  /** Raises what writing the element at the top would raise. */
  checkTop(size: 2 | 4): void {
    checkWrite(this.#cpu, SS, this.#pointer, size);
  }

  commit(): void {
    const { state } = this.#cpu;
    state.setGpr(RSP, ((state.gpr(RSP) & ~this.#mask) | this.#pointer) >>> 0);
  }
}
