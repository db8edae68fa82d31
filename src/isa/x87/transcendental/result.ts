import type { Outcome, Real } from './real.ts';

/** A number from a register: finite, or infinite with a meaningless mantissa; zero has mantissa 0. */
export interface Operand extends Real {
  /** 0 or 1, of zeros and infinities too. */
  readonly sign: number;
  readonly infinite: boolean;
}

/** What an instruction makes of its operands, before exceptions and rounding. */
export type Result =
  | { readonly kind: 'invalid' }
  | { readonly kind: 'zero'; readonly sign: number }
  | { readonly kind: 'infinity'; readonly sign: number; readonly zeroDivide: boolean }
  | { readonly kind: 'number'; readonly value: Outcome };

export const INVALID: Result = { kind: 'invalid' };
export const zero = (sign: number): Result => ({ kind: 'zero', sign });
export const infinity = (sign: number, zeroDivide = false): Result => ({
  kind: 'infinity',
  sign,
  zeroDivide,
});
export const number = (value: Outcome): Result => ({ kind: 'number', value });

export const isZero = (value: Operand): boolean => value.mantissa === 0n;
