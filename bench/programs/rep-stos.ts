import { al, eax, ebp, ecx, edi, edx, mem32 } from '../../src/guest/assembler.ts';
import { LAYOUT } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

const BYTES = 4096;
const TO = LAYOUT.DATA;

/** REP STOSD over a page, as pages are cleared, then REPNE SCASB to the one byte that differs. */
export const repStos: BenchProgram = {
  name: 'rep-stos-scas',
  unit: 'pages',
  iterations: 30_000,
  emit(a) {
    a.label('work');
    a.mov(ebp, ecx);
    a.xor(edx, edx);
    a.label('page');
    a.mov(edi, TO);
    a.mov(eax, 0x1111_1111);
    a.mov(ecx, BYTES / 4);
    a.rep();
    a.stosd();
    a.mov(eax, ebp);
    a.and(eax, 0x3ff);
    a.mov(mem32(TO + 1024, 0, { index: eax }), 0x2222_2222);
    a.mov(edi, TO);
    a.mov(ecx, BYTES);
    a.mov(al, 0x22);
    a.repne();
    a.scasb();
    a.add(edx, ecx);
    a.dec(ebp);
    a.jnz('page');
    a.mov(eax, edx);
    a.ret();
  },
  model: () => (units) => {
    let sum = 0;
    // SCASB counts the byte that it finds.
    for (let n = units; n > 0; n--) sum = (sum + BYTES - (1024 + (n & 0x3ff)) - 1) | 0;
    return sum >>> 0;
  },
};
