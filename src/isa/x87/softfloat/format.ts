import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder } from '../../../wasm/function.ts';

/**
 * The double extended format (SDM vol. 1 4.2.2) in a 16-byte memory slot: the significand with its explicit integer
 * bit in bytes 0-7, the biased exponent in bits 0-14 and the sign in bit 15 of the word at byte 8. The other bytes of
 * a slot are neither read nor written.
 */
export const SLOT_BYTES = 16;
export const EXPONENT_OFFSET = 8;

export const BIAS = 0x3fff;
export const MAX_EXPONENT = 0x7fff;
/** Bits of the significand: the integer bit, and the first fraction bit, which tells a quiet NaN. */
export const INTEGER_BIT = 0x8000_0000_0000_0000n;
export const QUIET_BIT = 0x4000_0000_0000_0000n;
/** The real indefinite, a quiet NaN (SDM vol. 1 4.8.3.7). */
export const INDEFINITE_SIGNIFICAND = 0xc000_0000_0000_0000n;
export const INDEFINITE_EXPONENT = 0xffff;

/** A number taken apart: sign (i32, 0 or 1), biased exponent (i32) and significand (i64). */
export interface Unpacked {
  readonly sign: Int;
  readonly exponent: Int;
  readonly significand: Int;
}

/** The sign-and-exponent word of a slot. */
export const signExponent = (slot: Int): Int => Int.load('i32', 16, slot, EXPONENT_OFFSET);
const significand = (slot: Int): Int => Int.load('i64', 64, slot);

export function unpack(f: FunctionBuilder, slot: Int): Unpacked {
  const word = f.let(signExponent(slot));
  return {
    sign: f.let(word.shrU(15)),
    exponent: f.let(word.and(MAX_EXPONENT)),
    significand: f.let(significand(slot)),
  };
}

/** Writes a slot; `exponent` may be a number, and is then taken for the exponent alone. */
export function pack(f: FunctionBuilder, slot: Int, sign: Int, exponent: Int | number, fraction: Int): void {
  f.store(64, slot, fraction);
  f.store(16, slot, sign.shl(15).or(exponent), EXPONENT_OFFSET);
}

export const packZero = (f: FunctionBuilder, slot: Int, sign: Int): void =>
  pack(f, slot, sign, 0, Int.const64(0));

export const packInfinity = (f: FunctionBuilder, slot: Int, sign: Int): void =>
  pack(f, slot, sign, MAX_EXPONENT, Int.const64(INTEGER_BIT));

export function packIndefinite(f: FunctionBuilder, slot: Int): void {
  f.store(64, slot, Int.const64(INDEFINITE_SIGNIFICAND));
  f.store(16, slot, Int.const32(INDEFINITE_EXPONENT), EXPONENT_OFFSET);
}

/** i32 1 if the exponent is neither zero nor all ones and the integer bit is set: nothing special about it. */
export const isNormal = (value: Unpacked): Int =>
  value.exponent
    .sub(1)
    .ltU(MAX_EXPONENT - 1)
    .and(value.significand.ltS(0));

/**
 * A non-zero finite number with its integer bit moved into place. A denormal's exponent field of zero counts as one
 * (SDM vol. 1 table 4-3), so its exponent becomes zero or negative here.
 */
export function normalize(f: FunctionBuilder, value: Unpacked): Unpacked {
  const shift = f.let(value.significand.clz());
  return {
    sign: value.sign,
    exponent: f.let(value.exponent.add(value.exponent.eqz()).sub(shift.toI32())),
    significand: f.let(value.significand.shl(shift)),
  };
}
