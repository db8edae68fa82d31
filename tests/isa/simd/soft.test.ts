import { describe, expect, it } from 'vitest';
import type { ScalarName } from '../../../src/isa/simd/index.ts';
import {
  exponentOf,
  integerRoot,
  minus,
  over,
  plus,
  roundInteger,
  Sequence,
  scaled,
  times,
} from '../x87/reference.ts';
import {
  DAZ,
  DOUBLE,
  FLAG,
  type Format,
  finiteNumber,
  fractionOf,
  infinityBits,
  isDenormal,
  type RoundedBits,
  randomControl,
  round,
  SINGLE,
  signBit,
} from './reference.ts';
import { makeOperations } from './unit.ts';

const run = makeOperations();
const ROUNDS = 5000;
const FORMATS = [
  ['ss', SINGLE],
  ['sd', DOUBLE],
] as const;

/** A denormal under DAZ is a zero of its sign. */
const seen = (format: Format, x: bigint, mxcsr: number): bigint =>
  (mxcsr & DAZ) !== 0 && isDenormal(format, x) ? x & signBit(format) : x;

/** Runs an operation and compares result (unless it raised something), flags and whether it raised. */
function check(
  name: ScalarName,
  mxcsr: number,
  x: bigint,
  y: bigint,
  expected: RoundedBits,
  extra = 0,
): void {
  const outcome = run(name, mxcsr, x, y, extra);
  const where = `${x.toString(16)} ${name} ${y.toString(16)} under ${mxcsr.toString(16)}`;
  const raises = (expected.flags & ~(mxcsr >> 7)) !== 0;
  expect(outcome.mxcsr & 0x3f, where).toBe(expected.flags);
  expect(outcome.raised, where).toBe(raises);
  if (!raises) expect(outcome.bits.toString(16), where).toBe(expected.bits.toString(16));
}

describe.each(FORMATS)('arithmetic on finite numbers against exact fractions, %s', (suffix, format) => {
  const operations = [
    ['add', plus],
    ['sub', minus],
    ['mul', times],
    ['div', over],
  ] as const;

  it.each(operations)('%s', (name, exact) => {
    const numbers = new Sequence(0x1357_9bdf);
    for (let n = 0; n < ROUNDS; n++) {
      const mxcsr = randomControl(numbers);
      const first = finiteNumber(format, numbers);
      const around = Number((first & ~signBit(format)) >> BigInt(format.precision - 1));
      const second = finiteNumber(format, numbers, name === 'add' || name === 'sub' ? around : undefined);
      const [x, y] = [seen(format, first, mxcsr), seen(format, second, mxcsr)];
      const divisor = fractionOf(format, y);
      if (name === 'div' && divisor.top === 0n) continue;
      const value = exact(fractionOf(format, x), divisor);
      if (value.top === 0n) continue;
      const { bits, flags } = round(format, value, mxcsr);
      const denormal = isDenormal(format, x) || isDenormal(format, y) ? FLAG.DE : 0;
      check(`${name}.${suffix}`, mxcsr, first, second, { bits, flags: flags | denormal });
    }
  });

  it('sqrt', () => {
    const numbers = new Sequence(0x2468_ace1);
    for (let n = 0; n < ROUNDS; n++) {
      const mxcsr = randomControl(numbers);
      const source = finiteNumber(format, numbers) & ~signBit(format);
      const x = seen(format, source, mxcsr);
      const { top, bottom } = fractionOf(format, x);
      if (top === 0n) continue;
      // 150 bits of the root, with a sticky bit below them if it is not exact, round like the root itself.
      const half = 150 - (exponentOf(top, bottom) >> 1);
      const [square, unit] = scaled(top, bottom, 2 * half);
      const root = integerRoot(square / unit);
      const sticky = root * root * unit === square ? 0n : 1n;
      const [above, below] = scaled(2n * root + sticky, 2n, -half);
      const { bits, flags } = round(format, { top: above, bottom: below }, mxcsr);
      check(`sqrt.${suffix}`, mxcsr, 0n, source, {
        bits,
        flags: flags | (isDenormal(format, x) ? FLAG.DE : 0),
      });
    }
  });

  it('conversion to int32', () => {
    const numbers = new Sequence(0x0bad_cafe);
    for (let n = 0; n < ROUNDS; n++) {
      const mxcsr = randomControl(numbers);
      const source = finiteNumber(format, numbers, format.bias + numbers.below(34));
      const truncate = numbers.below(2);
      const x = fractionOf(format, seen(format, source, mxcsr));
      const exact = roundInteger(x, truncate === 1 ? 3 : (mxcsr >> 13) & 3);
      const fits = BigInt.asIntN(32, exact.value) === exact.value;
      const expected = fits
        ? { bits: BigInt.asUintN(32, exact.value), flags: exact.flags & FLAG.PE }
        : { bits: 0x8000_0000n, flags: FLAG.IE };
      check(`${suffix}.si`, mxcsr, 0n, source, expected, truncate);
    }
  });
});

describe('conversion between formats', () => {
  it('from int32 to single', () => {
    const numbers = new Sequence(0x1111_2222);
    for (let n = 0; n < ROUNDS; n++) {
      const mxcsr = randomControl(numbers);
      const value = BigInt.asIntN(32, numbers.bits64()) >> BigInt(numbers.below(32));
      if (value === 0n) continue;
      check('si.ss', mxcsr, 0n, BigInt.asUintN(32, value), round(SINGLE, { top: value, bottom: 1n }, mxcsr));
    }
  });

  it('from double to single', () => {
    const numbers = new Sequence(0x3333_4444);
    for (let n = 0; n < ROUNDS; n++) {
      const mxcsr = randomControl(numbers);
      const around = DOUBLE.bias - 160 + numbers.below(320);
      const source = finiteNumber(DOUBLE, numbers, around);
      const x = seen(DOUBLE, source, mxcsr);
      const value = fractionOf(DOUBLE, x);
      if (value.top === 0n) continue;
      const { bits, flags } = round(SINGLE, value, mxcsr);
      check('sd.ss', mxcsr, 0n, source, { bits, flags: flags | (isDenormal(DOUBLE, x) ? FLAG.DE : 0) });
    }
  });

  it('from single to double', () => {
    const numbers = new Sequence(0x5555_6666);
    for (let n = 0; n < ROUNDS; n++) {
      const mxcsr = randomControl(numbers);
      const source = finiteNumber(SINGLE, numbers);
      const x = seen(SINGLE, source, mxcsr);
      const value = fractionOf(SINGLE, x);
      const bits = value.top === 0n ? x << 32n : round(DOUBLE, value, 0x1f80).bits;
      check('ss.sd', mxcsr, 0n, source, { bits, flags: isDenormal(SINGLE, x) ? FLAG.DE : 0 });
    }
  });
});

describe('estimates', () => {
  const single = (x: bigint): number => new Float32Array(Uint32Array.of(Number(x)).buffer)[0] as number;
  const functions = [
    ['reciprocal.ss', (x: number) => 1 / x],
    ['reciprocalRoot.ss', (x: number) => 1 / Math.sqrt(x)],
  ] as const;

  it.each(functions)('%s errs by less than 1.5 * 2^-12 (SDM vol. 2B "RCPSS")', (name, exact) => {
    const numbers = new Sequence(0x7777_8888);
    for (let n = 0; n < ROUNDS; n++) {
      const x = (BigInt(1 + numbers.below(250)) << 23n) | BigInt(numbers.below(1 << 23));
      const { bits, mxcsr } = run(name, 0, 0n, x);
      expect(Math.abs(single(bits) / exact(single(x)) - 1), x.toString(16)).toBeLessThan(1.5 * 2 ** -12);
      expect(mxcsr).toBe(0);
    }
  });

  it('take denormals for zeros, and give no denormals', () => {
    const infinity = infinityBits(SINGLE);
    const minus = signBit(SINGLE);
    for (const [x, reciprocal, root] of [
      [0n, infinity, infinity],
      [minus, minus | infinity, minus | infinity],
      [minus | 1n, minus | infinity, minus | infinity],
      [0x7f00_0000n, 0n, undefined],
      [infinity, 0n, 0n],
      [minus | infinity, minus, 0xffc0_0000n],
      [0xbf80_0000n, undefined, 0xffc0_0000n],
      [0x7f80_0001n, 0x7fc0_0001n, 0x7fc0_0001n],
    ] as const) {
      if (reciprocal !== undefined) expect(run('reciprocal.ss', 0, 0n, x).bits).toBe(reciprocal);
      if (root !== undefined) expect(run('reciprocalRoot.ss', 0, 0n, x).bits).toBe(root);
    }
  });
});
