import { describe, expect, it } from 'vitest';
import { PI_66 } from '../../../src/isa/x87/transcendental/constants.ts';
import { integer, Processor } from './processor.ts';
import { type Extended, type Fraction, integerRoot, ONE, round, Sequence } from './reference.ts';

const MASKED = 0x37f;
const PE = 0x20;
const C2 = 0x400;

/** Published digits of constants, one hundred each. */
const DIGITS = {
  pi: '3.141592653589793238462643383279502884197169399375105820974944592307816406286208998628034825342117067',
  sin1: '0.841470984807896506652502321630298999622563060798371065672751709991910404391239668948639743543052695',
  cos1: '0.540302305868139717400936607442976603732310420617922227670097255381100394774471764517951856087183089',
  log2Of3:
    '1.584962500721156181453738943947816508759814407692481060455752654541098227794358562522280474918097117',
} as const;

function decimal(text: string): Fraction {
  const [whole, fraction = ''] = text.split('.') as [string, string?];
  return { top: BigInt(whole + fraction), bottom: 10n ** BigInt(fraction.length) };
}
const text = ({ significand, word }: Extended): string => `${word.toString(16)}:${significand.toString(16)}`;
const half: Extended = { ...ONE, word: ONE.word - 1 };

/** Runs a transcendental on ST(0) and, if given, ST(1). */
function apply(encoding: string, x: Extended, y?: Extended, control = MASKED): Processor {
  const cpu = new Processor();
  if (y) cpu.push(y);
  cpu.push(x);
  cpu.fpu.control = control;
  cpu.run(encoding);
  return cpu;
}

describe('known values, in all four rounding modes', () => {
  const quarter = { top: decimal(DIGITS.pi).top, bottom: decimal(DIGITS.pi).bottom * 4n };
  const root = { top: integerRoot(2n << 400n) - (1n << 200n), bottom: 1n << 200n };
  const cases: readonly (readonly [string, string, Extended, Extended | undefined, Fraction])[] = [
    ['FSIN 1', 'D9 FE', ONE, undefined, decimal(DIGITS.sin1)],
    ['FCOS 1', 'D9 FF', ONE, undefined, decimal(DIGITS.cos1)],
    ['F2XM1 1/2', 'D9 F0', half, undefined, root],
    ['FYL2X 3, 1', 'D9 F1', integer(3), ONE, decimal(DIGITS.log2Of3)],
    [
      'FYL2XP1 1/2, 1',
      'D9 F9',
      half,
      ONE,
      { top: decimal(DIGITS.log2Of3).top - 10n ** 99n, bottom: 10n ** 99n },
    ],
    ['FPATAN 1, 1', 'D9 F3', ONE, ONE, quarter],
    [
      'FPATAN -1, 1',
      'D9 F3',
      { ...ONE, word: 0xbfff },
      ONE,
      { top: 3n * quarter.top, bottom: quarter.bottom },
    ],
  ];

  it.each(cases)('%s', (_name, encoding, x, y, value) => {
    for (let mode = 0; mode < 4; mode++) {
      const control = MASKED | (mode << 10);
      const cpu = apply(encoding, x, y, control);
      const expected = round(value, control);
      expect(text(cpu.st(0))).toBe(text(expected));
      expect(cpu.fpu.status & 0x23f).toBe(expected.flags);
    }
  });

  it('FPTAN 1 pushes a one', () => {
    const cpu = apply('D9 F2', ONE);
    const [sine, cosine] = [decimal(DIGITS.sin1), decimal(DIGITS.cos1)];
    expect(text(cpu.st(0))).toBe(text(ONE));
    expect(text(cpu.st(1))).toBe(text(round({ top: sine.top, bottom: cosine.top }, MASKED)));
  });
});

describe('argument reduction', () => {
  it('uses a pi of 66 bits (SDM vol. 1 8.3.8)', () => {
    // The nearest 64-bit number exceeds it by 2^-64, and sin(pi + d) = -d to 64 bits.
    const cpu = apply('D9 FE', { significand: 0xc90f_daa2_2168_c235n, word: 0x4000 });
    expect(text(cpu.st(0))).toBe(text({ significand: 1n << 63n, word: 0x8000 | (ONE.word - 64) }));
    const digits = decimal(DIGITS.pi);
    expect(PI_66.mantissa >> 2n).toBe((digits.top << 64n) / digits.bottom);
  });

  it.each(['D9 FE', 'D9 FF', 'D9 FB', 'D9 F2'])('%s refuses 2^63 with C2 and changes nothing', (encoding) => {
    const large: Extended = { significand: 1n << 63n, word: ONE.word + 63 };
    const cpu = apply(encoding, large);
    expect(cpu.fpu.status & C2).toBe(C2);
    expect(text(cpu.st(0))).toBe(text(large));
    expect(cpu.fpu.top).toBe(7);
    const inside = apply(encoding, { significand: (1n << 64n) - 1n, word: ONE.word + 62 });
    expect(inside.fpu.status & C2).toBe(0);
    expect(inside.fpu.status & PE).toBe(PE);
  });
});

describe('identities on random arguments', () => {
  const value = ({ significand, word }: Extended): bigint => {
    const shifted = (significand << 200n) >> BigInt(63 + ONE.word - (word & 0x7fff));
    return word & 0x8000 ? -shifted : shifted;
  };

  it('sin^2 + cos^2 = 1 within the last place', () => {
    const numbers = new Sequence(0x51c0);
    for (let n = 0; n < 300; n++) {
      const cpu = apply('D9 FB', {
        significand: numbers.significand(),
        word: ONE.word - 10 + numbers.below(70),
      });
      const [cosine, sine] = [value(cpu.st(0)), value(cpu.st(1))];
      const error = sine * sine + cosine * cosine - (1n << 400n);
      expect(error < 1n << 338n && error > -(1n << 338n)).toBe(true);
    }
  });

  it('2^log2(x) - 1 = x - 1 for x from 1 to 2', () => {
    const numbers = new Sequence(0x2121);
    for (let n = 0; n < 300; n++) {
      const x: Extended = { significand: numbers.significand(), word: ONE.word };
      const cpu = apply('D9 F1', x, ONE);
      cpu.run('D9 F0');
      const error = value(cpu.st(0)) - (value(x) - (1n << 200n));
      // The logarithm is off by half a unit of 2^-64, which 2^x turns into up to 2 ln 2 of them.
      expect(error < 1n << 137n && error > -(1n << 137n)).toBe(true);
    }
  });

  it('atan(tan x) = x below pi/4', () => {
    const numbers = new Sequence(0x7a2);
    for (let n = 0; n < 300; n++) {
      const x: Extended = { significand: numbers.significand(), word: ONE.word - 2 - numbers.below(60) };
      const cpu = apply('D9 F2', x);
      cpu.run('D9 F3');
      const error = cpu.st(0).significand - x.significand;
      if (cpu.st(0).word === x.word) expect(error >= -2n && error <= 2n, text(x)).toBe(true);
    }
  });
});

describe('special operands', () => {
  const infinity: Extended = { significand: 1n << 63n, word: 0x7fff };
  const minusInfinity: Extended = { ...infinity, word: 0xffff };
  const zero: Extended = { significand: 0n, word: 0 };
  const minusZero: Extended = { significand: 0n, word: 0x8000 };
  const [IE, ZE] = [1, 4];

  it.each([
    ['FSIN -0', 'D9 FE', minusZero, undefined, minusZero, 0],
    ['FCOS 0', 'D9 FF', zero, undefined, ONE, 0],
    ['F2XM1 -inf', 'D9 F0', minusInfinity, undefined, { ...ONE, word: 0xbfff }, 0],
    ['FYL2X 0, 1', 'D9 F1', zero, ONE, minusInfinity, ZE],
    ['FYL2X 0, -1', 'D9 F1', zero, { ...ONE, word: 0xbfff }, infinity, ZE],
    ['FYL2X 1, -1', 'D9 F1', ONE, { ...ONE, word: 0xbfff }, minusZero, 0],
    ['FYL2X inf, -inf', 'D9 F1', infinity, minusInfinity, minusInfinity, 0],
    ['FYL2X 1/2, inf', 'D9 F1', half, infinity, minusInfinity, 0],
    ['FPATAN inf, -1', 'D9 F3', infinity, { ...ONE, word: 0xbfff }, minusZero, 0],
    ['FYL2XP1 -0, 1', 'D9 F9', minusZero, ONE, minusZero, 0],
  ] as const)('%s', (_name, encoding, x, y, result, flags) => {
    const cpu = apply(encoding, x, y);
    expect(text(cpu.st(0))).toBe(text(result));
    expect(cpu.fpu.status & 0x3f).toBe(flags);
  });

  it.each([
    ['FSIN inf', 'D9 FE', infinity, undefined],
    ['FYL2X -1, 1', 'D9 F1', { ...ONE, word: 0xbfff }, ONE],
    ['FYL2X 1, inf', 'D9 F1', ONE, infinity],
    ['FYL2X 0, 0', 'D9 F1', zero, zero],
    ['FYL2XP1 0, inf', 'D9 F9', zero, infinity],
  ] as const)('%s is invalid', (_name, encoding, x, y) => {
    const cpu = apply(encoding, x, y);
    expect(text(cpu.st(0))).toBe('ffff:c000000000000000');
    expect(cpu.fpu.status & 0x3f).toBe(IE);
    const kept = apply(encoding, x, y, MASKED & ~IE);
    expect(text(kept.st(0))).toBe(text(x));
  });

  it('answers the smallest numbers with themselves and underflow', () => {
    const tiny: Extended = { significand: 1n, word: 0 };
    const cpu = apply('D9 FE', tiny);
    expect(text(cpu.st(0))).toBe(text(tiny));
    expect(cpu.fpu.status & 0x3f).toBe(0x32);
  });
});
