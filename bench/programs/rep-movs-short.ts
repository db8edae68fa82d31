import { eax, ebp, ecx, edi, edx, esi, mem, mem32 } from '../../src/guest/assembler.ts';
import { LAYOUT } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

const FROM = LAYOUT.DATA;
const TO = LAYOUT.DATA + 0x1_0000;
const SHORTEST = 8;

/** REP MOVSB of 8 to 23 bytes at unaligned places, as strings are copied. */
export const repMovsShort: BenchProgram = {
  name: 'rep-movs-short',
  unit: 'copies',
  iterations: 2_000_000,
  emit(a) {
    a.label('work');
    a.mov(ebp, ecx);
    a.xor(edx, edx);
    a.label('copy');
    a.mov(eax, ebp);
    a.and(eax, 15);
    a.lea(ecx, mem(eax, SHORTEST));
    a.lea(esi, mem(eax, FROM));
    a.mov(edi, TO + 3);
    a.mov(mem32(esi, 2), ebp);
    a.rep();
    a.movsb();
    a.add(edx, mem32(TO + 5));
    a.add(edx, edi);
    a.dec(ebp);
    a.jnz('copy');
    a.mov(eax, edx);
    a.ret();
  },
  model: () => (units) => {
    let sum = 0;
    for (let n = units; n > 0; n--) sum = (sum + n + TO + 3 + SHORTEST + (n & 15)) | 0;
    return sum >>> 0;
  },
};
