/** Singles and doubles on exact fractions of big integers, after IEEE 754: what the tests believe. */
import { exponentOf, type Fraction, type Sequence, scaled } from '../x87/reference.ts';

export interface Format {
  readonly bits: 32 | 64;
  /** Bits of the significand with the implied one. */
  readonly precision: number;
  readonly bias: number;
}
export const SINGLE: Format = { bits: 32, precision: 24, bias: 127 };
export const DOUBLE: Format = { bits: 64, precision: 53, bias: 1023 };

export const FLAG = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32 } as const;
export const DAZ = 0x40;
export const FTZ = 0x8000;

const fractionBits = ({ precision }: Format): bigint => BigInt(precision - 1);
const fieldMask = ({ bits, precision }: Format): bigint => (1n << BigInt(bits - precision)) - 1n;
export const signBit = ({ bits }: Format): bigint => 1n << BigInt(bits - 1);
export const infinityBits = (format: Format): bigint => fieldMask(format) << fractionBits(format);

const fieldOf = (format: Format, x: bigint): number =>
  Number((x >> fractionBits(format)) & fieldMask(format));
const fractionFieldOf = (format: Format, x: bigint): bigint => x & ((1n << fractionBits(format)) - 1n);
export const isDenormal = (format: Format, x: bigint): boolean =>
  fieldOf(format, x) === 0 && fractionFieldOf(format, x) !== 0n;

/** The value of a finite number. */
export function fractionOf(format: Format, x: bigint): Fraction {
  const field = fieldOf(format, x);
  const significand = fractionFieldOf(format, x) | (field === 0 ? 0n : 1n << fractionBits(format));
  const exponent = Math.max(field, 1) - format.bias - (format.precision - 1);
  const [top, bottom] = scaled((x & signBit(format)) === 0n ? significand : -significand, 1n, exponent);
  return { top, bottom };
}

export interface RoundedBits {
  readonly bits: bigint;
  readonly flags: number;
}

/** A positive fraction to an integer: rounding control as in MXCSR, 0 nearest, 1 down, 2 up, 3 to zero. */
function toInteger(top: bigint, bottom: bigint, mode: number, negative: boolean): [bigint, boolean] {
  const floor = top / bottom;
  const twice = 2n * (top % bottom);
  const inexact = twice !== 0n;
  const nearest = twice > bottom || (twice === bottom && (floor & 1n) === 1n);
  const away = mode === 0 ? nearest : inexact && mode === (negative ? 1 : 2);
  return [away ? floor + 1n : floor, inexact];
}

/** Rounds a fraction other than zero as MXCSR says; `bits` is of no interest where a flag of OE or UE is unmasked. */
export function round(format: Format, { top: signed, bottom }: Fraction, mxcsr: number): RoundedBits {
  const negative = signed < 0n;
  const top = negative ? -signed : signed;
  const mode = (mxcsr >> 13) & 3;
  const sign = negative ? signBit(format) : 0n;
  const { precision, bias } = format;
  let exponent = exponentOf(top, bottom);
  const [digits, inexact] = toInteger(...scaled(top, bottom, precision - 1 - exponent), mode, negative);
  if (digits === 1n << BigInt(precision)) exponent++;
  const precisionFlag = inexact ? FLAG.PE : 0;
  if (exponent > bias) {
    if ((mxcsr & 0x400) === 0) return { bits: 0n, flags: FLAG.OE | precisionFlag };
    const toInfinity = mode === 0 || mode === (negative ? 1 : 2);
    const largest = infinityBits(format) - 1n;
    return { bits: sign | (toInfinity ? largest + 1n : largest), flags: FLAG.OE | FLAG.PE };
  }
  const tiny = exponent < 1 - bias;
  if (tiny && (mxcsr & 0x800) === 0) return { bits: 0n, flags: FLAG.UE | precisionFlag };
  if (tiny && (mxcsr & FTZ) !== 0) return { bits: sign, flags: FLAG.UE | FLAG.PE };
  // In units of the smallest denormal, or of the last place of a normal number.
  const place = Math.max(exponentOf(top, bottom), 1 - bias);
  const [units, lost] = toInteger(...scaled(top, bottom, precision - 1 - place), mode, negative);
  const bits = units + (BigInt(place + bias - 1) << fractionBits(format));
  return { bits: sign | bits, flags: lost ? FLAG.PE | (tiny ? FLAG.UE : 0) : 0 };
}

/** A finite number: often near the ends of the range, near `around`, or with few digits. */
export function finiteNumber(format: Format, from: Sequence, around = format.bias): bigint {
  const top = Number(fieldMask(format)) - 1;
  const near = around - format.precision - 2 + from.below(2 * format.precision + 4);
  const field = [0, 1 + from.below(4), top - from.below(4), from.below(top), near, near, near, near][
    from.below(8)
  ];
  const width = BigInt(format.precision - 1);
  const few = from.bits64() << BigInt(from.below(64));
  const fraction = BigInt.asUintN(Number(width), [from.bits64(), few, ~few, 1n][from.below(4)] as bigint);
  const sign = from.below(2) === 0 ? 0n : signBit(format);
  return sign | (BigInt(Math.min(Math.max(field as number, 0), top)) << width) | fraction;
}

/** MXCSR with any rounding, seldom DAZ, FTZ, unmasked overflow or underflow, and no flags. */
export function randomControl(from: Sequence): number {
  const masks = from.below(5) === 0 ? 0x1380 : 0x1f80;
  return masks | (from.below(4) << 13) | (from.below(4) === 0 ? DAZ : 0) | (from.below(4) === 0 ? FTZ : 0);
}
