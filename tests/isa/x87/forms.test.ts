import { describe, expect, it } from 'vitest';
import { x87Form } from '../../../src/isa/x87/form.ts';
import { findX87Form, X87_FORMS } from '../../../src/isa/x87/forms.ts';

const name = (opcode: number, modrm: number): string => findX87Form(opcode, modrm)?.name ?? '#UD';

describe('the table of x87 forms', () => {
  it('leaves out what the opcode map leaves out (SDM vol. 2D tables A-7 to A-22)', () => {
    const missing: string[] = [];
    for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
      for (let modrm = 0; modrm < 256; modrm++) {
        // All eight memory encodings of a digit go together; one of each is enough to list.
        if (modrm < 0xc0 && (modrm & 7) !== 0) continue;
        if (modrm < 0xc0 && modrm >= 0x40) continue;
        if (!findX87Form(opcode, modrm)) missing.push(`${opcode.toString(16)} ${modrm.toString(16)}`);
      }
    }
    const range = (opcode: string, first: number, last: number): string[] =>
      Array.from({ length: last - first + 1 }, (_, n) => `${opcode} ${(first + n).toString(16)}`);
    expect(missing).toEqual([
      'd9 8',
      ...range('d9', 0xd1, 0xd7),
      'd9 e2',
      'd9 e3',
      'd9 e6',
      'd9 e7',
      'd9 ef',
      ...range('da', 0xe0, 0xe8),
      ...range('da', 0xea, 0xff),
      'db 20',
      'db 30',
      ...range('db', 0xe5, 0xe7),
      ...range('db', 0xf8, 0xff),
      'dd 28',
      ...range('dd', 0xf0, 0xff),
      'de d8',
      ...range('de', 0xda, 0xdf),
      ...range('df', 0xe1, 0xe7),
      ...range('df', 0xf8, 0xff),
    ]);
  });

  it('finds memory forms under every addressing mode', () => {
    for (const modrm of [0x06, 0x46, 0x86, 0x04, 0x80]) expect(name(0xd8, modrm)).toBe('FADD');
    expect([name(0xdd, 0x30), name(0xd9, 0xbd), name(0xdb, 0x7f)]).toEqual(['FNSAVE', 'FNSTCW', 'FSTP']);
  });

  it('has no encoding twice', () => {
    const encodings = X87_FORMS.map((form) => form.encoding);
    expect(new Set(encodings).size).toBe(encodings.length);
  });

  it('refuses an encoding that it cannot read, in a sentence', () => {
    expect(() => x87Form('FADD', 'D8 /8 m32', () => undefined)).toThrow(
      /encoding D8 \/8 m32 is not of the table/,
    );
  });
});
