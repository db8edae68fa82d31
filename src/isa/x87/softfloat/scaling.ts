import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { FCW, FSW } from '../control.ts';
import {
  BIAS,
  INTEGER_BIT,
  MAX_EXPONENT,
  normalize,
  pack,
  packInfinity,
  packZero,
  unpack,
} from './format.ts';
import { packInteger } from './integers.ts';
import { type Kit, operation } from './kit.ts';
import { isInfinity, isZero, returnInvalid, screened, stopAtDenormal } from './operands.ts';
import { roundIncrement } from './rounding.ts';
import { shiftRightSticky } from './wide.ts';

/** Emits `scale`: (destination, x, y, control) -> flags, x * 2^trunc(y) (SDM vol. 2A "FSCALE", table 3-36). */
export function emitScale(kit: Kit): FunctionReference {
  return operation(kit.module, 4, (f, ...args) => {
    const [destination, first, second, word] = args as [Int, Int, Int, Int];
    const denormal = screened(f, kit.screen, [destination, first, second, word]);
    const x = unpack(f, first);
    const y = unpack(f, second);
    const control = f.let(word.or(FCW.PC));
    const invalid = isInfinity(x).select(isZero(x), y.sign);
    f.if(isInfinity(y).and(invalid), () => returnInvalid(f, destination, control));
    stopAtDenormal(f, denormal, control);
    f.if(isInfinity(y), () => {
      f.if(y.sign, () => {
        packZero(f, destination, x.sign);
        f.return(denormal);
      });
      packInfinity(f, destination, x.sign);
      f.return(denormal);
    });
    f.if(isInfinity(x).or(isZero(x)), () => {
      pack(f, destination, x.sign, x.exponent, x.significand);
      f.return(denormal);
    });
    const scaled = normalize(f, x);
    const steps = truncatedSteps(f, y.exponent, y.significand);
    const signed = Int.const32(0).sub(steps).select(steps, y.sign);
    const exponent = f.let(scaled.exponent.add(signed));
    const flags = f.callFor(
      kit.roundPack,
      destination,
      x.sign,
      exponent,
      scaled.significand,
      Int.const64(0),
      control,
    );
    f.return(flags.or(denormal));
  });
}

/** The integer part of a magnitude as an i32; anything from 2^16 up, which leaves every range, as 2^16. */
function truncatedSteps(f: FunctionBuilder, exponent: Int, significand: Int): Int {
  const steps = f.local('i32');
  f.set(steps, Int.const32(0));
  f.if(exponent.geS(BIAS), () => {
    const shift = Int.const32(BIAS + 63).sub(exponent);
    f.set(steps, Int.const32(0x1_0000));
    f.if(exponent.ltS(BIAS + 16), () => f.set(steps, significand.shrU(shift.toI64Unsigned()).toI32()));
  });
  return f.get(steps);
}

/**
 * Emits `extract`: (exponent destination, significand destination, x, control) -> flags (SDM vol. 2A "FXTRACT").
 * The exponent destination may be x itself.
 */
export function emitExtract(kit: Kit): FunctionReference {
  return operation(kit.module, 4, (f, ...args) => {
    const [toExponent, toSignificand, source, control] = args as [Int, Int, Int, Int];
    const answer = f.callFor(kit.screen, toSignificand, source, source, control);
    const x = unpack(f, source);
    f.if(answer.ltS(0), () => {
      const copy = unpack(f, toSignificand);
      const written = answer.and(FSW.IE).and(control.not()).eqz();
      f.if(written, () => pack(f, toExponent, copy.sign, copy.exponent, copy.significand));
      f.return(answer.and(FSW.IE));
    });
    f.if(isZero(x), () => {
      f.if(control.and(FSW.ZE), () => {
        packZero(f, toSignificand, x.sign);
        packInfinity(f, toExponent, Int.const32(1));
      });
      f.return(answer.or(FSW.ZE));
    });
    stopAtDenormal(f, answer, control);
    f.if(isInfinity(x), () => {
      packInfinity(f, toSignificand, x.sign);
      packInfinity(f, toExponent, Int.const32(0));
      f.return(answer);
    });
    const scaled = normalize(f, x);
    pack(f, toSignificand, x.sign, BIAS, scaled.significand);
    packInteger(f, toExponent, f.let(scaled.exponent.sub(BIAS).toI64Signed()));
    f.return(answer);
  });
}

/** Emits `roundToInteger`: (destination, x, control) -> flags (SDM vol. 2A "FRNDINT"). */
export function emitRoundToInteger(kit: Kit): FunctionReference {
  return operation(kit.module, 3, (f, ...args) => {
    const [destination, source, control] = args as [Int, Int, Int];
    const denormal = screened(f, kit.screen, [destination, source, source, control]);
    stopAtDenormal(f, denormal, control);
    const x = unpack(f, source);
    const fractionBits = f.let(Int.const32(BIAS + 63).sub(x.exponent));
    f.if(fractionBits.leS(0).or(x.exponent.eq(MAX_EXPONENT)).or(isZero(x)), () => {
      pack(f, destination, x.sign, x.exponent, x.significand);
      f.return(denormal);
    });
    const { high, low } = shiftRightSticky(f, x.significand, fractionBits);
    const up = roundIncrement(f, control, x.sign, high.toI32(), low);
    const whole = f.let(high.add(up.toI64Unsigned()));
    const flags = f.let(denormal.or(low.ne(0).shl(5)).or(up.shl(9)));
    f.if(whole.eqz(), () => {
      packZero(f, destination, x.sign);
      f.return(flags);
    });
    f.if(whole.eq(1), () => {
      // Also what numbers below one round up to.
      pack(f, destination, x.sign, BIAS, Int.const64(INTEGER_BIT));
      f.return(flags);
    });
    const shifted = f.let(whole.shl(fractionBits.toI64Unsigned()));
    const carried = f.let(shifted.eqz());
    const result = Int.const64(INTEGER_BIT).select(shifted, carried);
    pack(f, destination, x.sign, x.exponent.add(carried), result);
    f.return(flags);
  });
}
