import { MXCSR } from '../../../arch/registers.ts';
import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { DOUBLE, type Narrow, SINGLE } from '../../x87/softfloat/floats.ts';
import { BIAS } from '../../x87/softfloat/format.ts';
import { roundIncrement } from '../../x87/softfloat/rounding.ts';
import { shiftRightSticky } from '../../x87/softfloat/wide.ts';
import {
  addFlags,
  controlWord,
  infinity,
  isInfinite,
  isNan,
  isSignaling,
  isZero,
  type LaneKit,
  laneFunction,
  magnitude,
  normalized,
  noteDenormals,
  operandOf,
  quietBit,
  signOf,
  smallestNormal,
} from './lane.ts';

/** The integer indefinite (SDM vol. 1 table 4-3): what no int32 can hold becomes this. */
const INDEFINITE = 0x8000_0000n;
/** Rounding control "toward zero" of a control word in x87 positions. */
const TRUNCATE = 0xc00;

export interface ConvertLanes {
  /** Number to int32; `extra` 1 truncates whatever MXCSR says. */
  readonly singleToInteger: FunctionReference;
  readonly doubleToInteger: FunctionReference;
  readonly integerToSingle: FunctionReference;
  readonly singleToDouble: FunctionReference;
  readonly doubleToSingle: FunctionReference;
}

/** Conversions of the second operand. `roundSingle` is the rounding to singles. */
export const emitConvertLanes = (kit: LaneKit, roundSingle: FunctionReference): ConvertLanes => ({
  singleToInteger: emitToInteger(kit, SINGLE),
  doubleToInteger: emitToInteger(kit, DOUBLE),
  integerToSingle: emitFromInteger(kit, roundSingle),
  singleToDouble: emitWiden(kit),
  doubleToSingle: emitNarrow(kit, roundSingle),
});

/** No conversion to integers reports denormal operands (SDM vol. 1 table 11-1 leaves them out). */
function emitToInteger(kit: LaneKit, format: Narrow): FunctionReference {
  return laneFunction(kit, (f, _first, second, truncate) => {
    const x = operandOf(f, kit, format, second);
    f.if(isZero(format, x), () => f.return(Int.const64(0)));
    const returnIndefinite = (): void => {
      addFlags(f, kit, MXCSR.IE);
      f.return(Int.const64(INDEFINITE));
    };
    const { exponent, significand } = normalized(f, format, x);
    // NaNs and infinities have the largest exponents of all.
    f.if(exponent.geS(BIAS + 32), returnIndefinite);
    const { high, low } = shiftRightSticky(f, significand, f.let(Int.const32(BIAS + 63).sub(exponent)));
    const control = f.let(controlWord(kit).or(truncate.negate().and(TRUNCATE)));
    const sign = f.let(signOf(format, x));
    const up = roundIncrement(f, control, sign, high.toI32(), low);
    const rounded = f.let(high.add(up.toI64Unsigned()));
    f.if(rounded.gtU(Int.const64(INDEFINITE - 1n).add(sign.toI64Unsigned())), returnIndefinite);
    addFlags(f, kit, low.ne(0).shl(5));
    f.return(rounded.negate().select(rounded, sign).and(0xffff_ffffn));
  });
}

function emitFromInteger(kit: LaneKit, round: FunctionReference): FunctionReference {
  return laneFunction(kit, (f, _first, second) => {
    const value = f.let(second.signExtend(32));
    f.if(value.eqz(), () => f.return(value));
    const sign = f.let(value.ltS(0));
    const size = f.let(value.negate().select(value, sign));
    const shift = f.let(size.clz());
    const exponent = Int.const32(BIAS + 63).sub(shift.toI32());
    returnRounded(f, kit, round, sign, exponent, size.shl(shift));
  });
}

function returnRounded(
  f: FunctionBuilder,
  kit: LaneKit,
  round: FunctionReference,
  sign: Int,
  exponent: Int,
  significand: Int,
): void {
  const place = Int.const32(kit.places.result);
  const args = [place, sign, exponent, significand, Int.const64(0), controlWord(kit)];
  addFlags(f, kit, f.callFor(round, ...args));
  f.return(Int.load('i64', 64, place));
}

/** Bits by which the fraction of a double is longer. */
const WIDER = DOUBLE.precision - SINGLE.precision;

function emitWiden(kit: LaneKit): FunctionReference {
  return laneFunction(kit, (f, _first, second) => {
    const x = operandOf(f, kit, SINGLE, second);
    const sign = f.let(signOf(SINGLE, x).toI64Unsigned().shl(63));
    const fraction = magnitude(SINGLE, x)
      .shl(WIDER)
      .and(smallestNormal(DOUBLE) - 1n);
    f.if(isNan(SINGLE, x), () => {
      addFlags(f, kit, isSignaling(SINGLE, x));
      f.return(sign.or(infinity(DOUBLE) | quietBit(DOUBLE)).or(fraction));
    });
    f.if(isInfinite(SINGLE, x), () => f.return(sign.or(infinity(DOUBLE))));
    f.if(isZero(SINGLE, x), () => f.return(sign));
    noteDenormals(f, kit, SINGLE, x);
    const { exponent, significand } = normalized(f, SINGLE, x);
    const field = exponent.sub(BIAS - DOUBLE.bias).toI64Unsigned();
    f.return(sign.or(field.shl(DOUBLE.precision - 1)).or(significand.shl(1).shrU(65 - DOUBLE.precision)));
  });
}

function emitNarrow(kit: LaneKit, round: FunctionReference): FunctionReference {
  return laneFunction(kit, (f, _first, second) => {
    const x = operandOf(f, kit, DOUBLE, second);
    const sign = f.let(signOf(DOUBLE, x));
    const signed = sign.toI64Unsigned().shl(31);
    f.if(isNan(DOUBLE, x), () => {
      addFlags(f, kit, isSignaling(DOUBLE, x));
      const fraction = x.shrU(WIDER).and(smallestNormal(SINGLE) - 1n);
      f.return(signed.or(infinity(SINGLE) | quietBit(SINGLE)).or(fraction));
    });
    f.if(isInfinite(DOUBLE, x), () => f.return(signed.or(infinity(SINGLE))));
    f.if(isZero(DOUBLE, x), () => f.return(signed));
    noteDenormals(f, kit, DOUBLE, x);
    const { exponent, significand } = normalized(f, DOUBLE, x);
    returnRounded(f, kit, round, sign, exponent, significand);
  });
}
