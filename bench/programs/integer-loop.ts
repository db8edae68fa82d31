import { eax, ebx, ecx, edx, esi, mem } from '../../src/guest/assembler.ts';
import type { BenchProgram } from '../program.ts';

const SEED = 0x1234_5678;
const THRESHOLD = 0x4000_0000;

/** Registers only: Marsaglia's xorshift32, summed up with a carry now and then. */
export const integerLoop: BenchProgram = {
  name: 'integer-loop',
  unit: 'rounds',
  iterations: 12_000_000,
  emit(a) {
    a.label('work');
    a.mov(eax, SEED);
    a.xor(ebx, ebx);
    a.xor(esi, esi);
    a.label('round');
    for (const [shift, count] of [
      ['Shl', 13],
      ['Shr', 17],
      ['Shl', 5],
    ] as const) {
      a.mov(edx, eax);
      a.emit(shift, edx, count);
      a.xor(eax, edx);
    }
    a.lea(esi, mem(esi, 1, { index: eax, scale: 4 }));
    a.cmp(eax, THRESHOLD);
    a.adc(ebx, esi);
    a.dec(ecx);
    a.jnz('round');
    a.mov(eax, ebx);
    a.ret();
  },
  model: () => (units) => {
    let x = SEED;
    let multiple = 0;
    let sum = 0;
    for (let n = 0; n < units; n++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      multiple = (multiple + 1 + 4 * x) | 0;
      sum = (sum + multiple + (x >>> 0 < THRESHOLD ? 1 : 0)) | 0;
    }
    return sum >>> 0;
  },
};
