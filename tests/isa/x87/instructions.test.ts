import { describe, expect, it } from 'vitest';
import { FSW } from '../../../src/isa/x87/control.ts';
import { PLAIN_MODEL } from '../../../src/isa/x87/core.ts';
import { integer, Processor } from './processor.ts';

const INDEFINITE = { significand: 0xc000_0000_0000_0000n, word: 0xffff };
const { IE, SF, C0, C1, C2, C3, ES, B, ZE, OE, PE, TOP } = FSW;

function withStack(...values: readonly number[]): Processor {
  const cpu = new Processor();
  for (const value of [...values].reverse()) cpu.push(integer(value));
  return cpu;
}
const status = (cpu: Processor): number => cpu.fpu.status & ~TOP;

describe('register stack', () => {
  it('pushes downwards from register 7 and pops back', () => {
    const cpu = withStack(1, 2);
    expect(cpu.fpu.top).toBe(6);
    expect(cpu.fpu.valid).toBe(0b1100_0000);
    cpu.run('DD D8+i', 0);
    expect(cpu.fpu.top).toBe(7);
    expect(cpu.fpu.valid).toBe(0b1000_0000);
    expect(cpu.st(0)).toEqual(integer(2));
  });

  it('answers a push on a full stack with the indefinite, SF and C1', () => {
    const cpu = withStack(1, 2, 3, 4, 5, 6, 7, 8);
    cpu.run('D9 E8');
    expect(status(cpu)).toBe(IE | SF | C1);
    expect(cpu.st(0)).toEqual(INDEFINITE);
    expect(cpu.st(1)).toEqual(integer(1));
    expect(cpu.fpu.top).toBe(7);
  });

  it('leaves everything in place when that stack fault is unmasked', () => {
    const cpu = withStack(1, 2, 3, 4, 5, 6, 7, 8);
    cpu.fpu.control = 0x37e;
    cpu.run('D9 E8');
    expect(status(cpu)).toBe(IE | SF | C1 | ES | B);
    expect(cpu.st(0)).toEqual(integer(1));
    expect(cpu.fpu.top).toBe(0);
  });

  it('answers an empty source with the indefinite, SF and no C1', () => {
    const cpu = withStack(1);
    cpu.run('D8 C0+i', 3);
    expect(status(cpu)).toBe(IE | SF);
    expect(cpu.st(0)).toEqual(INDEFINITE);
    expect(cpu.fpu.isEmpty(3)).toBe(true);
  });

  it('exchanges with an empty register after filling it', () => {
    const cpu = withStack(5);
    cpu.run('D9 C8+i', 2);
    expect(cpu.st(2)).toEqual(integer(5));
    expect(cpu.st(0)).toEqual(INDEFINITE);
    expect(cpu.fpu.isEmpty(2)).toBe(false);
    expect(status(cpu)).toBe(IE | SF);
  });

  it('turns with FINCSTP and FDECSTP and frees with FFREE, tags aside', () => {
    const cpu = withStack(1, 2);
    cpu.run('D9 F7');
    expect([cpu.fpu.top, cpu.fpu.valid]).toEqual([7, 0b1100_0000]);
    cpu.run('D9 F6');
    cpu.run('DD C0+i', 1);
    expect([cpu.fpu.top, cpu.fpu.valid]).toEqual([6, 0b0100_0000]);
  });
});

describe('exceptions', () => {
  it('are found pending by the next waiting instruction, not by the others', () => {
    const cpu = withStack(1, 0);
    cpu.fpu.control = 0x37b;
    cpu.run('D8 F0+i', 1);
    expect(cpu.pending).toBe(0);
    expect(status(cpu)).toBe(ZE | ES | B);
    expect(cpu.st(0)).toEqual(integer(1));
    cpu.run('DF E0');
    expect(cpu.ax & (ES | ZE)).toBe(ES | ZE);
    expect(cpu.pending).toBe(0);
    cpu.run('D9 E8');
    cpu.run('9B');
    expect(cpu.pending).toBe(2);
    expect(cpu.fpu.top).toBe(6);
    cpu.run('DB E2');
    cpu.run('9B');
    expect(cpu.pending).toBe(2);
    expect(status(cpu)).toBe(0);
  });

  it('become pending when FLDCW unmasks a flag that is set already', () => {
    const cpu = withStack(1, 0);
    cpu.run('D8 F0+i', 1);
    expect(status(cpu)).toBe(ZE);
    cpu.view.setUint16(0, 0x37b, true);
    cpu.run('D9 /5 m2byte');
    expect(status(cpu)).toBe(ZE | ES | B);
  });

  it('keep a store from happening when unmasked overflow goes to memory, and the pop with it', () => {
    const cpu = new Processor();
    cpu.push({ significand: 1n << 63n, word: 0x7000 });
    cpu.fpu.control = 0x377;
    cpu.run('D9 /3 m32fp');
    expect(cpu.written).toBe(0);
    expect(cpu.fpu.isEmpty(0)).toBe(false);
    expect(status(cpu)).toBe(OE | ES | B);
  });

  it('let an inexact store happen even when unmasked', () => {
    const cpu = new Processor();
    cpu.push({ significand: (1n << 63n) | 1n, word: 0x3fff });
    cpu.fpu.control = 0x35f;
    cpu.run('D9 /3 m32fp');
    expect(cpu.written).toBe(4);
    expect(cpu.view.getFloat32(0, true)).toBe(1);
    expect(cpu.fpu.isEmpty(0)).toBe(true);
    expect(status(cpu)).toBe(PE | ES | B);
  });

  it('deliver unmasked overflow in a register with the exponent moved by 24576', () => {
    const cpu = new Processor();
    cpu.push({ significand: 1n << 63n, word: 0x7ffe });
    cpu.fpu.control = 0x377;
    cpu.run('D8 C8+i', 0);
    // 2^16383 squared is 2^32766; less 24576 that is 2^8190.
    expect(cpu.st(0)).toEqual({ significand: 1n << 63n, word: 16383 + 8190 });
    expect(status(cpu)).toBe(OE | ES | B);
  });

  it('store nothing and pop nothing when the memory operand faults', () => {
    const cpu = withStack(1, 2);
    cpu.faults = true;
    const before = [cpu.fpu.status, cpu.fpu.valid, cpu.fpu.instructionPointer];
    cpu.instructionPointer = 0x9999;
    cpu.run('D9 /3 m32fp');
    cpu.run('D8 /0 m32fp');
    cpu.run('DD /4 m94/108byte');
    cpu.run('DD /6 m94/108byte');
    expect([cpu.fpu.status, cpu.fpu.valid, cpu.fpu.instructionPointer]).toEqual(before);
    expect(cpu.st(0)).toEqual(integer(1));
  });
});

describe('operand order', () => {
  it.each([
    ['D8 E0+i', 7 - 2, 2],
    ['D8 E8+i', 2 - 7, 2],
    ['DC E8+i', 7, 2 - 7],
    ['DC E0+i', 7, 7 - 2],
    ['D8 F0+i', 3.5, 2],
    ['DC F0+i', 7, 3.5],
  ])('%s on ST(0) = 7, ST(1) = 2', (encoding, top, next) => {
    const cpu = withStack(7, 2);
    cpu.run(encoding, 1);
    const asNumber = (i: number): number => {
      const { significand, word } = cpu.st(i);
      return (word & 0x8000 ? -1 : 1) * Number(significand) * 2 ** ((word & 0x7fff) - 16383 - 63);
    };
    expect([asNumber(0), asNumber(1)]).toEqual([top, next]);
  });

  it('pops after FSUBP and FSUBRP', () => {
    const cpu = withStack(7, 2);
    cpu.run('DE E8+i', 1);
    expect(cpu.st(0)).toEqual(integer(2 - 7));
    expect(cpu.fpu.top).toBe(7);
    const other = withStack(7, 2);
    other.run('DE E0+i', 1);
    expect(other.st(0)).toEqual(integer(7 - 2));
  });
});

describe('comparisons', () => {
  it('report in EFLAGS', () => {
    const cpu = withStack(1, 2);
    cpu.run('DB F0+i', 1);
    expect(cpu.flags).toBe(0x01);
    cpu.run('DB F0+i', 0);
    expect(cpu.flags).toBe(0x40);
    cpu.run('DF E8+i', 5);
    expect(cpu.flags).toBe(0x45);
    expect(status(cpu) & (IE | SF)).toBe(IE | SF);
    expect(cpu.fpu.top).toBe(7);
  });

  it('pop once or twice', () => {
    const cpu = withStack(3, 3, 9);
    cpu.run('DE D9');
    expect(status(cpu)).toBe(C3);
    expect(cpu.st(0)).toEqual(integer(9));
    expect(cpu.fpu.valid).toBe(0b1000_0000);
  });

  it.each([
    [{ significand: 0n, word: 0x8000 }, C3 | C1],
    [{ significand: 1n << 63n, word: 0x3fff }, C2],
    [{ significand: 1n << 63n, word: 0x7fff }, C2 | C0],
    [{ significand: 3n << 62n, word: 0xffff }, C0 | C1],
    [{ significand: 5n, word: 0 }, C3 | C2],
    [{ significand: 5n, word: 0x3fff }, 0],
  ])('FXAM of %o', (number, conditions) => {
    const cpu = new Processor();
    cpu.push(number);
    cpu.run('D9 E5');
    expect(status(cpu)).toBe(conditions);
  });

  it('FXAM of an empty register', () => {
    const cpu = new Processor();
    cpu.run('D9 E5');
    expect(status(cpu) & ~C1).toBe(C3 | C0);
  });

  it('FCMOVcc looks at CF, ZF and PF', () => {
    const cpu = withStack(1, 2);
    cpu.run('DA C8+i', 1);
    expect(cpu.st(0)).toEqual(integer(1));
    cpu.flags = 0x40;
    cpu.run('DB D0+i', 1);
    expect(cpu.st(0)).toEqual(integer(1));
    cpu.run('DA D0+i', 1);
    expect(cpu.st(0)).toEqual(integer(2));
  });
});

describe('constants', () => {
  /** The first 64 bits of each, and whether the next bits are worth at least a half. */
  it.each([
    ['D9 EB', 0xc90f_daa2_2168_c234n, 0x4000, 1n],
    ['D9 E9', 0xd49a_784b_cd1b_8afen, 0x4000, 0n],
    ['D9 EA', 0xb8aa_3b29_5c17_f0bbn, 0x3fff, 1n],
    ['D9 EC', 0x9a20_9a84_fbcf_f798n, 0x3ffd, 1n],
    ['D9 ED', 0xb172_17f7_d1cf_79abn, 0x3ffe, 1n],
  ])('%s follows RC', (encoding, cut, word, nearest) => {
    const load = (rounding: number): bigint => {
      const cpu = new Processor();
      cpu.fpu.control = 0x37f | (rounding << 10);
      cpu.run(encoding);
      expect(cpu.st(0).word).toBe(word);
      expect(status(cpu)).toBe(0);
      return cpu.st(0).significand;
    };
    expect([0, 1, 2, 3].map(load)).toEqual([cut + nearest, cut, cut + 1n, cut]);
  });
});

describe('pointers to the last instruction', () => {
  it('follow every instruction that is not a control instruction', () => {
    const cpu = new Processor();
    cpu.run('D9 E8');
    expect([cpu.fpu.instructionPointer, cpu.fpu.codeSegment, cpu.fpu.opcode]).toEqual([0x1111, 0x23, 0x123]);
    expect([cpu.fpu.dataPointer, cpu.fpu.dataSegment]).toEqual([0, 0]);
    cpu.run('D9 /0 m32fp');
    expect([cpu.fpu.dataPointer, cpu.fpu.dataSegment]).toEqual([0x2222, 0x2b]);
    cpu.instructionPointer = 0x3333;
    for (const encoding of ['DF E0', 'D9 /7 m2byte', 'D9 /5 m2byte', 'DB E2', '9B']) cpu.run(encoding);
    expect(cpu.fpu.instructionPointer).toBe(0x1111);
    cpu.run('D9 D0');
    expect(cpu.fpu.instructionPointer).toBe(0x3333);
  });

  it('leave out what a model does not keep', () => {
    const cpu = new Processor({ ...PLAIN_MODEL, segmentsDeprecated: true, dataPointerOnlyOnException: true });
    cpu.run('D9 /0 m32fp');
    expect([cpu.fpu.codeSegment, cpu.fpu.dataPointer]).toEqual([0, 0]);
    cpu.fpu.control = 0x37e;
    cpu.view.setUint32(0, 0x7f80_0001, true);
    cpu.run('D9 /0 m32fp');
    expect(cpu.fpu.dataPointer).toBe(0x2222);
  });
});
