import { PI } from './constants.ts';
import {
  ACCURACY,
  about,
  absolute,
  add,
  atScale,
  divide,
  magnitude,
  negate,
  type Outcome,
  type Real,
  real,
} from './real.ts';
import { towardZero } from './trigonometric.ts';

/** Below this magnitude atan x and x agree in more than 128 bits. */
const TINY = -70;
/** Each halving of the angle saves the series a third of its terms. */
const HALVINGS = 4;

/** Integer square root, rounded down (Newton from above). */
function integerRoot(value: bigint, start: bigint): bigint {
  let root = start;
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** atan x for 0 < x <= 1. */
function arctangentBelowOne(x: Real): Real {
  const size = magnitude(x);
  if (size < TINY) return towardZero(x);
  const scale = ACCURACY + 24 - size;
  const bits = BigInt(scale);
  const one = 1n << bits;
  let argument = atScale(x, scale);
  // atan x = 2 atan(x / (1 + sqrt(1 + x^2)))
  for (let n = 0; n < HALVINGS; n++) {
    const root = integerRoot((one << bits) + argument * argument, 2n * one);
    argument = (argument << bits) / (one + root);
  }
  const square = (argument * argument) >> bits;
  let power = argument;
  let sum = power;
  for (let k = 3n; power > 0n; k += 2n) {
    power = (power * square) >> bits;
    sum += k & 2n ? -(power / k) : power / k;
  }
  return real(sum << BigInt(HALVINGS), scale);
}

/** The angle of the point (x, y), neither of them zero (SDM vol. 2A "FPATAN"). */
export function arctangent(y: Real, x: Real): Outcome {
  const [absoluteY, absoluteX] = [real(absolute(y.mantissa), y.scale), real(absolute(x.mantissa), x.scale)];
  const quotient = divide(absoluteY, absoluteX);
  const steep = magnitude(quotient) >= 0;
  const flat = arctangentBelowOne(steep ? divide(absoluteX, absoluteY) : quotient);
  let angle = steep ? subtract(real(PI.mantissa, PI.scale + 1), flat) : flat;
  if (x.mantissa < 0n) angle = subtract(PI, angle);
  return about(y.mantissa < 0n ? negate(angle) : angle);
}

/** pi or pi/2 less an angle that may be so small that only its sign matters. */
function subtract(large: Real, angle: Real): Real {
  if (magnitude(angle) < -2 * ACCURACY) return towardZero(large);
  return add(large, negate(angle));
}
