import { describe, expect, it } from 'vitest';
import { PLAIN_MODEL } from '../../../src/isa/x87/core.ts';
import { fxrstor, fxsave } from '../../../src/isa/x87/instructions/environment.ts';
import { integer, Processor } from './processor.ts';

/** ST(0) = 3, ST(1) = 0, last instruction at 23:00012345 with an operand at 2b:00067890. */
function prepared(model = PLAIN_MODEL): Processor {
  const cpu = new Processor(model);
  cpu.push(integer(0));
  cpu.instructionPointer = 0x12345;
  cpu.dataPointer = 0x67890;
  cpu.opcode = 0x51b;
  cpu.push(integer(3));
  return cpu;
}

const words = (cpu: Processor, count: number): number[] =>
  Array.from({ length: count }, (_, n) => cpu.view.getUint16(2 * n, true));
const longs = (cpu: Processor, count: number): number[] =>
  Array.from({ length: count }, (_, n) => cpu.view.getUint32(4 * n, true));

/** TOP is 6, R6 valid, R7 zero, the others empty. */
const [STATUS, TAGS] = [0x3000, 0x4fff];

describe('FNSTENV, in the formats of SDM vol. 1 figures 8-9 to 8-12', () => {
  it('32-bit protected mode', () => {
    const cpu = prepared();
    cpu.run('D9 /6 m14/28byte');
    expect(cpu.written).toBe(28);
    expect(longs(cpu, 7)).toEqual(
      [0xffff037f, 0xffff0000 | STATUS, 0xffff0000 | TAGS, 0x12345, 0x051b0023, 0x67890, 0xffff002b].map(
        (value) => value >>> 0,
      ),
    );
  });

  it('16-bit protected mode', () => {
    const cpu = prepared();
    cpu.operandBits = 16;
    cpu.run('D9 /6 m14/28byte');
    expect(cpu.written).toBe(14);
    expect(words(cpu, 7)).toEqual([0x037f, STATUS, TAGS, 0x2345, 0x23, 0x7890, 0x2b]);
  });

  it('32-bit real mode: linear addresses', () => {
    const cpu = prepared();
    cpu.realFormat = true;
    cpu.run('D9 /6 m14/28byte');
    // 23h * 16 + 12345h = 12575h; 2bh * 16 + 67890h = 67B40h.
    expect(longs(cpu, 7)).toEqual(
      [
        0xffff037f,
        0xffff0000 | STATUS,
        0xffff0000 | TAGS,
        0xffff2575,
        0x0000151b,
        0xffff7b40,
        0x00006000,
      ].map((value) => value >>> 0),
    );
  });

  it('16-bit real mode', () => {
    const cpu = prepared();
    cpu.realFormat = true;
    cpu.operandBits = 16;
    cpu.run('D9 /6 m14/28byte');
    expect(words(cpu, 7)).toEqual([0x037f, STATUS, TAGS, 0x2575, 0x151b, 0x7b40, 0x6000]);
  });

  it('masks all exceptions afterwards', () => {
    const cpu = prepared();
    cpu.fpu.control = 0x340;
    cpu.run('D9 /6 m14/28byte');
    expect(cpu.fpu.control).toBe(0x37f);
    expect(cpu.view.getUint16(0, true)).toBe(0x340);
  });
});

describe.each([
  [32, false],
  [16, false],
  [32, true],
  [16, true],
] as const)('%i-bit images, real format %s', (operandBits, realFormat) => {
  it('come back through FLDENV', () => {
    const cpu = prepared();
    Object.assign(cpu, { operandBits, realFormat });
    cpu.run('D9 /6 m14/28byte');
    const image = cpu.operand.slice(0, 28);
    cpu.run('DB E3');
    cpu.operand.set(image);
    cpu.run('D9 /4 m14/28byte');
    expect(cpu.fpu.status).toBe(STATUS);
    expect(cpu.fpu.tagWord).toBe(TAGS);
    cpu.run('D9 /6 m14/28byte');
    // Only the opcode is not in the 16-bit protected-mode image.
    expect([...cpu.operand.slice(0, 28)]).toEqual([...image]);
  });

  it('come back through FNSAVE and FRSTOR', () => {
    const cpu = prepared();
    Object.assign(cpu, { operandBits, realFormat });
    cpu.run('DD /6 m94/108byte');
    expect(cpu.written).toBe(operandBits === 32 ? 108 : 94);
    expect([cpu.fpu.control, cpu.fpu.status, cpu.fpu.valid]).toEqual([0x37f, 0, 0]);
    const first = operandBits === 32 ? 28 : 14;
    expect(cpu.view.getBigUint64(first, true)).toBe(integer(3).significand);
    expect(cpu.view.getUint16(first + 8, true)).toBe(integer(3).word);
    cpu.run('DD /4 m94/108byte');
    expect([cpu.st(0), cpu.st(1)]).toEqual([integer(3), integer(0)]);
    expect([cpu.fpu.status, cpu.fpu.valid]).toEqual([STATUS, 0b1100_0000]);
  });
});

describe('loaded environments', () => {
  it('take only "empty" from the tags and ES from the flags and masks', () => {
    const cpu = prepared();
    cpu.view.setUint32(0, 0x37e, true);
    cpu.view.setUint32(4, 0x0001, true);
    cpu.view.setUint32(8, 0x3ffe, true);
    cpu.run('D9 /4 m14/28byte');
    expect(cpu.fpu.status).toBe(0x8081);
    expect(cpu.fpu.valid).toBe(0b1000_0001);
    // R0 is zero and R7, too, whatever the image called them.
    expect(cpu.fpu.tagWord).toBe(0x7ffd);
    cpu.run('9B');
    expect(cpu.pending).toBe(1);
  });
});

describe('FXSAVE and FXRSTOR', () => {
  it('keep everything, with a tag bit per register', () => {
    const cpu = prepared();
    fxsave(cpu.fpu);
    const image = cpu.fpu.operandView;
    expect(image.getUint16(0, true)).toBe(0x37f);
    expect(image.getUint16(2, true)).toBe(STATUS);
    expect(image.getUint16(4, true)).toBe(0b1100_0000);
    expect(image.getUint16(6, true)).toBe(0x51b);
    expect([8, 12, 16, 20].map((place) => image.getUint32(place, true))).toEqual([
      0x12345, 0x23, 0x67890, 0x2b,
    ]);
    expect(image.getBigUint64(32, true)).toBe(integer(3).significand);
    cpu.fpu.initialize();
    cpu.fpu.setNumber(cpu.fpu.physical(6), 0n, 0);
    fxrstor(cpu.fpu);
    expect([cpu.st(0), cpu.fpu.status, cpu.fpu.instructionPointer]).toEqual([integer(3), STATUS, 0x12345]);
  });

  it('hide the pointers on AMD unless an exception is pending', () => {
    const cpu = prepared({
      ...PLAIN_MODEL,
      fxsavePointersOnlyOnError: true,
      fxrstorPointersOnlyOnError: true,
    });
    fxsave(cpu.fpu);
    expect(cpu.fpu.operandView.getUint32(8, true)).toBe(0);
    cpu.fpu.operandView.setUint32(8, 0x777, true);
    fxrstor(cpu.fpu);
    expect(cpu.fpu.instructionPointer).toBe(0x12345);
    cpu.fpu.status = cpu.fpu.status | 1;
    cpu.fpu.control = 0x37e;
    fxsave(cpu.fpu);
    expect(cpu.fpu.operandView.getUint32(8, true)).toBe(0x12345);
  });
});
