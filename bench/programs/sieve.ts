import { al, eax, ebp, ebx, ecx, edi, edx, esi, mem, mem8 } from '../../src/guest/assembler.ts';
import { LAYOUT } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

const FLAGS = LAYOUT.DATA;
const LIMIT = 16_384;

/** The sieve of Eratosthenes with a byte per number: stores in strides, and branches that go either way. */
export const sieve: BenchProgram = {
  name: 'sieve',
  unit: 'sieves to 16384',
  iterations: 500,
  emit(a) {
    a.label('work');
    a.mov(ebp, ecx);
    a.xor(ebx, ebx);
    a.label('sieve');
    a.mov(edi, FLAGS);
    a.mov(ecx, LIMIT);
    a.mov(al, 1);
    a.rep();
    a.stosb();
    a.mov(esi, 2);
    a.label('number');
    a.emit('Cmp', mem8(FLAGS, 0, { index: esi }), 0);
    a.jz('next-number');
    a.inc(ebx);
    a.lea(edx, mem(esi, 0, { index: esi }));
    a.label('multiple');
    a.cmp(edx, LIMIT);
    a.jae('next-number');
    a.mov(mem8(FLAGS, 0, { index: edx }), 0);
    a.add(edx, esi);
    a.jmp('multiple');
    a.label('next-number');
    a.inc(esi);
    a.cmp(esi, LIMIT);
    a.jb('number');
    a.dec(ebp);
    a.jnz('sieve');
    a.mov(eax, ebx);
    a.ret();
  },
  model: () => (units) => {
    let primes = 0;
    for (let n = 2; n < LIMIT; n++) {
      let divisor = 2;
      while (divisor * divisor <= n && n % divisor !== 0) divisor++;
      if (divisor * divisor > n) primes++;
    }
    return primes * units;
  },
};
