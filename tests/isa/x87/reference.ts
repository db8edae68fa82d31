/** Extended-precision arithmetic once more, on exact fractions of big integers: what the tests believe. */

export interface Extended {
  readonly significand: bigint;
  /** Sign in bit 15, biased exponent below. */
  readonly word: number;
}

export interface Rounded extends Extended {
  /** OE, UE, PE and C1 in FSW positions. */
  readonly flags: number;
}

export const BIAS = 16383;
export const ONE: Extended = { significand: 1n << 63n, word: BIAS };
const [OE, UE, PE, C1] = [8, 16, 32, 0x200];

/** A fraction with a positive denominator. */
export interface Fraction {
  readonly top: bigint;
  readonly bottom: bigint;
}

/** The value of a finite number. */
export function fractionOf({ significand, word }: Extended): Fraction {
  const exponent = Math.max(word & 0x7fff, 1) - BIAS - 63;
  const signed = word & 0x8000 ? -significand : significand;
  return exponent >= 0
    ? { top: signed << BigInt(exponent), bottom: 1n }
    : { top: signed, bottom: 1n << BigInt(-exponent) };
}

export const plus = (x: Fraction, y: Fraction): Fraction => ({
  top: x.top * y.bottom + y.top * x.bottom,
  bottom: x.bottom * y.bottom,
});
export const minus = (x: Fraction, y: Fraction): Fraction => plus(x, { top: -y.top, bottom: y.bottom });
export const times = (x: Fraction, y: Fraction): Fraction => ({
  top: x.top * y.top,
  bottom: x.bottom * y.bottom,
});
export const over = (x: Fraction, y: Fraction): Fraction =>
  y.top < 0n
    ? { top: -x.top * y.bottom, bottom: -x.bottom * y.top }
    : { top: x.top * y.bottom, bottom: x.bottom * y.top };

/** floor(log2(top / bottom)) of a positive fraction. */
export function exponentOf(top: bigint, bottom: bigint): number {
  let exponent = top.toString(2).length - bottom.toString(2).length;
  const reaches = (e: number): boolean => (e >= 0 ? top >= bottom << BigInt(e) : top << BigInt(-e) >= bottom);
  if (!reaches(exponent)) exponent--;
  return exponent;
}

/** An integer nearest to a positive fraction under a rounding mode; `up` tells whether it is above it. */
function roundFraction(top: bigint, bottom: bigint, mode: number, negative: boolean) {
  const floor = top / bottom;
  const rest = top % bottom;
  const nearest = 2n * rest > bottom || (2n * rest === bottom && (floor & 1n) === 1n);
  const away =
    mode === 0 ? nearest : mode === 1 ? negative && rest > 0n : mode === 2 && !negative && rest > 0n;
  return { value: away ? floor + 1n : floor, inexact: rest > 0n, up: away };
}

/** A fraction times 2^count. */
export const scaled = (top: bigint, bottom: bigint, count: number): readonly [bigint, bigint] =>
  count >= 0 ? [top << BigInt(count), bottom] : [top, bottom << BigInt(-count)];

/** Precision in bits under a control word. */
const precisionOf = (control: number): number => [24, 64, 53, 64][(control >> 8) & 3]!;

/**
 * Rounds a fraction that is not zero to the precision and in the direction of a control word, with the masked or
 * unmasked response to overflow and underflow (SDM vol. 1 4.8.4, 4.9.1.4, 4.9.1.5, 8.5.4, 8.5.5).
 */
export function round({ top: signed, bottom }: Fraction, control: number): Rounded {
  const negative = signed < 0n;
  const top = negative ? -signed : signed;
  const precision = precisionOf(control);
  const mode = (control >> 10) & 3;
  const sign = negative ? 0x8000 : 0;
  let exponent = exponentOf(top, bottom);
  let result = roundFraction(...scaled(top, bottom, precision - 1 - exponent), mode, negative);
  if (result.value === 1n << BigInt(precision)) {
    result = { ...result, value: result.value >> 1n };
    exponent++;
  }
  const shift = BigInt(64 - precision);
  const flags = (result.inexact ? PE : 0) | (result.up ? C1 : 0);
  const place = exponent + BIAS;
  if (place > 0x7ffe) {
    if ((control & OE) === 0)
      return { significand: result.value << shift, word: sign | (place - 24576), flags: flags | OE };
    const toInfinity = mode === 0 || mode === (negative ? 1 : 2);
    return toInfinity
      ? { significand: 1n << 63n, word: sign | 0x7fff, flags: OE | PE | C1 }
      : { significand: ((1n << BigInt(precision)) - 1n) << shift, word: sign | 0x7ffe, flags: OE | PE };
  }
  if (place >= 1) return { significand: result.value << shift, word: sign | place, flags };
  if ((control & UE) === 0)
    return { significand: result.value << shift, word: sign | (place + 24576), flags: flags | UE };
  return roundDenormal(top, bottom, control, negative);
}

/** Below the smallest normal number, digits end at the place that the smallest normal number's digits end at. */
function roundDenormal(top: bigint, bottom: bigint, control: number, negative: boolean): Rounded {
  const precision = precisionOf(control);
  const mode = (control >> 10) & 3;
  const result = roundFraction(...scaled(top, bottom, BIAS - 1 + precision - 1), mode, negative);
  const significand = result.value << BigInt(64 - precision);
  const word = (negative ? 0x8000 : 0) | (significand >> 63n === 1n ? 1 : 0);
  return { significand, word, flags: (result.inexact ? UE | PE : 0) | (result.up ? C1 : 0) };
}

/** Rounds to an integer. */
export function roundInteger(value: Fraction, mode: number): { value: bigint; flags: number } {
  const negative = value.top < 0n;
  const result = roundFraction(negative ? -value.top : value.top, value.bottom, mode, negative);
  return {
    value: negative ? -result.value : result.value,
    flags: (result.inexact ? PE : 0) | (result.up ? C1 : 0),
  };
}

/** floor(sqrt(n)). */
export function integerRoot(n: bigint): bigint {
  if (n < 2n) return n;
  let root = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** A small generator of numbers (Marsaglia's xorshift, 32 bits): the same sequence in every run. */
export class Sequence {
  #state: number;
  constructor(seed: number) {
    this.#state = seed | 1;
  }
  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }
  bits64(): bigint {
    return (BigInt(this.below(0x1_0000_0000)) << 32n) | BigInt(this.below(0x1_0000_0000));
  }
  /** A significand with the integer bit: random, sparse, or a run of ones. */
  significand(): bigint {
    const few = this.bits64() & ((1n << BigInt(this.below(64))) - 1n);
    const shapes = [this.bits64(), few, ~few, 1n << BigInt(this.below(64))];
    return BigInt.asUintN(64, shapes[this.below(4)]! | (1n << 63n));
  }
  /** A finite number, not zero, near the ends of the range or near `around`. */
  finite(around = BIAS): Extended {
    const sign = this.below(2) << 15;
    switch (this.below(8)) {
      case 0:
        return { significand: this.significand() >> BigInt(1 + this.below(63)), word: sign };
      case 1:
        return { significand: this.significand(), word: sign | (1 + this.below(80)) };
      case 2:
        return { significand: this.significand(), word: sign | (0x7ffe - this.below(80)) };
      default:
        return { significand: this.significand(), word: sign | (around - 66 + this.below(132)) };
    }
  }
}
