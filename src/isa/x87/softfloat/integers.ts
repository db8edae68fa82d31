import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { FSW } from '../control.ts';
import { BIAS, MAX_EXPONENT, pack, type Unpacked, unpack } from './format.ts';
import { type Kit, operation } from './kit.ts';
import { roundIncrement } from './rounding.ts';
import { shiftRightSticky } from './wide.ts';

export type IntegerBits = 16 | 32 | 64;

/** Stores a signed i64 (shared) as an extended number, always exactly. */
export function packInteger(f: FunctionBuilder, destination: Int, value: Int): void {
  const sign = f.let(value.shrU(63).toI32());
  const magnitude = f.let(value.negate().select(value, sign));
  const shift = f.let(magnitude.clz());
  const exponent = Int.const32(BIAS + 63).sub(shift.toI32());
  pack(f, destination, sign, exponent.select(0, magnitude.ne(0)), magnitude.shl(shift));
}

/** Emits (destination slot, source address, control) -> 0: widens a signed integer of `bits` bits in memory. */
export function emitFromInteger(kit: Kit, bits: IntegerBits): FunctionReference {
  return operation(kit.module, 3, (f, destination, source) => {
    packInteger(f, destination!, f.let(Int.load('i64', bits, source!, 0, true)));
    f.return(Int.const32(0));
  });
}

/** A finite magnitude as an integer, rounded; `huge` (i32) tells that it does not fit 64 bits. */
export interface RoundedInteger {
  readonly magnitude: Int;
  readonly huge: Int;
  /** PE and C1. */
  readonly flags: Int;
}

export function roundMagnitude(f: FunctionBuilder, x: Unpacked, control: Int): RoundedInteger {
  const fractionBits = f.let(Int.const32(BIAS + 63).sub(x.exponent));
  const huge = f.let(fractionBits.ltS(0));
  const { high, low } = shiftRightSticky(f, x.significand, f.let(fractionBits.select(0, huge.eqz())));
  const up = roundIncrement(f, control, x.sign, high.toI32(), low);
  const magnitude = f.let(high.add(up.toI64Unsigned()));
  return {
    magnitude,
    // A carry out of 64 bits leaves zero where something was; below that the comparison with the limit decides.
    huge: f.let(huge.or(magnitude.eqz().and(high.ne(0)))),
    flags: f.let(low.ne(0).shl(5).or(up.shl(9))),
  };
}

/**
 * Emits (destination address, source slot, control) -> flags: rounds to a signed integer of `bits` bits in memory.
 * NaNs, unsupported encodings and what does not fit are invalid: the integer indefinite if masked, nothing stored
 * otherwise (SDM vol. 2A "FIST/FISTP", table 3-33). Denormals raise no #D here.
 */
export function emitToInteger(kit: Kit, bits: IntegerBits): FunctionReference {
  const limit = 1n << BigInt(bits - 1);
  return operation(kit.module, 3, (f, ...args) => {
    const [destination, source, control] = args as [Int, Int, Int];
    const x = unpack(f, source);
    const rounded = roundMagnitude(f, x, control);
    const unsupported = x.exponent.ne(0).and(x.significand.geS(0));
    const tooLarge = rounded.magnitude.gtU(Int.const64(limit - 1n).add(x.sign.toI64Unsigned()));
    f.if(unsupported.or(x.exponent.eq(MAX_EXPONENT)).or(rounded.huge).or(tooLarge), () => {
      f.if(control.and(FSW.IE), () => f.store(bits, destination, Int.const64(limit)));
      f.return(Int.const32(FSW.IE));
    });
    const negative = rounded.magnitude.negate();
    f.store(bits, destination, negative.select(rounded.magnitude, x.sign));
    f.return(rounded.flags);
  });
}
