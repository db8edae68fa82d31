import type { Bits } from '../../isa/builder.ts';
import { Int } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function.ts';
import { V128 } from '../../wasm/vector.ts';
import {
  FAST_TLB,
  FAST_TLB_ENTRIES,
  FAST_TLB_ENTRY_SHIFT,
  FAULT,
  SEGMENT,
  SIMD_MASK,
  SIMD_TRANSFER,
  TLB_ENTRY,
  TLB_TAG,
} from '../layout.ts';
import { type Dispatch, loadState } from './dispatch.ts';

/** Where a checked access goes: host memory, or (`host` 0) the slow path. */
export interface Place {
  readonly linear: Int;
  readonly host: Local;
  readonly bits: Bits;
}

const ABSOLUTE = Int.const32(0);
const ENTRY_MASK = (FAST_TLB_ENTRIES - 1) << FAST_TLB_ENTRY_SHIFT;

/**
 * Memory access in line: one comparison against the fast TLB, else a call to TypeScript. The comparison takes the
 * page of the last byte and the entry of the first, so that an access across pages always misses.
 */
export class MemoryAccess {
  readonly #code: FunctionBuilder;
  readonly #dispatch: Dispatch;
  readonly #record: Int;
  #next: Local | undefined;

  constructor(code: FunctionBuilder, dispatch: Dispatch, record: Int) {
    this.#code = code;
    this.#dispatch = dispatch;
    this.#record = record;
  }

  /** The record that a slow write wants to go on with, 0 if none did; undefined if the code writes no memory. */
  get next(): Int | undefined {
    return this.#next && this.#code.get(this.#next);
  }

  read(linear: Int, bits: Bits): Int {
    const code = this.#code;
    const value = code.local(bits === 64 ? 'i64' : 'i32');
    const entry = this.#entry(linear);
    code.if(
      this.#hit(entry, linear, bits, TLB_ENTRY.READ_TAG),
      () => code.set(value, Int.load(value.type as 'i32' | 'i64', bits, this.#host(entry, linear))),
      () => {
        const { readSlow, readSlow64 } = this.#dispatch.imports;
        code.set(
          value,
          bits === 64
            ? code.callFor(readSlow64, this.#record, linear)
            : code.callFor(readSlow, this.#record, linear, Int.const32(bits / 8)),
        );
        this.leaveOnFault();
      },
    );
    return code.get(value);
  }

  /** Reads what `replace` is going to write; whatever could go wrong with the write goes wrong here. */
  modify(linear: Int, bits: Bits): { value: Int; place: Place } {
    const code = this.#code;
    const value = code.local(bits === 64 ? 'i64' : 'i32');
    const host = code.local('i32');
    const entry = this.#entry(linear);
    code.if(
      this.#hit(entry, linear, bits, TLB_ENTRY.WRITE_TAG),
      () => {
        code.set(host, this.#host(entry, linear));
        code.set(value, Int.load(value.type as 'i32' | 'i64', bits, code.get(host)));
      },
      () => {
        const { modifySlow, modifySlow64 } = this.#dispatch.imports;
        code.set(host, Int.const32(0));
        code.set(
          value,
          bits === 64
            ? code.callFor(modifySlow64, this.#record, linear)
            : code.callFor(modifySlow, this.#record, linear, Int.const32(bits / 8)),
        );
        this.leaveOnFault();
      },
    );
    return { value: code.get(value), place: { linear, host, bits } };
  }

  replace(place: Place, value: Int): void {
    const code = this.#code;
    const host = code.get(place.host);
    code.if(
      host,
      () => code.store(place.bits, host, value),
      () => this.#writeSlow(place.linear, place.bits, value),
    );
  }

  write(linear: Int, bits: Bits, value: Int): void {
    const code = this.#code;
    const shared = code.let(value);
    const entry = this.#entry(linear);
    code.if(
      this.#hit(entry, linear, bits, TLB_ENTRY.WRITE_TAG),
      () => code.store(bits, this.#host(entry, linear), shared),
      () => {
        this.#writeSlow(linear, bits, shared);
        this.leaveOnFault();
      },
    );
  }

  /** Reads 16 bytes; with `aligned`, #GP(0) unless the linear address is a multiple of 16 (SDM vol. 1 10.4.1.1). */
  readVector(linear: Int, aligned: boolean): V128 {
    const code = this.#code;
    const value = code.local('v128');
    const entry = this.#entry(linear);
    code.if(
      this.#hitVector(entry, linear, aligned, TLB_ENTRY.READ_TAG),
      () => code.set(value, V128.load(128, this.#host(entry, linear))),
      () => {
        const { readSlow128 } = this.#dispatch.imports;
        code.call(readSlow128, this.#record, linear, Int.const32(aligned ? 1 : 0));
        this.leaveOnFault();
        code.set(value, V128.load(128, ABSOLUTE, SIMD_TRANSFER));
      },
    );
    return code.getVector(value);
  }

  writeVector(linear: Int, value: V128, aligned: boolean): void {
    const code = this.#code;
    const shared = code.letVector(value);
    const entry = this.#entry(linear);
    code.if(
      this.#hitVector(entry, linear, aligned, TLB_ENTRY.WRITE_TAG),
      () => code.storeVector(128, this.#host(entry, linear), shared),
      () => {
        code.storeVector(128, ABSOLUTE, shared, SIMD_TRANSFER);
        const { writeSlow128 } = this.#dispatch.imports;
        this.#goOnAfter(code.callFor(writeSlow128, this.#record, linear, Int.const32(aligned ? 1 : 0)));
        this.leaveOnFault();
      },
    );
  }

  /** Writes those bytes of `data` whose byte in `mask` has its top bit set. */
  writeMasked(linear: Int, bits: 64 | 128, data: V128, mask: V128): void {
    const code = this.#code;
    const entry = this.#entry(linear);
    const chosen = V128.zero().with('i8x16.gt_s', mask);
    code.if(
      this.#hit(entry, linear, bits, TLB_ENTRY.WRITE_TAG),
      () => {
        const host = code.let(this.#host(entry, linear));
        const old = V128.load(bits, host);
        code.storeVector(bits, host, data.bitselect(old, chosen));
      },
      () => {
        code.storeVector(128, ABSOLUTE, data, SIMD_TRANSFER);
        code.storeVector(128, ABSOLUTE, mask, SIMD_MASK);
        const { writeMaskedSlow } = this.#dispatch.imports;
        this.#goOnAfter(code.callFor(writeMaskedSlow, this.#record, linear, Int.const32(bits / 8)));
        this.leaveOnFault();
      },
    );
  }

  /** Host address of a byte, good to the end of its page; `otherwise`, which must leave, if the fast TLB has none. */
  pageHost(linear: Int, write: boolean, otherwise: () => void): Int {
    const entry = this.#entry(linear);
    const tag = write ? TLB_ENTRY.WRITE_TAG : TLB_ENTRY.READ_TAG;
    this.#code.if(this.#hit(entry, linear, 8, tag).eqz(), otherwise);
    return this.#code.let(this.#host(entry, linear));
  }

  /** Linear address of an offset in a segment, after the limit and access check (SDM vol. 3A 5.3, 5.5). */
  checkedLinear(segment: Int, offset: Int, bits: Bits | 128, write: boolean): Int {
    const code = this.#code;
    const low = Int.load('i32', 32, segment, SEGMENT.LOW);
    const span = Int.load('i64', 64, segment, write ? SEGMENT.WRITE_SPAN : SEGMENT.READ_SPAN);
    const last = offset
      .sub(low)
      .toI64Unsigned()
      .add(bits / 8 - 1);
    code.if(last.gtS(span), () => {
      code.call(this.#dispatch.imports.segmentFault, this.#record, segment);
      code.returnCall(this.#dispatch.lookup);
    });
    return code.let(Int.load('i32', 32, segment, SEGMENT.BASE).add(offset));
  }

  leaveOnFault(): void {
    this.#code.if(loadState(FAULT), () => this.#code.returnCall(this.#dispatch.lookup));
  }

  #writeSlow(linear: Int, bits: Bits, value: Int): void {
    const { writeSlow, writeSlow64 } = this.#dispatch.imports;
    this.#goOnAfter(
      bits === 64
        ? this.#code.callFor(writeSlow64, this.#record, linear, value)
        : this.#code.callFor(writeSlow, this.#record, linear, Int.const32(bits / 8), value),
    );
  }

  #goOnAfter(next: Int): void {
    this.#next ??= this.#code.local('i32');
    this.#code.set(this.#next, next);
  }

  #entry(linear: Int): Int {
    return this.#code.let(
      linear
        .shrU(12 - FAST_TLB_ENTRY_SHIFT)
        .and(ENTRY_MASK)
        .add(FAST_TLB),
    );
  }

  /** Aligned accesses lie within a page; what ought to be aligned and is not misses. */
  #hitVector(entry: Int, linear: Int, aligned: boolean, tag: number): Int {
    if (!aligned) return this.#hit(entry, linear, 128, tag);
    const page = linear.and(~0xfff).or(loadState(TLB_TAG));
    return page
      .xor(Int.load('i32', 32, entry, tag))
      .or(linear.and(15))
      .eqz();
  }

  #hit(entry: Int, linear: Int, bits: Bits | 128, tag: number): Int {
    const page = linear.add(bits / 8 - 1).and(~0xfff);
    return page.or(loadState(TLB_TAG)).eq(Int.load('i32', 32, entry, tag));
  }

  #host(entry: Int, linear: Int): Int {
    return Int.load('i32', 32, entry, TLB_ENTRY.ADDEND).add(linear);
  }
}
