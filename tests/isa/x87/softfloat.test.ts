import { describe, expect, it } from 'vitest';
import type { SoftFloat } from '../../../src/isa/x87/softfloat/softfloat.ts';
import * as reference from './reference.ts';
import { type Extended, type Fraction, fractionOf, Sequence } from './reference.ts';
import { makeUnit } from './unit.ts';

const { soft, view } = makeUnit();
const [X, Y, RESULT, RAW] = [0x100, 0x110, 0x120, 0x140];
const ROUNDS = 6000;
const [IE, DE, ZE] = [1, 2, 4];
const MASKED = 0x37f;
const INDEFINITE: Extended = { significand: 0xc000_0000_0000_0000n, word: 0xffff };

function put(slot: number, { significand, word }: Extended): void {
  view.setBigUint64(slot, significand, true);
  view.setUint16(slot + 8, word, true);
}
const get = (slot: number): Extended => ({
  significand: view.getBigUint64(slot, true),
  word: view.getUint16(slot + 8, true),
});
const text = ({ significand, word }: Extended): string => `${word.toString(16)}:${significand.toString(16)}`;

/** Control word with random precision, rounding and, now and then, unmasked overflow and underflow. */
function randomControl(from: Sequence): number {
  const precision = [0, 2, 3, 3][from.below(4)]!;
  const masks = from.below(4) === 0 ? 0x27 : 0x3f;
  return 0x40 | masks | (precision << 8) | (from.below(4) << 10);
}

const isDenormal = ({ word }: Extended): boolean => (word & 0x7fff) === 0;

describe('arithmetic on finite numbers against exact fractions', () => {
  const operations = [
    ['add', reference.plus],
    ['sub', reference.minus],
    ['mul', reference.times],
    ['div', reference.over],
  ] as const satisfies readonly (readonly [keyof SoftFloat, (x: Fraction, y: Fraction) => Fraction])[];

  it.each(operations)('%s', (name, exact) => {
    const numbers = new Sequence(0x1234567);
    for (let n = 0; n < ROUNDS; n++) {
      const x = numbers.finite();
      const y = numbers.finite(name === 'add' || name === 'sub' ? x.word & 0x7fff : undefined);
      if ((y.word & 0x7fff) > 0x7ffe) continue;
      const control = randomControl(numbers);
      const value = exact(fractionOf(x), fractionOf(y));
      if (value.top === 0n) continue;
      put(X, x);
      put(Y, y);
      const flags = soft[name](RESULT, X, Y, control);
      const expected = reference.round(value, control);
      const denormal = isDenormal(x) || isDenormal(y) ? DE : 0;
      const where = `${text(x)} ${name} ${text(y)} under ${control.toString(16)}`;
      expect(text(get(RESULT)), where).toBe(text(expected));
      expect(flags, where).toBe(expected.flags | denormal);
    }
  });

  it('sqrt', () => {
    const numbers = new Sequence(0x7654321);
    for (let n = 0; n < ROUNDS; n++) {
      const any = numbers.finite();
      const x = { ...any, word: any.word & 0x7fff };
      const control = randomControl(numbers);
      put(X, x);
      const flags = soft.sqrt(RESULT, X, control);
      // 150 bits of the root, with a sticky bit below them if it is not exact, round like the root itself.
      const { top, bottom } = fractionOf(x);
      const half = 150 - (reference.exponentOf(top, bottom) >> 1);
      const [square, unit] = reference.scaled(top, bottom, 2 * half);
      const root = reference.integerRoot(square / unit);
      const sticky = root * root * unit === square ? 0n : 1n;
      const [above, below] = reference.scaled(2n * root + sticky, 2n, -half);
      const expected = reference.round({ top: above, bottom: below }, control);
      expect(text(get(RESULT)), text(x)).toBe(text(expected));
      expect(flags, text(x)).toBe(expected.flags | (isDenormal(x) ? DE : 0));
    }
  });

  it('remainder and remainderNearest leave x - q*y', () => {
    const numbers = new Sequence(0x2468ace);
    for (let n = 0; n < ROUNDS; n++) {
      const y = numbers.finite();
      const x = numbers.finite((y.word & 0x7fff) + 30);
      const distance = (x.word & 0x7fff) - (y.word & 0x7fff);
      if (distance > 60 || (x.word & 0x7fff) > 0x7ffe || isDenormal(x) || isDenormal(y)) continue;
      put(X, x);
      put(Y, y);
      const ratio = reference.over(fractionOf(x), fractionOf(y));
      for (const [name, mode] of [
        ['remainder', 3],
        ['remainderNearest', 0],
      ] as const) {
        const quotient = reference.roundInteger(ratio, mode).value;
        const rest = reference.minus(
          fractionOf(x),
          reference.times({ top: quotient, bottom: 1n }, fractionOf(y)),
        );
        const flags = soft[name](RESULT, X, Y, MASKED);
        const low = Number((quotient < 0n ? -quotient : quotient) & 7n);
        // Q2, Q1, Q0 in C0, C3, C1 (SDM vol. 2A "FPREM").
        const conditions = (low & 4 ? 0x100 : 0) | (low & 2 ? 0x4000 : 0) | (low & 1 ? 0x200 : 0);
        expect(flags, `${text(x)} ${name} ${text(y)}`).toBe(conditions);
        const expected =
          rest.top === 0n ? { significand: 0n, word: x.word & 0x8000 } : reference.round(rest, MASKED);
        expect(text(get(RESULT)), `${text(x)} ${name} ${text(y)}`).toBe(text(expected));
      }
    }
  });
});

describe('conversions', () => {
  it('rounds to 16, 32 and 64-bit integers', () => {
    const numbers = new Sequence(0x1357);
    const targets = [
      ['toI16', 16, 15],
      ['toI32', 32, 31],
      ['toI64', 64, 63],
    ] as const;
    for (let n = 0; n < ROUNDS; n++) {
      const [name, bits, top] = targets[n % 3]!;
      const x = numbers.finite(reference.BIAS + top - 30);
      const control = randomControl(numbers) | 0x3f;
      const exact = reference.roundInteger(fractionOf(x), (control >> 10) & 3);
      const limit = 1n << BigInt(top);
      const fits = exact.value >= -limit && exact.value < limit;
      put(X, x);
      view.setBigUint64(RAW, 0n, true);
      const flags = soft[name](RAW, X, control);
      const stored = BigInt.asIntN(bits, view.getBigUint64(RAW, true));
      expect(stored, text(x)).toBe(fits ? exact.value : -limit);
      expect(flags, text(x)).toBe(fits ? exact.flags : IE);
    }
  });

  it('widens and narrows doubles without loss', () => {
    const numbers = new Sequence(0xbeef);
    for (let n = 0; n < ROUNDS; n++) {
      const raw = numbers.bits64();
      view.setBigUint64(RAW, raw, true);
      const number = view.getFloat64(RAW, true);
      const denormal = soft.widenF64(X, RAW);
      expect(denormal).toBe(number !== 0 && Math.abs(number) < 2 ** -1022 ? DE : 0);
      view.setBigUint64(RAW, 0n, true);
      // A signalling NaN turns quiet, and says so.
      const signaling = Number.isNaN(number) && (raw >> 51n) % 2n === 0n;
      expect(soft.toF64(RAW, X, MASKED)).toBe(signaling ? IE : 0);
      expect(view.getBigUint64(RAW, true)).toBe(signaling ? raw | (1n << 51n) : raw);
    }
  });

  it('narrows to single as the host does', () => {
    const numbers = new Sequence(0xcafe);
    for (let n = 0; n < ROUNDS; n++) {
      // Math.fround rounds a double to nearest once; a number with 53 bits keeps that the only rounding.
      const exponent = 127 - 180 + numbers.below(360) + reference.BIAS - 127;
      put(X, { significand: numbers.significand() & ~0x7ffn, word: exponent | (numbers.below(2) << 15) });
      soft.toF64(RAW, X, MASKED);
      const expected = Math.fround(view.getFloat64(RAW, true));
      soft.toF32(RAW, X, MASKED);
      expect(view.getFloat32(RAW, true)).toBe(expected);
    }
  });

  it('keeps 18 decimal digits there and back', () => {
    const numbers = new Sequence(0xdec);
    for (let n = 0; n < 2000; n++) {
      const digits = (numbers.bits64() % 10n ** 18n).toString().padStart(18, '0');
      const negative = numbers.below(2) === 1;
      for (let byte = 0; byte < 9; byte++) {
        view.setUint8(RAW + byte, Number.parseInt(digits.slice(16 - 2 * byte, 18 - 2 * byte), 16));
      }
      view.setUint8(RAW + 9, negative ? 0x80 : 0);
      const before = [view.getBigUint64(RAW, true), view.getUint16(RAW + 8, true)];
      soft.fromDecimal(X, RAW);
      const value = fractionOf(get(X));
      expect(value.top / value.bottom).toBe(negative ? -BigInt(digits) : BigInt(digits));
      view.setBigUint64(RAW, 0n, true);
      view.setUint16(RAW + 8, 0, true);
      expect(soft.toDecimal(RAW, X, MASKED)).toBe(0);
      expect([view.getBigUint64(RAW, true), view.getUint16(RAW + 8, true)]).toEqual(before);
    }
  });
});

describe('special operands', () => {
  const infinity: Extended = { significand: 1n << 63n, word: 0x7fff };
  const zero: Extended = { significand: 0n, word: 0 };
  const quiet = (payload: bigint, sign = 0): Extended => ({
    significand: (3n << 62n) | payload,
    word: sign | 0x7fff,
  });
  const signaling: Extended = { significand: (1n << 63n) | 0x77n, word: 0x7fff };
  const unnormal: Extended = { significand: 1n, word: 0x4000 };
  const denormal: Extended = { significand: 1n, word: 0 };
  const { ONE: one } = reference;

  const binary = (name: 'add' | 'sub' | 'mul' | 'div', x: Extended, y: Extended, control = MASKED) => {
    put(X, x);
    put(Y, y);
    put(RESULT, one);
    return { flags: soft[name](RESULT, X, Y, control), result: text(get(RESULT)) };
  };

  it.each([
    ['sub', infinity, infinity],
    ['mul', infinity, zero],
    ['div', zero, zero],
    ['div', infinity, infinity],
    ['add', unnormal, one],
    ['add', quiet(1n), unnormal],
  ] as const)('%s of %o and %o is invalid', (name, x, y) => {
    expect(binary(name, x, y)).toEqual({ flags: IE, result: text(INDEFINITE) });
    // Unmasked, the destination stays.
    expect(binary(name, x, y, MASKED & ~IE)).toEqual({ flags: IE, result: text(one) });
  });

  it('gives the larger significand of two quiet NaNs, and the quiet one of a mixed pair', () => {
    expect(binary('add', quiet(5n), quiet(6n))).toEqual({ flags: 0, result: text(quiet(6n)) });
    expect(binary('mul', quiet(7n), quiet(6n, 0x8000))).toEqual({ flags: 0, result: text(quiet(7n)) });
    expect(binary('add', quiet(1n), signaling)).toEqual({ flags: IE, result: text(quiet(1n)) });
    expect(binary('add', signaling, one)).toEqual({ flags: IE, result: text(quiet(0x77n)) });
    // Equal significands: the positive one.
    expect(binary('add', quiet(4n, 0x8000), quiet(4n)).result).toBe(text(quiet(4n)));
  });

  it('divides by zero', () => {
    expect(binary('div', one, zero)).toEqual({ flags: ZE, result: text(infinity) });
    expect(binary('div', one, zero, MASKED & ~ZE)).toEqual({ flags: ZE, result: text(one) });
    // #Z comes before #D.
    expect(binary('div', denormal, zero).flags).toBe(ZE);
  });

  it('stops at an unmasked denormal operand', () => {
    expect(binary('mul', denormal, one)).toEqual({ flags: DE, result: text(denormal) });
    expect(binary('add', denormal, one, MASKED & ~DE)).toEqual({ flags: DE, result: text(one) });
  });

  it('gives minus zero for x - x only when rounding down', () => {
    expect(binary('sub', one, one).result).toBe(text(zero));
    expect(binary('sub', one, one, MASKED | 0x400).result).toBe(text({ significand: 0n, word: 0x8000 }));
  });

  it('orders numbers in C3, C2 and C0', () => {
    const compare = (x: Extended, y: Extended, name: 'compare' | 'compareQuiet' = 'compare'): number => {
      put(X, x);
      put(Y, y);
      return soft[name](X, Y, MASKED);
    };
    const two: Extended = { significand: 1n << 63n, word: 0x4000 };
    expect(compare(two, one)).toBe(0);
    expect(compare(one, two)).toBe(0x100);
    expect(compare(one, one)).toBe(0x4000);
    expect(compare({ ...two, word: 0xc000 }, one)).toBe(0x100);
    expect(compare(zero, { significand: 0n, word: 0x8000 })).toBe(0x4000);
    expect(compare(quiet(0n), one)).toBe(0x4500 | IE);
    expect(compare(quiet(0n), one, 'compareQuiet')).toBe(0x4500);
    expect(compare(signaling, one, 'compareQuiet')).toBe(0x4500 | IE);
    expect(compare(denormal, one)).toBe(0x100 | DE);
    // A pseudo-denormal is worth as much as the number with exponent 1.
    expect(compare({ significand: 1n << 63n, word: 0 }, { significand: 1n << 63n, word: 1 })).toBe(
      0x4000 | DE,
    );
  });
});
