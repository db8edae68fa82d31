import { eax, ebx, ecx, mem } from '../../src/guest/assembler.ts';
import type { BenchProgram } from '../program.ts';

const ARGUMENT = 15;

/** Fibonacci numbers by recursion: calls, returns, pushes, pops and a branch that is hard to guess. */
export const calls: BenchProgram = {
  name: 'calls',
  unit: 'fib(15)',
  iterations: 4_000,
  emit(a) {
    a.label('work');
    a.xor(ebx, ebx);
    a.label('again');
    a.push(ecx);
    a.mov(eax, ARGUMENT);
    a.call('fibonacci');
    a.pop(ecx);
    a.add(ebx, eax);
    a.dec(ecx);
    a.jnz('again');
    a.mov(eax, ebx);
    a.ret();

    // EAX = its Fibonacci number. ECX changes.
    a.label('fibonacci');
    a.cmp(eax, 2);
    a.jb('small');
    a.push(eax);
    a.dec(eax);
    a.call('fibonacci');
    a.pop(ecx);
    a.push(eax);
    a.lea(eax, mem(ecx, -2));
    a.call('fibonacci');
    a.pop(ecx);
    a.add(eax, ecx);
    a.label('small');
    a.ret();
  },
  model: () => (units) => {
    let [now, next] = [0, 1];
    for (let n = 0; n < ARGUMENT; n++) [now, next] = [next, now + next];
    return (now * units) >>> 0;
  },
};
