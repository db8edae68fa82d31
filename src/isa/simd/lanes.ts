import type { Int } from '../../wasm/expression.ts';
import { Float, type FloatArithmetic } from '../../wasm/float.ts';
import { V128 } from '../../wasm/vector.ts';
import type { SimdBuilder } from './builder.ts';
import type { ScalarName, VectorName } from './soft/names.ts';

export type LaneBits = 32 | 64;

/** Bounds of a format's classes, as magnitudes (bits without the sign). */
export interface Bounds {
  readonly smallestNormal: bigint;
  readonly infinity: bigint;
}

const BOUNDS: Readonly<Record<LaneBits, Bounds>> = {
  32: { smallestNormal: 0x0080_0000n, infinity: 0x7f80_0000n },
  64: { smallestNormal: 0x0010_0000_0000_0000n, infinity: 0x7ff0_0000_0000_0000n },
};

/** One floating-point operation of packed and scalar instructions, without its suffix. */
export type Operation = 'add' | 'sub' | 'mul' | 'div' | 'sqrt' | 'min' | 'max' | 'compare';

/**
 * Arithmetic and tests on the bits of numbers, alike for all lanes of a vector and for one lane, so that semantics are
 * written once for both. A mask has all bits set in the lanes where something holds (or is an i32, 0 or 1).
 */
export interface Lanes<Value> {
  readonly bounds: Bounds;
  /** Computes a value now, to be used any number of times. */
  keep(value: Value): Value;
  operate(operation: FloatArithmetic, x: Value, y: Value): Value;
  sqrt(x: Value): Value;
  /** `better(x, y) ? x : y` for numbers that are no NaNs. */
  choose(operation: 'min' | 'max', x: Value, y: Value): Value;
  equal(x: Value, y: Value): Value;
  less(x: Value, y: Value): Value;
  magnitude(x: Value): Value;
  /** Mask: the bits, as an unsigned number, are in low..high - 1, or are not. */
  inside(bits: Value, low: bigint, high: bigint): Value;
  outside(bits: Value, low: bigint, high: bigint): Value;
  isZero(bits: Value): Value;
  and(mask: Value, other: Value): Value;
  or(mask: Value, other: Value): Value;
  xor(mask: Value, other: Value): Value;
  /** `mask`, less `other`. */
  without(mask: Value, other: Value): Value;
  /** A mask that is set in all lanes if the condition (i32, 0 or 1) holds, else in none. */
  everywhere(condition: Int): Value;
  /** A mask as the value of an instruction: all ones or zero. */
  fill(mask: Value): Value;
  /** i32 1 if the mask is clear in every lane. */
  none(mask: Value): Int;
  /** `fast` where the condition holds, else what the function in `soft/` gives. */
  select(condition: Int, fast: Value, operation: Operation, x: Value, y: Value, extra?: Int): Value;
}

/** The lanes of an XMM register. */
export class PackedLanes implements Lanes<V128> {
  readonly bounds: Bounds;
  readonly #op: SimdBuilder;
  readonly #bits: LaneBits;

  constructor(op: SimdBuilder, bits: LaneBits) {
    this.#op = op;
    this.#bits = bits;
    this.bounds = BOUNDS[bits];
  }

  get #float(): 'f32x4' | 'f64x2' {
    return this.#bits === 32 ? 'f32x4' : 'f64x2';
  }
  get #integer(): 'i32x4' | 'i64x2' {
    return this.#bits === 32 ? 'i32x4' : 'i64x2';
  }

  keep(value: V128): V128 {
    return this.#op.letVector(value);
  }
  operate(operation: FloatArithmetic, x: V128, y: V128): V128 {
    return x.with(`${this.#float}.${operation}`, y);
  }
  sqrt(x: V128): V128 {
    return x.apply(`${this.#float}.sqrt`);
  }
  /** The pseudo-minimum of WebAssembly is `y < x ? y : x`, the other way round than MINPS. */
  choose(operation: 'min' | 'max', x: V128, y: V128): V128 {
    return y.with(`${this.#float}.p${operation}`, x);
  }
  equal(x: V128, y: V128): V128 {
    return x.with(`${this.#float}.eq`, y);
  }
  less(x: V128, y: V128): V128 {
    return x.with(`${this.#float}.lt`, y);
  }
  magnitude(x: V128): V128 {
    return x.with('v128.and', this.#splat((1n << BigInt(this.#bits - 1)) - 1n));
  }
  inside(bits: V128, low: bigint, high: bigint): V128 {
    return this.#splat(high - low - this.#half).with(`${this.#integer}.gt_s`, this.#moved(bits, low));
  }
  outside(bits: V128, low: bigint, high: bigint): V128 {
    return this.#moved(bits, low).with(`${this.#integer}.gt_s`, this.#splat(high - low - 1n - this.#half));
  }
  /** There is no unsigned comparison of 64-bit lanes: both sides are moved by half the range and compared as signed. */
  #moved(bits: V128, low: bigint): V128 {
    return bits.with(`${this.#integer}.add`, this.#splat(this.#half - low));
  }
  get #half(): bigint {
    return 1n << BigInt(this.#bits - 1);
  }
  isZero(bits: V128): V128 {
    return bits.with(`${this.#integer}.eq`, V128.zero());
  }
  and(mask: V128, other: V128): V128 {
    return mask.with('v128.and', other);
  }
  or(mask: V128, other: V128): V128 {
    return mask.with('v128.or', other);
  }
  xor(mask: V128, other: V128): V128 {
    return mask.with('v128.xor', other);
  }
  without(mask: V128, other: V128): V128 {
    return mask.with('v128.andnot', other);
  }
  everywhere(condition: Int): V128 {
    return V128.splat('i32x4', condition.negate());
  }
  fill(mask: V128): V128 {
    return mask;
  }
  none(mask: V128): Int {
    return mask.anyTrue().eqz();
  }
  select(condition: Int, fast: V128, operation: Operation, x: V128, y: V128, extra?: Int): V128 {
    const name: VectorName = `${operation}.${this.#bits === 32 ? 'ps' : 'pd'}`;
    return this.#op.chooseVector(condition, fast, name, x, y, extra);
  }

  #splat(value: bigint): V128 {
    return V128.splatConstant(this.#bits, BigInt.asUintN(this.#bits, value));
  }
}

/** One number, as an i32 or i64. */
export class SingleLane implements Lanes<Int> {
  readonly bounds: Bounds;
  readonly #op: SimdBuilder;
  readonly #bits: LaneBits;

  constructor(op: SimdBuilder, bits: LaneBits) {
    this.#op = op;
    this.#bits = bits;
    this.bounds = BOUNDS[bits];
  }

  keep(value: Int): Int {
    return this.#op.let(value);
  }
  operate(operation: FloatArithmetic, x: Int, y: Int): Int {
    return Float.fromBits(x).operate(operation, Float.fromBits(y)).bits();
  }
  sqrt(x: Int): Int {
    return Float.fromBits(x).sqrt().bits();
  }
  choose(operation: 'min' | 'max', x: Int, y: Int): Int {
    const better = Float.fromBits(x).compare(operation === 'min' ? 'lt' : 'gt', Float.fromBits(y));
    return x.select(y, better);
  }
  equal(x: Int, y: Int): Int {
    return Float.fromBits(x).compare('eq', Float.fromBits(y));
  }
  less(x: Int, y: Int): Int {
    return Float.fromBits(x).compare('lt', Float.fromBits(y));
  }
  magnitude(x: Int): Int {
    return x.and(BigInt.asIntN(this.#bits, (1n << BigInt(this.#bits - 1)) - 1n));
  }
  inside(bits: Int, low: bigint, high: bigint): Int {
    return bits.sub(low).ltU(high - low);
  }
  outside(bits: Int, low: bigint, high: bigint): Int {
    return bits.sub(low).geU(high - low);
  }
  isZero(bits: Int): Int {
    return bits.eqz();
  }
  and(mask: Int, other: Int): Int {
    return mask.and(other);
  }
  or(mask: Int, other: Int): Int {
    return mask.or(other);
  }
  xor(mask: Int, other: Int): Int {
    return mask.xor(other);
  }
  without(mask: Int, other: Int): Int {
    return mask.and(other.xor(1));
  }
  everywhere(condition: Int): Int {
    return condition;
  }
  fill(mask: Int): Int {
    return (this.#bits === 32 ? mask : mask.toI64Unsigned()).negate();
  }
  none(mask: Int): Int {
    return mask.eqz();
  }
  select(condition: Int, fast: Int, operation: Operation, x: Int, y: Int, extra?: Int): Int {
    const name: ScalarName = `${operation}.${this.#bits === 32 ? 'ss' : 'sd'}`;
    return this.#op.chooseScalar(condition, fast, name, x, y, extra);
  }
}

/** Mask of denormals among magnitudes. */
export const isDenormal = <Value>(lanes: Lanes<Value>, magnitude: Value): Value =>
  lanes.inside(magnitude, 1n, lanes.bounds.smallestNormal);

/** Mask of denormals and NaNs among magnitudes. */
export const isDelicate = <Value>(lanes: Lanes<Value>, magnitude: Value): Value => {
  const { smallestNormal, infinity } = lanes.bounds;
  return lanes.without(lanes.outside(magnitude, smallestNormal, infinity + 1n), lanes.isZero(magnitude));
};
