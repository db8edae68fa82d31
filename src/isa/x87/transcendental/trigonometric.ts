import { PI_66 } from './constants.ts';
import {
  ACCURACY,
  about,
  atScale,
  divide,
  magnitude,
  negate,
  type Outcome,
  type Real,
  real,
} from './real.ts';

/** Below this magnitude sin x, tan x and x agree in more than 128 bits, and so do cos x and 1. */
const TINY = -70;

/** x = quadrant * pi/2 + rest, with |rest| at most pi/4. */
interface Reduced {
  /** Modulo 4. */
  readonly quadrant: number;
  readonly rest: Real;
}

/** Reduces by the 66-bit pi, exactly (SDM vol. 1 8.3.8). */
function reduce(x: Real): Reduced {
  const halfPi = real(PI_66.mantissa, PI_66.scale + 1);
  const scale = Math.max(x.scale, halfPi.scale);
  const period = atScale(halfPi, scale);
  const value = atScale(x, scale);
  // Round the quotient to nearest: floor((2x + period) / (2 period)).
  const doubled = 2n * value + period;
  let quotient = doubled / (2n * period);
  if (doubled < 0n && quotient * 2n * period !== doubled) quotient -= 1n;
  return { quadrant: Number(BigInt.asUintN(2, quotient)), rest: real(value - quotient * period, scale) };
}

interface SineCosine {
  readonly sine: Real;
  readonly cosine: Real;
}

/** Both by Taylor series; |x| is at most pi/4 and not zero. */
function series(x: Real): SineCosine {
  const size = magnitude(x);
  if (size < TINY) {
    // x - x^3/6 and 1 - x^2/2: nearer to zero by less than any bit that rounding looks at.
    return { sine: towardZero(x), cosine: real((1n << 256n) - 1n, 256) };
  }
  // The first sine term has ACCURACY good bits behind its leading one.
  const scale = ACCURACY + 16 - size;
  const shiftBits = BigInt(scale);
  const argument = atScale(x, scale);
  const square = (argument * argument) >> shiftBits;
  let term = argument;
  let sine = term;
  for (let k = 2n; term !== 0n && term !== -1n; k += 2n) {
    term = -((term * square) >> shiftBits) / (k * (k + 1n));
    sine += term;
  }
  term = 1n << shiftBits;
  let cosine = term;
  for (let k = 1n; term !== 0n && term !== -1n; k += 2n) {
    term = -((term * square) >> shiftBits) / (k * (k + 1n));
    cosine += term;
  }
  return { sine: real(sine, scale), cosine: real(cosine, scale) };
}

/** The number just nearer to zero, in the last place of 256 bits. */
export function towardZero(x: Real): Real {
  const wide = x.mantissa << 192n;
  return real(wide < 0n ? wide + 1n : wide - 1n, x.scale + 192);
}

/** Sine and cosine of a number that is not zero. */
function sineCosine(x: Real): SineCosine {
  const { quadrant, rest } = reduce(x);
  const { sine, cosine } = series(rest);
  switch (quadrant) {
    case 0:
      return { sine, cosine };
    case 1:
      return { sine: cosine, cosine: negate(sine) };
    case 2:
      return { sine: negate(sine), cosine: negate(cosine) };
    default:
      return { sine: negate(cosine), cosine: sine };
  }
}

export const sine = (x: Real): Outcome => about(sineCosine(x).sine);
export const cosine = (x: Real): Outcome => about(sineCosine(x).cosine);

export function tangent(x: Real): Outcome {
  if (magnitude(x) < TINY) return about(awayFromZero(x));
  const { sine, cosine } = sineCosine(x);
  return about(divide(sine, cosine));
}

function awayFromZero(x: Real): Real {
  const wide = x.mantissa << 192n;
  return real(wide < 0n ? wide - 1n : wide + 1n, x.scale + 192);
}
