/**
 * A real number for the transcendental instructions: mantissa / 2^scale. The mantissa is a signed integer as long as
 * the accuracy asks for.
 */
export interface Real {
  readonly mantissa: bigint;
  readonly scale: number;
}

/**
 * What an instruction computes. `exact` is the mathematical value; `approximate` has that value next to it, never on
 * a 64-bit number or half way between two; `signalled` is exact, but processors report it as inexact.
 */
export interface Outcome extends Real {
  readonly accuracy: 'exact' | 'signalled' | 'approximate';
}

/**
 * Bits of relative accuracy that every function here delivers before the one rounding to 64 bits. The chance that an
 * error of 2^-190 changes that rounding is about 2^-126 per operation.
 */
export const ACCURACY = 192;

export const real = (mantissa: bigint, scale: number): Real => ({ mantissa, scale });
export const exactly = (value: Real): Outcome => ({ ...value, accuracy: 'exact' });
export const signalled = (value: Real): Outcome => ({ ...value, accuracy: 'signalled' });
export const about = (value: Real): Outcome => ({ ...value, accuracy: 'approximate' });

export const absolute = (value: bigint): bigint => (value < 0n ? -value : value);

/** Number of bits of a non-negative integer; 0 for 0. */
export function bitLength(value: bigint): number {
  if (value === 0n) return 0;
  const digits = value.toString(16);
  return digits.length * 4 - Math.clz32(Number.parseInt(digits[0]!, 16)) + 28;
}

/** Exponent of the leading bit: 2^magnitude(x) <= |x| < 2^(magnitude(x) + 1). */
export const magnitude = (value: Real): number => bitLength(absolute(value.mantissa)) - 1 - value.scale;

/** value * 2^count, rounded down. */
export const shift = (value: bigint, count: number): bigint =>
  count >= 0 ? value << BigInt(count) : value >> BigInt(-count);

/** The mantissa of `value` at another scale. */
export const atScale = (value: Real, scale: number): bigint => shift(value.mantissa, scale - value.scale);

export const negate = (value: Real): Real => real(-value.mantissa, value.scale);

/** Cuts a long mantissa down to `bits` bits: every product of two accurate factors stays manageable. */
export function trim(value: Real, bits = ACCURACY + 64): Real {
  const surplus = bitLength(absolute(value.mantissa)) - bits;
  return surplus <= 0 ? value : real(value.mantissa >> BigInt(surplus), value.scale - surplus);
}

export const multiply = (x: Real, y: Real): Real => real(x.mantissa * y.mantissa, x.scale + y.scale);

/** x / y with at least ACCURACY bits; y is not zero. */
export function divide(x: Real, y: Real): Real {
  const extra = Math.max(0, ACCURACY + 8 + bitLength(absolute(y.mantissa)) - bitLength(absolute(x.mantissa)));
  return real((x.mantissa << BigInt(extra)) / y.mantissa, x.scale + extra - y.scale);
}

export function add(x: Real, y: Real): Real {
  const scale = Math.max(x.scale, y.scale);
  return real(atScale(x, scale) + atScale(y, scale), scale);
}
