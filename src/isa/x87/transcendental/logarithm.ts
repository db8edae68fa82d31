import { LN2 } from './constants.ts';
import {
  ACCURACY,
  about,
  add,
  atScale,
  divide,
  magnitude,
  multiply,
  type Outcome,
  type Real,
  real,
  signalled,
  trim,
} from './real.ts';

/** Below this magnitude ln(1 + x) and x agree in more than 128 bits. */
const TINY = -140;

/** ln((1 + z) / (1 - z)) = 2 atanh z. */
function twiceInverseTangent(z: Real): Real {
  const scale = ACCURACY + 24 - magnitude(z);
  const bits = BigInt(scale);
  const argument = atScale(z, scale);
  const square = (argument * argument) >> bits;
  let power = argument;
  let sum = power;
  for (let k = 3n; power !== 0n && power !== -1n; k += 2n) {
    power = (power * square) >> bits;
    sum += power / k;
  }
  return real(2n * sum, scale);
}

/** log2(1 + f) for a small f, positive or negative, not zero. */
function logarithmNearOne(f: Real): Real {
  const natural = magnitude(f) < TINY ? f : twiceInverseTangent(divide(f, add(f, real(2n, 0))));
  return divide(natural, LN2);
}

/** y * log2(x) for finite y, not zero, and finite x > 0, not one (SDM vol. 2A "FYL2X"). */
export function timesLogarithm(y: Real, x: Real): Outcome {
  let exponent = magnitude(x);
  if (isPowerOfTwo(x)) return signalled(multiply(y, real(BigInt(exponent), 0)));
  let factor = real(x.mantissa, x.scale + exponent);
  // Take the factor from [1, 2) to [3/4, 3/2), so that the logarithm of a number next to one keeps its accuracy.
  if (factor.mantissa * 2n >= 3n << BigInt(factor.scale)) {
    factor = real(factor.mantissa, factor.scale + 1);
    exponent += 1;
  }
  const fraction = logarithmNearOne(add(factor, real(-1n, 0)));
  return about(trim(multiply(y, add(fraction, real(BigInt(exponent), 0)))));
}

const isPowerOfTwo = (x: Real): boolean => (x.mantissa & (x.mantissa - 1n)) === 0n;

/** y * log2(1 + x) for y and x finite, not zero, x > -1 (SDM vol. 2A "FYL2XP1"). */
export function timesLogarithmOfSum(y: Real, x: Real): Outcome {
  if (magnitude(x) >= -2) return timesLogarithm(y, add(x, real(1n, 0)));
  return about(trim(multiply(y, logarithmNearOne(x))));
}
