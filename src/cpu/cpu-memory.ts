import { checkMemorySize } from '../arch/memory-size.ts';
import { allocate, type WasmMemory } from '../wasm/engine.ts';
import { FAST_TLB } from './layout.ts';

const PAGE = 4096;
/** Addresses and their ends fit 32 bits with room for what lies in front of RAM. */
const LIMITS = { least: PAGE, most: 0x8000_0000 } as const;
/** Registers, TLB and decoded instructions of a processor that caches code. */
const RAM_BASE = 0x200_0000;

/**
 * What a processor works in: registers, TLB, decoded instructions and RAM, in one WebAssembly memory. A hundred MiB of
 * fresh pages, and giving them back, cost far more than a short run does, so that one may serve several processors, each
 * after the last: a new `Cpu` on it finds RAM cleared and the one before must not run any more.
 */
export class CpuMemory {
  readonly wasm: WasmMemory;
  /** Bytes of RAM. */
  readonly ramBytes: number;
  /** Byte offset of physical address 0. */
  readonly ramBase: number;
  /** One byte per page of RAM: 0 as long as nobody can have written to it. */
  readonly touched: Uint8Array;

  /**
   * @param ramBytes a multiple of 4 KiB, at most 2 GiB
   * @param ramBase  bytes in front of RAM, a multiple of 4 KiB; the less, the less code can be cached
   * @throws InputError for another size of RAM
   */
  constructor(ramBytes: number, ramBase = RAM_BASE) {
    checkMemorySize(ramBytes, LIMITS);
    this.wasm = allocate(ramBase + ramBytes);
    this.ramBytes = ramBytes;
    this.ramBase = ramBase;
    this.touched = new Uint8Array(ramBytes / PAGE);
  }

  /** As at power-on: registers and RAM are zero. TLB and code are their owners' to clear. */
  clear(): void {
    const bytes = new Uint8Array(this.wasm.buffer);
    bytes.fill(0, 0, FAST_TLB);
    for (let frame = this.touched.indexOf(1); frame >= 0; frame = this.touched.indexOf(1, frame)) {
      let end = frame;
      while (this.touched[end] === 1) this.touched[end++] = 0;
      bytes.fill(0, this.ramBase + frame * PAGE, this.ramBase + end * PAGE);
      frame = end;
    }
  }
}
