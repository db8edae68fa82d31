/** The vectors against arithmetic done here, so that a broken generator cannot pass for a broken interpreter. */
import { describe, expect, it } from 'vitest';
import { disassemble } from './describe.ts';
import { loadFamily, type Vector } from './format.ts';

const CF = 0x1;
const PF = 0x4;
const AF = 0x10;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;
const ARITHMETIC = CF | PF | AF | ZF | SF | OF;

interface Outcome {
  readonly result: bigint;
  readonly flags: number;
}

/** EFLAGS of a sum or difference of `size` bits, from the exact integers (SDM vol. 1 3.4.3.1). */
function addition(a: bigint, b: bigint, carry: bigint, size: bigint, subtract: boolean): Outcome {
  const mask = (1n << size) - 1n;
  const exact = subtract ? a - b - carry : a + b + carry;
  const signed = (value: bigint): bigint => BigInt.asIntN(Number(size), value);
  const signedExact = subtract ? signed(a) - signed(b) - carry : signed(a) + signed(b) + carry;
  const nibble = subtract ? (a & 15n) - (b & 15n) - carry : (a & 15n) + (b & 15n) + carry;
  const result = exact & mask;
  let flags = common(result, size);
  if (exact !== result) flags |= CF;
  if (nibble < 0n || nibble > 15n) flags |= AF;
  if (signedExact !== signed(result)) flags |= OF;
  return { result, flags };
}

function common(result: bigint, size: bigint): number {
  const ones = [...(result & 0xffn).toString(2)].filter((digit) => digit === '1').length;
  return (ones % 2 === 0 ? PF : 0) | (result === 0n ? ZF : 0) | (result >> (size - 1n) ? SF : 0);
}

function logic(result: bigint, size: bigint): Outcome {
  return { result, flags: common(result, size) };
}

const OPERATIONS: Record<string, (a: bigint, b: bigint, c: bigint, size: bigint) => Outcome> = {
  ADD: (a, b, _, size) => addition(a, b, 0n, size, false),
  ADC: (a, b, c, size) => addition(a, b, c, size, false),
  SUB: (a, b, _, size) => addition(a, b, 0n, size, true),
  SBB: (a, b, c, size) => addition(a, b, c, size, true),
  CMP: (a, b, _, size) => addition(a, b, 0n, size, true),
  AND: (a, b, _, size) => logic(a & b, size),
  OR: (a, b, _, size) => logic(a | b, size),
  XOR: (a, b, _, size) => logic(a ^ b, size),
};

const littleEndian = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

/** Register by number and size as ModRM names it. */
function register(state: Vector['before'], index: number, size: number): bigint {
  if (size === 8) return BigInt((state.gpr(index & 3) >>> (index & 4 ? 8 : 0)) & 0xff);
  return BigInt(state.gpr(index)) & ((1n << BigInt(size)) - 1n);
}

describe('integer-alu', () => {
  it('agrees with exact integers in result and flags, registers and memory', () => {
    let checked = 0;
    for (const vector of loadFamily('integer-alu').vectors()) {
      const match = /^(ADD|ADC|SUB|SBB|CMP|AND|OR|XOR) r\/m(8|16|32), r\d+$/.exec(vector.form.name);
      if (!match || vector.fault) continue;
      const [, mnemonic, digits] = match;
      const size = Number(digits);
      const opcodeAt = vector.code.findIndex(
        (byte) => (byte & 0xc6) === 0 && ![0x26, 0x2e, 0x36, 0x3e].includes(byte),
      );
      const modrm = vector.code[opcodeAt + 1];
      const inRegister = modrm >= 0xc0;
      if (!inRegister && vector.memoryBefore.length === 0) continue;
      const a = inRegister
        ? register(vector.before, modrm & 7, size)
        : littleEndian(vector.memoryBefore[0].bytes);
      const b = register(vector.before, (modrm >> 3) & 7, size);
      const carry = BigInt(vector.before.get('eflags') & CF);
      const { result, flags } = OPERATIONS[mnemonic](a, b, carry, BigInt(size));
      const mask = ARITHMETIC & ~vector.undefinedFlags;
      const where = `${vector.form.name} #${vector.index}: ${disassemble(vector)}`;
      expect(vector.after.get('eflags') & mask, where).toBe(flags & mask);
      if (inRegister && mnemonic !== 'CMP')
        expect(register(vector.after, modrm & 7, size), where).toBe(result);
      checked++;
    }
    expect(checked).toBeGreaterThan(8000);
  });
});

describe('sse-arithmetic', () => {
  const OPERATORS: Record<string, (a: number, b: number) => number> = {
    ADDSD: (a, b) => a + b,
    SUBSD: (a, b) => a - b,
    MULSD: (a, b) => a * b,
    DIVSD: (a, b) => a / b,
    SQRTSD: (_, b) => Math.sqrt(b),
  };

  it('agrees with the doubles of JavaScript where MXCSR rounds as they do', () => {
    let checked = 0;
    for (const vector of loadFamily('sse-arithmetic').vectors()) {
      const operate = OPERATORS[vector.form.name.split(' ')[0]];
      const modrm = vector.code[vector.code.length - 1];
      const plain = (vector.before.get('mxcsr') & 0xffc0) === 0x1f80; // nearest, all masked, neither DAZ nor FTZ
      if (!operate || !plain || vector.fault || modrm < 0xc0 || vector.memoryBefore.length) continue;
      const read = (bytes: Uint8Array): number => new DataView(bytes.slice().buffer).getFloat64(0, true);
      const expected = operate(read(vector.before.xmm((modrm >> 3) & 7)), read(vector.before.xmm(modrm & 7)));
      const seen = read(vector.after.xmm((modrm >> 3) & 7));
      expect(seen, `${vector.form.name} #${vector.index}`).toBe(expected);
      checked++;
    }
    expect(checked).toBeGreaterThan(200);
  });
});

describe('x87-move', () => {
  /** Significands of SDM vol. 2A, FLD1 and its kin, rounded to nearest. */
  const CONSTANTS: Record<string, string> = {
    FLD1: '3fff8000000000000000',
    FLDPI: '4000c90fdaa22168c235',
    FLDL2T: '4000d49a784bcd1b8afe',
    FLDL2E: '3fffb8aa3b295c17f0bc',
    FLDLG2: '3ffd9a209a84fbcff799',
    FLDLN2: '3ffeb17217f7d1cf79ac',
    FLDZ: '00000000000000000000',
  };

  it.each(Object.keys(CONSTANTS))('%s loads the constant when rounding to nearest', (name) => {
    let checked = 0;
    for (const vector of loadFamily('x87-move').vectors()) {
      const nearest = (vector.before.get('fcw') & 0xc00) === 0;
      const stackFault = (vector.after.get('fsw') & 0x40) !== 0;
      if (vector.form.name !== name || !nearest || stackFault || vector.fault) continue;
      const top = (vector.after.get('fsw') >> 11) & 7;
      const text = littleEndian(vector.after.x87(top)).toString(16).padStart(20, '0');
      expect(text).toBe(CONSTANTS[name]);
      checked++;
    }
    expect(checked).toBeGreaterThan(10);
  });
});
