import { al, eax, ebx, ecx, edi, edx, esi, mem8, mem32 } from '../../src/guest/assembler.ts';
import { LAYOUT } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

const TABLE = LAYOUT.DATA;
const BUFFER = LAYOUT.DATA + 0x1000;
const BUFFER_BYTES = 4096;
const POLYNOMIAL = 0xedb8_8320;

/** CRC-32 by table over 4 KiB: a byte load and a table load that depends on it. */
export const crc32: BenchProgram = {
  name: 'crc32',
  unit: 'buffers of 4 KiB',
  iterations: 2_500,
  setUp(a) {
    a.xor(ecx, ecx);
    a.label('table-entry');
    a.mov(eax, ecx);
    for (let bit = 0; bit < 8; bit++) {
      a.shr(eax, 1);
      a.jnc(`table-bit-${bit}`);
      a.xor(eax, POLYNOMIAL);
      a.label(`table-bit-${bit}`);
    }
    a.mov(mem32(TABLE, 0, { index: ecx, scale: 4 }), eax);
    a.inc(ecx);
    a.cmp(ecx, 256);
    a.jb('table-entry');
    a.xor(ecx, ecx);
    a.label('fill');
    a.imul(eax, ecx, 167);
    a.mov(mem8(BUFFER, 0, { index: ecx }), al);
    a.inc(ecx);
    a.cmp(ecx, BUFFER_BYTES);
    a.jb('fill');
  },
  emit(a) {
    a.label('work');
    a.mov(edi, ecx);
    a.mov(eax, -1);
    a.label('buffer');
    a.mov(esi, BUFFER);
    a.mov(ecx, BUFFER_BYTES);
    a.label('byte');
    a.movzx(edx, mem8(esi));
    a.movzx(ebx, al);
    a.xor(edx, ebx);
    a.shr(eax, 8);
    a.xor(eax, mem32(TABLE, 0, { index: edx, scale: 4 }));
    a.inc(esi);
    a.dec(ecx);
    a.jnz('byte');
    a.dec(edi);
    a.jnz('buffer');
    a.ret();
  },
  model: () => (units) => {
    const table = Int32Array.from({ length: 256 }, (_, n) => {
      let value = n;
      for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
      return value;
    });
    let crc = -1;
    for (let n = 0; n < units * BUFFER_BYTES; n++) {
      const byte = ((n % BUFFER_BYTES) * 167) & 0xff;
      crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff];
    }
    return crc >>> 0;
  },
};
