import { arctangent } from './arctangent.ts';
import { PI } from './constants.ts';
import { powerOfTwoLessOne } from './exponential.ts';
import { timesLogarithm, timesLogarithmOfSum } from './logarithm.ts';
import { about, absolute, add, exactly, type Real, real, signalled } from './real.ts';
import { INVALID, infinity, isZero, number, type Operand, type Result, zero } from './result.ts';
import { cosine, sine, tangent } from './trigonometric.ts';

/** The instructions' tables of special operands; NaNs and unsupported encodings never get here. */

const ONE = exactly(real(1n, 0));

/** SDM vol. 2A "FSIN", "FCOS", "FPTAN": infinities are invalid; larger numbers than 2^63 are the caller's matter. */
export const sineOf = (x: Operand): Result =>
  x.infinite ? INVALID : isZero(x) ? zero(x.sign) : number(sine(x));
export const cosineOf = (x: Operand): Result => (x.infinite ? INVALID : number(isZero(x) ? ONE : cosine(x)));
export const tangentOf = (x: Operand): Result =>
  x.infinite ? INVALID : isZero(x) ? zero(x.sign) : number(tangent(x));

/**
 * 2^x - 1 (SDM vol. 2A "F2XM1"). The manual leaves finite operands beyond 1 in magnitude undefined; processors give
 * them back as inexact results.
 */
export function powerOf(x: Operand): Result {
  if (x.infinite) return x.sign ? number(exactly(real(-1n, 0))) : infinity(0);
  if (isZero(x)) return zero(x.sign);
  return number(
    compareWithOne(real(absolute(x.mantissa), x.scale)) > 0 ? signalled(x) : powerOfTwoLessOne(x),
  );
}

/** Negative, zero or positive as x is to 1. */
function compareWithOne(x: Real): number {
  const difference = add(x, real(-1n, 0)).mantissa;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** y * log2(x) (SDM vol. 2A "FYL2X", table 3-58). */
export function logarithmOf(y: Operand, x: Operand): Result {
  if (isZero(x)) {
    if (isZero(y)) return INVALID;
    return infinity(y.sign ^ 1, !y.infinite);
  }
  if (x.sign) return INVALID;
  if (x.infinite) return isZero(y) ? INVALID : infinity(y.sign);
  const order = compareWithOne(x);
  if (order === 0) return y.infinite ? INVALID : zero(y.sign);
  const sign = order > 0 ? y.sign : y.sign ^ 1;
  if (y.infinite) return infinity(sign);
  return isZero(y) ? zero(sign) : number(timesLogarithm(y, x));
}

/**
 * y * log2(x + 1) (SDM vol. 2A "FYL2XP1", table 3-59). Outside 1 - sqrt(2)/2 the manual leaves the result undefined;
 * the logarithm is right here wherever there is one, and -1 and below come back as they are, as from processors.
 */
export function logarithmOfSum(y: Operand, x: Operand): Result {
  if (x.infinite) return x.sign || isZero(y) ? INVALID : infinity(y.sign);
  const sign = x.sign ^ y.sign;
  if (y.infinite) return isZero(x) ? INVALID : infinity(sign);
  if (isZero(x) || isZero(y)) return zero(sign);
  if (x.sign && compareWithOne(real(-x.mantissa, x.scale)) >= 0) return number(signalled(x));
  return number(timesLogarithmOfSum(y, x));
}

/** The angle of the point (x, y) (SDM vol. 2A "FPATAN", table 3-31). */
export function angleOf(y: Operand, x: Operand): Result {
  if (y.infinite) return eighthsOfTurn(y.sign, x.infinite ? (x.sign ? 3n : 1n) : 2n);
  if (x.infinite || isZero(y)) return x.sign ? eighthsOfTurn(y.sign, 4n) : zero(y.sign);
  if (isZero(x)) return eighthsOfTurn(y.sign, 2n);
  return number(arctangent(y, x));
}

/** count * pi/4. */
const eighthsOfTurn = (sign: number, count: bigint): Result =>
  number(about(real((sign ? -count : count) * PI.mantissa, PI.scale + 2)));
