import { Int } from '../../../wasm/expression.ts';
import { Float } from '../../../wasm/float.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { SINGLE } from '../../x87/softfloat/floats.ts';
import {
  indefinite,
  infinity,
  isNan,
  type LaneKit,
  laneFunction,
  magnitude,
  quietBit,
  signBit,
  signOf,
  smallestNormal,
} from './lane.ts';

/**
 * The low 11 of a single's 23 fraction bits do not count: operands are taken at the middle of the interval that the
 * other 12 leave open, results rounded to those 12. Both errors together stay below 2^-12 of the result; 1.5 * 2^-12
 * are allowed (SDM vol. 2B "RCPPS"). Processors differ within that.
 */
export const ESTIMATE = { IGNORED: 0x7ff, MIDDLE: 0x400 } as const;

export interface EstimateLanes {
  readonly reciprocal: FunctionReference;
  readonly reciprocalRoot: FunctionReference;
}

/** No exceptions, no influence of MXCSR; denormals count as zeros on both sides. */
export const emitEstimateLanes = (kit: LaneKit): EstimateLanes => ({
  reciprocal: laneFunction(kit, (f, _first, x) => {
    const sign = f.let(x.and(signBit(SINGLE)));
    returnSpecials(f, x, sign);
    const result = f.let(estimate(f, magnitude(SINGLE, x), (operand) => one().operate('div', operand)));
    f.return(sign.or(result.select(0, result.geU(smallestNormal(SINGLE)))));
  }),
  reciprocalRoot: laneFunction(kit, (f, _first, x) => {
    const sign = f.let(x.and(signBit(SINGLE)));
    const size = magnitude(SINGLE, x);
    const negative = signOf(SINGLE, x)
      .and(size.geU(smallestNormal(SINGLE)))
      .and(isNan(SINGLE, x).eqz());
    f.if(negative, () => f.return(Int.const64(indefinite(SINGLE))));
    returnSpecials(f, x, sign);
    f.return(estimate(f, size, (operand) => one().operate('div', operand.sqrt())));
  }),
});

const one = (): Float => Float.fromBits(Int.const32(0x3f80_0000));

/** NaNs become quiet, zeros and denormals infinities, infinities zeros. */
function returnSpecials(f: FunctionBuilder, x: Int, sign: Int): void {
  const size = f.let(magnitude(SINGLE, x));
  f.if(size.gtU(infinity(SINGLE)), () => f.return(x.or(quietBit(SINGLE))));
  f.if(size.eq(infinity(SINGLE)), () => f.return(sign));
  f.if(size.ltU(smallestNormal(SINGLE)), () => f.return(sign.or(infinity(SINGLE))));
}

function estimate(f: FunctionBuilder, size: Int, operation: (operand: Float) => Float): Int {
  const middle = size.toI32().and(~ESTIMATE.IGNORED).or(ESTIMATE.MIDDLE);
  const exact = f.letFloat(operation(Float.fromBits(middle)));
  return exact.bits().add(ESTIMATE.MIDDLE).and(~ESTIMATE.IGNORED).toI64Unsigned();
}
