import { MXCSR } from '../../../arch/registers.ts';
import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { ROUND } from '../../x87/control.ts';
import type { Narrow } from '../../x87/softfloat/floats.ts';
import type { FiniteKit } from '../../x87/softfloat/kit.ts';
import { emitFiniteProduct, emitFiniteQuotient } from '../../x87/softfloat/product.ts';
import { emitFiniteRoot } from '../../x87/softfloat/root.ts';
import { emitFiniteSum } from '../../x87/softfloat/sum.ts';
import {
  addFlags,
  controlWord,
  infinity,
  isInfinite,
  isZero,
  type LaneKit,
  laneFunction,
  loadControl,
  magnitude,
  normalized,
  noteDenormals,
  operandOf,
  returnInvalid,
  returnNan,
  signBit,
  signOf,
} from './lane.ts';

export interface ArithmeticLanes {
  readonly add: FunctionReference;
  readonly sub: FunctionReference;
  readonly mul: FunctionReference;
  readonly div: FunctionReference;
  readonly sqrt: FunctionReference;
}

/**
 * Addition to square root of singles or doubles: special operands here, finite ones through the x87's functions, which
 * compute exactly and leave the one rounding to `finite.roundPack`.
 */
export function emitArithmeticLanes(kit: LaneKit, finite: FiniteKit, format: Narrow): ArithmeticLanes {
  const unit = { kit, format };
  const sum = emitFiniteSum(finite);
  return {
    add: emitSum(unit, sum, finite.roundPack, false),
    sub: emitSum(unit, sum, finite.roundPack, true),
    mul: emitProduct(unit, emitFiniteProduct(finite)),
    div: emitQuotient(unit, emitFiniteQuotient(finite)),
    sqrt: emitRoot(unit, emitFiniteRoot(finite)),
  };
}

interface Unit {
  readonly kit: LaneKit;
  readonly format: Narrow;
}

/** Calls a function of finite numbers that stores its result in `places.result`, and returns that. */
function returnFinite(f: FunctionBuilder, kit: LaneKit, finite: FunctionReference, ...args: Int[]): void {
  const place = Int.const32(kit.places.result);
  addFlags(f, kit, f.callFor(finite, place, ...args, controlWord(kit)));
  f.return(Int.load('i64', 64, place));
}

function emitSum(
  unit: Unit,
  finite: FunctionReference,
  round: FunctionReference,
  negated: boolean,
): FunctionReference {
  const { kit, format } = unit;
  return laneFunction(kit, (f, first, second) => {
    const x = operandOf(f, kit, format, first);
    const y = operandOf(f, kit, format, second);
    returnNan(f, kit, format, x, y);
    const addend = negated ? f.let(y.xor(signBit(format))) : y;
    const opposite = f.let(signOf(format, x).ne(signOf(format, addend)));
    f.if(isInfinite(format, x), () => {
      f.if(isInfinite(format, y).and(opposite), () => returnInvalid(f, kit, format));
      noteDenormals(f, kit, format, y);
      f.return(x);
    });
    noteDenormals(f, kit, format, x, y);
    f.if(isInfinite(format, y), () => f.return(addend));
    f.if(magnitude(format, x).eq(magnitude(format, y)).and(opposite), () => {
      // The sum is zero: +0, or -0 when rounding down (SDM vol. 1 4.8.3.1).
      const down = loadControl(kit)
        .and(MXCSR.RC)
        .eq(ROUND.DOWN << 13);
      f.return(Int.const64(signBit(format)).select(0, down));
    });
    f.if(isZero(format, x).and(isZero(format, y)), () => f.return(x));
    returnIfZero(f, unit, x, addend, round);
    returnIfZero(f, unit, y, x, round);
    const a = normalized(f, format, x);
    const b = normalized(f, format, y);
    const left = [signOf(format, x), a.exponent, a.significand];
    returnFinite(f, kit, finite, ...left, signOf(format, addend), b.exponent, b.significand);
  });
}

/** If `zero` is zero, returns the other, non-zero addend; it is rounded because FTZ lets no denormal through. */
function returnIfZero(
  f: FunctionBuilder,
  { kit, format }: Unit,
  zero: Int,
  other: Int,
  round: FunctionReference,
): void {
  f.if(isZero(format, zero), () => {
    const { exponent, significand } = normalized(f, format, other);
    returnFinite(f, kit, round, signOf(format, other), exponent, significand, Int.const64(0));
  });
}

function emitProduct({ kit, format }: Unit, finite: FunctionReference): FunctionReference {
  return laneFunction(kit, (f, first, second) => {
    const x = operandOf(f, kit, format, first);
    const y = operandOf(f, kit, format, second);
    returnNan(f, kit, format, x, y);
    const sign = f.let(signOf(format, x).xor(signOf(format, y)));
    const signed = f.let(sign.toI64Unsigned().shl(format.bits - 1));
    const anyZero = f.let(isZero(format, x).or(isZero(format, y)));
    f.if(isInfinite(format, x).or(isInfinite(format, y)), () => {
      f.if(anyZero, () => returnInvalid(f, kit, format));
      noteDenormals(f, kit, format, x, y);
      f.return(signed.or(infinity(format)));
    });
    noteDenormals(f, kit, format, x, y);
    f.if(anyZero, () => f.return(signed));
    const a = normalized(f, format, x);
    const b = normalized(f, format, y);
    returnFinite(f, kit, finite, sign, a.exponent, a.significand, b.exponent, b.significand);
  });
}

function emitQuotient({ kit, format }: Unit, finite: FunctionReference): FunctionReference {
  return laneFunction(kit, (f, first, second) => {
    const x = operandOf(f, kit, format, first);
    const y = operandOf(f, kit, format, second);
    returnNan(f, kit, format, x, y);
    const sign = f.let(signOf(format, x).xor(signOf(format, y)));
    const signed = f.let(sign.toI64Unsigned().shl(format.bits - 1));
    const [xZero, yZero] = [f.let(isZero(format, x)), f.let(isZero(format, y))];
    const [xInfinite, yInfinite] = [f.let(isInfinite(format, x)), f.let(isInfinite(format, y))];
    const invalid = xZero.and(yZero).or(xInfinite.and(yInfinite));
    f.if(invalid, () => returnInvalid(f, kit, format));
    // Division by zero comes before a denormal operand and hides it (SDM vol. 1 4.9.2).
    f.if(yZero.and(xInfinite.eqz()), () => {
      addFlags(f, kit, MXCSR.ZE);
      f.return(signed.or(infinity(format)));
    });
    noteDenormals(f, kit, format, x, y);
    f.if(xInfinite, () => f.return(signed.or(infinity(format))));
    f.if(yInfinite.or(xZero), () => f.return(signed));
    const a = normalized(f, format, x);
    const b = normalized(f, format, y);
    returnFinite(f, kit, finite, sign, a.exponent, a.significand, b.exponent, b.significand);
  });
}

/** The root is that of the second operand, the source. */
function emitRoot({ kit, format }: Unit, finite: FunctionReference): FunctionReference {
  return laneFunction(kit, (f, _first, second) => {
    const x = operandOf(f, kit, format, second);
    returnNan(f, kit, format, x);
    f.if(isZero(format, x), () => f.return(x));
    f.if(signOf(format, x), () => returnInvalid(f, kit, format));
    noteDenormals(f, kit, format, x);
    f.if(isInfinite(format, x), () => f.return(x));
    const { exponent, significand } = normalized(f, format, x);
    returnFinite(f, kit, finite, exponent, significand);
  });
}
