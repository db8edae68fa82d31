import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { type ModuleBuilder, signature } from '../../../wasm/module.ts';
import { FCW, FCW_RC_SHIFT, FSW, PRECISION, ROUND } from '../control.ts';
import { INTEGER_BIT, MAX_EXPONENT, pack, packInfinity, packZero } from './format.ts';
import { shiftRightSticky } from './wide.ts';

/**
 * Unmasked overflow and underflow move the exponent by this much (SDM vol. 1 8.5.4, 8.5.5). Only FSCALE can miss the
 * format's range even so; the result is then infinity or zero.
 */
export const EXPONENT_ADJUSTMENT = 24576;

/**
 * Whether to add one to the kept bits (i32, 0 or 1; SDM vol. 1 4.8.4.1). `odd` is the lowest kept bit (i32); `rest`
 * is what follows it as an i64 fraction, its lowest bit sticky.
 */
export function roundIncrement(f: FunctionBuilder, control: Int, sign: Int, odd: Int, rest: Int): Int {
  const mode = f.let(control.shrU(FCW_RC_SHIFT).and(3));
  const nearest = rest.ltS(0).and(rest.shl(1).ne(0).or(odd.and(1)));
  // DOWN (1) moves negative numbers away from zero, UP (2) positive ones.
  const directed = rest.ne(0).and(mode.eq(Int.const32(ROUND.UP).sub(sign)));
  return f.let(nearest.select(directed, mode.eqz()));
}

/** How many low significand bits precision control drops (i64). The reserved setting 01B behaves as 11B. */
const droppedBits = (control: Int): Int => {
  const precision = control.and(FCW.PC);
  const double = Int.const64(11).select(0, precision.eq(PRECISION.DOUBLE));
  return Int.const64(40).select(double, precision.eq(PRECISION.SINGLE));
};

/**
 * Emits (destination, sign, exponent, high, low, control) -> flags: rounds the number (-1)^sign * high.low *
 * 2^(exponent - BIAS - 63) to the precision and in the direction that `control` says, and stores it. `high` has its
 * top bit set; `low` is the 64 bits behind it with a sticky end; `exponent` may lie outside the format's range, then
 * overflow or underflow gets its masked or unmasked response. Flags: OE, UE, PE and C1 (rounded up).
 */
export function emitRoundPack(module: ModuleBuilder): FunctionReference {
  const underflow = emitUnderflow(module);
  const overflow = emitOverflow(module);
  return module.function(signature(['i32', 'i32', 'i32', 'i64', 'i64', 'i32'], ['i32']), (f) => {
    const [destination, sign, exponent, high, low, control] = [0, 1, 2, 3, 4, 5].map((n) =>
      f.parameter(n),
    ) as [Int, Int, Int, Int, Int, Int];
    const dropped = f.let(droppedBits(control));
    const rest = f.local('i64');
    f.set(rest, low);
    f.if(dropped.ne(0), () => f.set(rest, high.shl(dropped.negate()).or(low.ne(0).toI64Unsigned())));
    const tail = f.get(rest);
    const up = roundIncrement(f, control, sign, high.shrU(dropped).toI32(), tail);
    const rounded = f.local('i64');
    const place = f.local('i32');
    f.set(rounded, high.shrU(dropped).add(up.toI64Unsigned()).shl(dropped));
    f.set(place, exponent);
    f.if(f.get(rounded).eqz(), () => {
      f.set(rounded, Int.const64(INTEGER_BIT));
      f.set(place, exponent.add(1));
    });
    const flags = f.let(tail.ne(0).shl(5).or(up.shl(9)));
    f.if(exponent.sub(1).ltU(MAX_EXPONENT - 2), () => {
      pack(f, destination, sign, f.get(place), f.get(rounded));
      f.return(flags);
    });
    f.if(exponent.leS(0), () => {
      f.return(
        f.callFor(
          underflow,
          destination,
          sign,
          exponent,
          high,
          low,
          control,
          f.get(place),
          f.get(rounded),
          flags,
        ),
      );
    });
    f.if(f.get(place).geS(MAX_EXPONENT), () => {
      f.return(f.callFor(overflow, destination, sign, f.get(place), f.get(rounded), control, flags));
    });
    pack(f, destination, sign, f.get(place), f.get(rounded));
    f.return(flags);
  });
}

/**
 * Exponent at or below zero. A result is tiny when it is below the smallest normal number after rounding with
 * unbounded exponent; masked, underflow is signalled only if the denormalized result is inexact too
 * (SDM vol. 1 4.9.1.5). Precision control keeps acting at its place in the significand.
 */
function emitUnderflow(module: ModuleBuilder): FunctionReference {
  const parameters = ['i32', 'i32', 'i32', 'i64', 'i64', 'i32', 'i32', 'i64', 'i32'] as const;
  return module.function(signature(parameters, ['i32']), (f) => {
    const destination = f.parameter(0);
    const sign = f.parameter(1);
    const exponent = f.parameter(2);
    const [high, low, control] = [f.parameter(3), f.parameter(4), f.parameter(5)];
    const [roundedExponent, rounded, flags] = [f.parameter(6), f.parameter(7), f.parameter(8)];
    const tiny = f.let(roundedExponent.leS(0));
    f.if(tiny.and(control.and(FSW.UE).eqz()), () => {
      f.if(roundedExponent.leS(-EXPONENT_ADJUSTMENT), () => {
        packZero(f, destination, sign);
        f.return(Int.const32(FSW.UE | FSW.PE));
      });
      pack(f, destination, sign, roundedExponent.add(EXPONENT_ADJUSTMENT), rounded);
      f.return(flags.or(FSW.UE));
    });
    const shifted = shiftRightSticky(f, high, Int.const32(1).sub(exponent));
    const sticky = f.let(shifted.low.or(low.ne(0).toI64Unsigned()));
    const dropped = f.let(droppedBits(control));
    const rest = f.local('i64');
    f.set(rest, sticky);
    f.if(dropped.ne(0), () => {
      f.set(rest, shifted.high.shl(dropped.negate()).or(sticky.ne(0).toI64Unsigned()));
    });
    const tail = f.get(rest);
    const up = roundIncrement(f, control, sign, shifted.high.shrU(dropped).toI32(), tail);
    const result = f.let(shifted.high.shrU(dropped).add(up.toI64Unsigned()).shl(dropped));
    // Rounding may have carried into the integer bit: the smallest normal number, exponent field 1.
    pack(f, destination, sign, result.shrU(63).toI32(), result);
    const inexact = f.let(tail.ne(0));
    f.return(inexact.shl(5).or(inexact.and(tiny).shl(4)).or(up.shl(9)));
  });
}

/** Exponent too large after rounding (SDM vol. 1 4.9.1.4 and 8.5.4). */
function emitOverflow(module: ModuleBuilder): FunctionReference {
  return module.function(signature(['i32', 'i32', 'i32', 'i64', 'i32', 'i32'], ['i32']), (f) => {
    const [destination, sign, exponent, rounded, control, flags] = [0, 1, 2, 3, 4, 5].map((n) =>
      f.parameter(n),
    ) as [Int, Int, Int, Int, Int, Int];
    f.if(control.and(FSW.OE).eqz(), () => {
      f.if(exponent.geS(MAX_EXPONENT + EXPONENT_ADJUSTMENT), () => {
        packInfinity(f, destination, sign);
        f.return(Int.const32(FSW.OE | FSW.PE | FSW.C1));
      });
      pack(f, destination, sign, exponent.sub(EXPONENT_ADJUSTMENT), rounded);
      f.return(flags.or(FSW.OE));
    });
    const mode = f.let(control.shrU(FCW_RC_SHIFT).and(3));
    f.if(mode.eqz().or(mode.eq(Int.const32(ROUND.UP).sub(sign))), () => {
      packInfinity(f, destination, sign);
      f.return(Int.const32(FSW.OE | FSW.PE | FSW.C1));
    });
    const dropped = droppedBits(control);
    pack(f, destination, sign, MAX_EXPONENT - 1, Int.const64(-1).shl(dropped));
    f.return(Int.const32(FSW.OE | FSW.PE));
  });
}
