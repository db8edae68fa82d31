import { LN2 } from './constants.ts';
import {
  ACCURACY,
  about,
  atScale,
  magnitude,
  multiply,
  type Outcome,
  type Real,
  real,
  signalled,
  trim,
} from './real.ts';

/** Below this magnitude 2^x - 1 and x ln 2 agree in more than 128 bits. */
const TINY = -140;

/** 2^x - 1 for -1 <= x <= 1 and x not zero (SDM vol. 2A "F2XM1"). */
export function powerOfTwoLessOne(x: Real): Outcome {
  if (magnitude(x) === 0) return signalled(x.mantissa > 0n ? real(1n, 0) : real(-1n, 1));
  const exponent = trim(multiply(x, LN2));
  const size = magnitude(exponent);
  if (size < TINY) return about(exponent);
  const scale = ACCURACY + 24 - size;
  const bits = BigInt(scale);
  const argument = atScale(exponent, scale);
  let term = argument;
  let sum = term;
  for (let k = 2n; term !== 0n && term !== -1n; k++) {
    term = ((term * argument) >> bits) / k;
    sum += term;
  }
  return about(real(sum, scale));
}
