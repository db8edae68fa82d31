import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/arch/input-error.ts';
import {
  parseCount,
  parseMemory,
  parseModule,
  parsePattern,
  parseRaw,
  parseSeconds,
} from '../../src/cli/values.ts';

describe('--memory', () => {
  it.each([
    ['256M', 2 ** 28],
    ['1G', 2 ** 30],
    ['2g', 2 ** 31],
    ['1.5MiB', 1.5 * 2 ** 20],
    ['65536K', 2 ** 26],
    ['1048576', 2 ** 20],
    [' 16MB ', 2 ** 24],
  ])('%s', (text, bytes) => {
    expect(parseMemory(text)).toBe(bytes);
  });
  it.each(['', 'M', '-1M', '0', '3G', '1T', '256', '1M1', '0x100000', 'NaN', '1e9', '1048577'])(
    'refuses "%s"',
    (text) => {
      expect(() => parseMemory(text)).toThrow(InputError);
    },
  );
});

describe('--max-instructions', () => {
  it.each([
    ['1', 1],
    ['5000000', 5_000_000],
    ['2.8G', 2_800_000_000],
    ['10k', 10_000],
  ])('%s', (text, count) => {
    expect(parseCount(text)).toBe(count);
  });
  it.each(['0', '-5', '1.5', '1e6', '', 'many', '99999999999999999999'])('refuses "%s"', (text) => {
    expect(() => parseCount(text)).toThrow(InputError);
  });
});

describe('--timeout', () => {
  it('takes seconds and parts of them', () => {
    expect(parseSeconds('60')).toBe(60);
    expect(parseSeconds('0.25')).toBe(0.25);
  });
  it.each(['0', '-1', 'soon', '', 'Infinity', '1m'])('refuses "%s"', (text) => {
    expect(() => parseSeconds(text)).toThrow(InputError);
  });
});

describe('--until', () => {
  it('matches ^ and $ at line ends', () => {
    expect(parsePattern('^login: $').test('boot\nlogin: \n')).toBe(true);
  });
  it('says what is wrong with an expression', () => {
    expect(() => parsePattern('(')).toThrow(/must be a JavaScript regular expression: .*nterminated group/);
    expect(() => parsePattern('')).toThrow(InputError);
  });
});

describe('--raw', () => {
  it('takes an address and a mode', () => {
    expect(parseRaw('0x7c00')).toEqual({ address: 0x7c00, mode: 'real' });
    expect(parseRaw('1048576,protected')).toEqual({ address: 0x100000, mode: 'protected' });
    expect(parseRaw('0x8000,real')).toEqual({ address: 0x8000, mode: 'real' });
  });
  it.each(['', '7c00', '0x', '0x123456789', '0x7c00,long', '-1', '0x7c00,'])('refuses "%s"', (text) => {
    expect(() => parseRaw(text)).toThrow(InputError);
  });
});

describe('--module', () => {
  it('takes the file up to the first blank, and all of it as the string', () => {
    expect(parseModule('m.bin', () => false)).toEqual({ path: 'm.bin', commandLine: 'm.bin' });
    expect(parseModule('m.bin a b', () => false)).toEqual({ path: 'm.bin', commandLine: 'm.bin a b' });
  });
  it('takes a file whose name has a blank', () => {
    expect(parseModule('my file', (path) => path === 'my file').path).toBe('my file');
  });
  it('refuses no file', () => {
    expect(() => parseModule('', () => false)).toThrow(InputError);
    expect(() => parseModule(' x', () => false)).toThrow(InputError);
  });
});
