import { MXCSR } from '../../../arch/registers.ts';
import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { signature } from '../../../wasm/module.ts';
import { FCW_RC_SHIFT, ROUND } from '../../x87/control.ts';
import type { Narrow } from '../../x87/softfloat/floats.ts';
import { BIAS } from '../../x87/softfloat/format.ts';
import { roundIncrement } from '../../x87/softfloat/rounding.ts';
import { shiftRightSticky } from '../../x87/softfloat/wide.ts';
import { infinity, type LaneKit } from './lane.ts';

interface Parts {
  readonly format: Narrow;
  readonly destination: Int;
  readonly sign: Int;
  readonly control: Int;
}

/**
 * Emits (destination, sign, exponent, high, low, control) -> flags, as the x87's `emitRoundPack` does: rounds to a single
 * or double and stores its bits as an i64. What an unmasked #O or #U would deliver is of no interest: a SIMD
 * instruction that raises it has no result (SDM vol. 1 11.5.3).
 */
export function emitRoundNarrow(kit: LaneKit, format: Narrow): FunctionReference {
  return kit.module.function(signature(['i32', 'i32', 'i32', 'i64', 'i64', 'i32'], ['i32']), (f) => {
    const [destination, sign, exponent, high, low, control] = [0, 1, 2, 3, 4, 5].map((n) =>
      f.parameter(n),
    ) as [Int, Int, Int, Int, Int, Int];
    const parts = { format, destination, sign, control };
    const dropped = 64 - format.precision;
    const place = f.let(exponent.sub(BIAS - format.bias));
    const kept = f.let(high.shrU(dropped));
    const rest = f.let(high.shl(format.precision).or(low.ne(0).toI64Unsigned()));
    const rounded = f.let(kept.add(roundIncrement(f, control, sign, kept.toI32(), rest).toI64Unsigned()));
    const carried = rounded.shrU(format.precision).toI32();
    const roundedPlace = f.let(place.add(carried));
    const inexact = f.let(rest.ne(0).shl(5));
    f.if(place.leS(0), () => returnTiny(f, parts, { place, high, low, roundedPlace, inexact }));
    f.if(roundedPlace.geS(format.maxExponent), () => returnOverflow(f, parts, inexact));
    // The significand's integer bit, or what it carried into, counts as one in the exponent field.
    const field = place
      .sub(1)
      .toI64Unsigned()
      .shl(format.precision - 1);
    storeBits(f, parts, field.add(rounded));
    f.return(inexact);
  });
}

/** Stores magnitude bits under the sign. */
function storeBits(f: FunctionBuilder, { format, destination, sign }: Parts, bits: Int): void {
  f.store(64, destination, bits.or(sign.toI64Unsigned().shl(format.bits - 1)));
}

interface Tiny {
  readonly place: Int;
  readonly high: Int;
  readonly low: Int;
  readonly roundedPlace: Int;
  readonly inexact: Int;
}

/**
 * Below the normal range before rounding. Tiny is what is below it after rounding with unbounded exponent (SDM vol. 1
 * 4.9.1.5); flush-to-zero acts while #U is masked (10.2.3.3).
 */
function returnTiny(f: FunctionBuilder, parts: Parts, value: Tiny): void {
  const { format, sign, control } = parts;
  const { place, high, low, roundedPlace, inexact } = value;
  const tiny = f.let(roundedPlace.leS(0));
  const masked = f.let(control.and(MXCSR.UE).ne(0));
  f.if(tiny.and(masked.eqz()), () => f.return(inexact.or(MXCSR.UE)));
  f.if(tiny.and(control.and(MXCSR.FZ).ne(0)), () => {
    storeBits(f, parts, Int.const64(0));
    f.return(Int.const32(MXCSR.UE | MXCSR.PE));
  });
  const shifted = shiftRightSticky(f, high, f.let(Int.const32(65 - format.precision).sub(place)));
  const rest = f.let(shifted.low.or(low.ne(0).toI64Unsigned()));
  const up = roundIncrement(f, control, sign, shifted.high.toI32(), rest);
  storeBits(f, parts, shifted.high.add(up.toI64Unsigned()));
  const lost = f.let(rest.ne(0));
  f.return(lost.shl(5).or(lost.and(tiny).shl(4)));
}

/** Infinity, or the largest finite number if the direction of rounding leads there (SDM vol. 1 table 4-10). */
function returnOverflow(f: FunctionBuilder, parts: Parts, inexact: Int): void {
  const { format, sign, control } = parts;
  f.if(control.and(MXCSR.OE).eqz(), () => f.return(inexact.or(MXCSR.OE)));
  const mode = f.let(control.shrU(FCW_RC_SHIFT).and(3));
  const infinite = mode.eqz().or(mode.eq(Int.const32(ROUND.UP).sub(sign)));
  const largest = Int.const64(infinity(format) - 1n);
  storeBits(f, parts, largest.add(infinite.toI64Unsigned()));
  f.return(Int.const32(MXCSR.OE | MXCSR.PE));
}
