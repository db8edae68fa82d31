import { eax, ebp, ecx, edi, edx, esi, mem32 } from '../../src/guest/assembler.ts';
import { LAYOUT } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

const WORDS = 16_384;
const FROM = LAYOUT.DATA;
const TO = LAYOUT.DATA + 0x2_0000;

/** REP MOVSD of 64 KiB, as a kernel copies pages. The first word changes every time. */
export const repMovs64k: BenchProgram = {
  name: 'rep-movs-64k',
  unit: 'copies of 64 KiB',
  iterations: 20_000,
  emit(a) {
    a.label('work');
    a.mov(ebp, ecx);
    a.xor(edx, edx);
    a.label('copy');
    a.mov(mem32(FROM), ebp);
    a.mov(mem32(FROM + WORDS * 4 - 4), ebp);
    a.mov(esi, FROM);
    a.mov(edi, TO);
    a.mov(ecx, WORDS);
    a.rep();
    a.movsd();
    a.add(edx, mem32(TO));
    a.add(edx, mem32(edi, -4));
    a.dec(ebp);
    a.jnz('copy');
    a.mov(eax, edx);
    a.ret();
  },
  model: () => (units) => (units * (units + 1)) >>> 0,
};
