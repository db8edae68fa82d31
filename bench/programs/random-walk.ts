import { eax, ebx, ecx, edx, mem32 } from '../../src/guest/assembler.ts';
import { emitIdentityPaging } from '../paging.ts';
import type { BenchProgram } from '../program.ts';

const BASE = 32 << 20;
const WORDS = 8 << 20;
const MEMORY = 64 << 20;
/** Numerical Recipes' generator; its top bits choose the word. */
const MULTIPLIER = 1_664_525;
const INCREMENT = 1_013_904_223;
const TOP_BITS_SHIFT = 9;

/** Reads and writes words at random in 32 MiB of 4 KiB pages: 8192 pages, more than any TLB holds. */
export const randomWalk: BenchProgram = {
  name: 'random-walk',
  unit: 'words',
  iterations: 3_000_000,
  memoryBytes: MEMORY,
  setUp: (a) => emitIdentityPaging(a, MEMORY),
  emit(a) {
    a.label('work');
    a.mov(edx, ecx);
    a.xor(eax, eax);
    a.label('word');
    a.imul(edx, edx, MULTIPLIER);
    a.add(edx, INCREMENT);
    a.mov(ebx, edx);
    a.shr(ebx, TOP_BITS_SHIFT);
    a.add(eax, mem32(BASE, 0, { index: ebx, scale: 4 }));
    a.add(mem32(BASE, 0, { index: ebx, scale: 4 }), edx);
    a.dec(ecx);
    a.jnz('word');
    a.ret();
  },
  model: () => {
    const words = new Int32Array(WORDS);
    return (units) => {
      let x = units;
      let sum = 0;
      for (let n = 0; n < units; n++) {
        x = (Math.imul(x, MULTIPLIER) + INCREMENT) | 0;
        const word = x >>> TOP_BITS_SHIFT;
        sum = (sum + words[word]) | 0;
        words[word] += x;
      }
      return sum >>> 0;
    };
  },
};
