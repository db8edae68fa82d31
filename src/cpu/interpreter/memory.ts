import type { Bits } from '../../isa/builder.ts';
import { Int } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function.ts';
import {
  FAST_TLB,
  FAST_TLB_ENTRIES,
  FAST_TLB_ENTRY_SHIFT,
  FAULT,
  SEGMENT,
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

  /** Linear address of an offset in a segment, after the limit and access check (SDM vol. 3A 5.3, 5.5). */
  checkedLinear(segment: Int, offset: Int, bits: Bits, write: boolean): Int {
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
    this.#next ??= this.#code.local('i32');
    this.#code.set(
      this.#next,
      bits === 64
        ? this.#code.callFor(writeSlow64, this.#record, linear, value)
        : this.#code.callFor(writeSlow, this.#record, linear, Int.const32(bits / 8), value),
    );
  }

  #entry(linear: Int): Int {
    return this.#code.let(
      linear
        .shrU(12 - FAST_TLB_ENTRY_SHIFT)
        .and(ENTRY_MASK)
        .add(FAST_TLB),
    );
  }

  #hit(entry: Int, linear: Int, bits: Bits, tag: number): Int {
    const page = linear.add(bits / 8 - 1).and(~0xfff);
    return page.or(loadState(TLB_TAG)).eq(Int.load('i32', 32, entry, tag));
  }

  #host(entry: Int, linear: Int): Int {
    return Int.load('i32', 32, entry, TLB_ENTRY.ADDEND).add(linear);
  }
}
