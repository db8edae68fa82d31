import { ax, eax, ebx, ecx, mem, mem32 } from '../../src/guest/assembler.ts';
import { LAYOUT } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

const NODES = 65_536;
/** A linear congruence modulo 2^16 with full period: increment odd, multiplier one more than a multiple of four. */
const MULTIPLIER = 25_173;
const INCREMENT = 13_849;
const UNROLLED = 8;

/** Follows pointers through 256 KiB: every load waits for the one before. */
export const pointerChase: BenchProgram = {
  name: 'pointer-chase',
  unit: 'rounds of 8 loads',
  iterations: 5_000_000,
  setUp(a) {
    a.xor(ecx, ecx);
    a.label('link');
    a.imul(eax, ecx, MULTIPLIER);
    a.add(eax, INCREMENT);
    a.movzx(eax, ax);
    a.lea(eax, mem(LAYOUT.DATA, 0, { index: eax, scale: 4 }));
    a.mov(mem32(LAYOUT.DATA, 0, { index: ecx, scale: 4 }), eax);
    a.inc(ecx);
    a.cmp(ecx, NODES);
    a.jb('link');
  },
  emit(a) {
    a.label('work');
    a.mov(eax, LAYOUT.DATA);
    a.xor(ebx, ebx);
    a.label('round');
    for (let n = 0; n < UNROLLED; n++) a.mov(eax, mem32(eax));
    a.add(ebx, eax);
    a.dec(ecx);
    a.jnz('round');
    a.mov(eax, ebx);
    a.ret();
  },
  model: () => (units) => {
    let node = 0;
    let sum = 0;
    for (let n = 0; n < units; n++) {
      for (let load = 0; load < UNROLLED; load++) node = (node * MULTIPLIER + INCREMENT) % NODES;
      sum = (sum + LAYOUT.DATA + node * 4) | 0;
    }
    return sum >>> 0;
  },
};
