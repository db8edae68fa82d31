import { describe, expect, it } from 'vitest';
import {
  Assembler,
  address,
  al,
  ax,
  cr0,
  cr3,
  cr4,
  ds,
  dx,
  eax,
  ebx,
  ecx,
  edx,
  esi,
  esp,
  fs,
  mem,
  mem8,
  mem16,
  mem32,
  mem64,
} from '../../src/guest/assembler.ts';

/** Bytes of one program as hex, worked out by hand from the opcode maps (SDM vol. 2, APM vol. 3). */
function bytesOf(write: (a: Assembler) => void, bits: 16 | 32 = 32, origin = 0x1000): string {
  const a = new Assembler(origin, bits);
  write(a);
  return Array.from(a.finish().bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

describe('assembler', () => {
  // biome-ignore format: table
  const cases: readonly [string, (a: Assembler) => void, string][] = [
    ['mov r32, imm32',          (a) => a.mov(eax, 0x12345678),             'b8 78 56 34 12'],
    ['mov r32, [r32+disp8]',    (a) => a.mov(eax, mem32(ebx, 8)),          '8b 43 08'],
    ['mov [r32], r32',          (a) => a.mov(mem32(ebx), ecx),             '89 0b'],
    ['mov [esp+4], imm32',      (a) => a.mov(mem32(esp, 4), 0x80000001),   'c7 44 24 04 01 00 00 80'],
    ['mov r32, cr0',            (a) => a.mov(eax, cr0),                    '0f 20 c0'],
    ['mov cr3, r32',            (a) => a.mov(cr3, ecx),                    '0f 22 d9'],
    ['mov cr4, r32',            (a) => a.mov(cr4, eax),                    '0f 22 e0'],
    ['mov ds, r32',             (a) => a.mov(ds, eax),                     '8e d8'],
    ['mov fs:[r32]',            (a) => a.mov(ecx, mem32(ebx, 0, { segment: fs })), '64 8b 0b'],
    ['movzx r32, m16',          (a) => a.movzx(ecx, mem16(ebx)),           '0f b7 0b'],
    ['movzx r32, m8',           (a) => a.movzx(ecx, mem8(ebx)),            '0f b6 0b'],
    ['scaled index',            (a) => a.lea(eax, mem(ebx, 4, { index: ecx, scale: 4 })), '8d 44 8b 04'],
    ['add with 8-bit immediate', (a) => a.add(ecx, 4),                     '83 c1 04'],
    ['add with 32-bit immediate', (a) => a.add(ecx, 0x1000),               '81 c1 00 10 00 00'],
    ['add eax has its own form', (a) => a.add(eax, 0x1000),                '05 00 10 00 00'],
    ['cmp m8, imm8',            (a) => a.cmp(mem8(esi, 1), 0xff),          '80 7e 01 ff'],
    ['test',                    (a) => a.test(al, 1),                      'a8 01'],
    ['shl by one',              (a) => a.shl(eax, 1),                      'd1 e0'],
    ['push imm8, sign-extended', (a) => a.push(2),                         '6a 02'],
    ['push fs, pop fs',         (a) => { a.push(fs); a.pop(fs); },            '0f a0 0f a1'],
    ['indirect jump',           (a) => a.jmp(edx),                         'ff e2'],
    ['lock xadd',               (a) => a.lock('Xadd', mem32(ebx), ecx),    'f0 0f c1 0b'],
    ['lock cmpxchg8b',          (a) => a.lock('Cmpxchg8b', mem64(ebx)),    'f0 0f c7 0b'],
    ['out dx, eax',             (a) => a.out(dx, eax),                     'ef'],
    ['out imm8, al',            (a) => a.out(0xe9, al),                    'e6 e9'],
    ['ltr, lldt',               (a) => { a.ltr(eax); a.lldt(eax); },            '0f 00 d8 0f 00 d0'],
    ['lidt',                    (a) => a.lidt(mem(0x2000)),                '0f 01 1d 00 20 00 00'],
    ['invlpg',                  (a) => a.invlpg(mem(ebx)),                 '0f 01 3b'],
    ['vmrun vmload vmsave',     (a) => { a.vmrun(); a.vmload(); a.vmsave(); }, '0f 01 d8 0f 01 da 0f 01 db'],
    ['vmmcall stgi clgi invlpga', (a) => { a.vmmcall(); a.stgi(); a.clgi(); a.invlpga(); },
      '0f 01 d9 0f 01 dc 0f 01 dd 0f 01 df'],
    ['rep movsd',               (a) => { a.rep(); a.movsd(); },               'f3 a5'],
    ['ret, ret imm16, iretd',   (a) => { a.ret(); a.ret(8); a.iretd(); },     'c3 c2 08 00 cf'],
  ];
  it.each(cases)('%s', (_, write, expected) => {
    expect(bytesOf(write)).toBe(expected);
  });

  it('prefixes the other operand size in 16-bit code', () => {
    expect(
      bytesOf((a) => {
        a.mov(ax, 1);
        a.mov(eax, 1);
        a.ret();
      }, 16),
    ).toBe('b8 01 00 66 b8 01 00 00 00 c3');
    expect(
      bytesOf((a) => {
        a.bits(16);
        a.bits(32);
        a.mov(eax, 1);
      }, 16),
    ).toBe('b8 01 00 00 00');
  });

  it('resolves backward and forward branches, near and short', () => {
    const program = (a: Assembler): void => {
      a.label('top');
      a.jz('end');
      a.jmp('top');
      a.loop('top');
      a.label('end');
      a.nop();
    };
    // jz: 6 bytes, target 7 further on; jmp: back over 11; loop: back over 13.
    expect(bytesOf(program)).toBe('0f 84 07 00 00 00 e9 f5 ff ff ff e2 f3 90');
  });

  it('puts absolute addresses of labels into immediates, displacements and data', () => {
    const program = (a: Assembler): void => {
      a.mov(esi, address('data', 4));
      a.mov(eax, mem32(address('data')));
      a.mov(mem32(ebx, address('data')), 7);
      a.jmpFar(8, 'data');
      a.align(4);
      a.label('data');
      a.data32(address('data'), 0xdeadbeef);
    };
    // 5 + 6 + 10 + 7 bytes of code: data is at 0x101c without padding.
    expect(bytesOf(program)).toBe(
      'be 20 10 00 00 8b 05 1c 10 00 00 c7 83 1c 10 00 00 07 00 00 00 ea 1c 10 00 00 08 00 1c 10 00 00 ef be ad de',
    );
  });

  it('knows labels by absolute address, and names outside', () => {
    const a = new Assembler(0x100000);
    a.define('mailbox', 0x180000);
    a.org(0x100010);
    a.label('here');
    a.mov(eax, mem32(address('mailbox')));
    const { labels, bytes, origin } = a.finish();
    expect(labels.get('here')).toBe(0x100010);
    expect(origin).toBe(0x100000);
    expect([...bytes.slice(16)]).toEqual([0x8b, 0x05, 0x00, 0x00, 0x18, 0x00]);
  });

  it('says what is wrong', () => {
    const a = new Assembler(0);
    a.label('x');
    expect(() => a.label('x')).toThrow('Label "x" is defined twice.');
    expect(() => a.mov(mem32(eax), mem32(ebx))).toThrow(
      'No form of Mov takes (32 bits of memory, 32 bits of memory) in 32-bit code.',
    );
    expect(() => a.add(eax, al)).toThrow('No form of Add takes (eax, al)');
    a.jmp('nowhere');
    expect(() => a.finish()).toThrow('Label "nowhere" is used but not defined.');
    const far = new Assembler(0);
    far.loop('end');
    far.zero(200);
    far.label('end');
    expect(() => far.finish()).toThrow('too far for a 8-bit branch');
    expect(() => far.org(4)).toThrow('Cannot go back to 0x4');
  });
});
