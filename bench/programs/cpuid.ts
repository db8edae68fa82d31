import { eax, ecx, edi, edx, esi } from '../../src/guest/assembler.ts';
import type { BenchProgram } from '../program.ts';

const FEATURES = 1;
/** CPUID Fn0000_0001_EDX[FPU]: every processor here has one. */
const FPU = 1;

/** CPUID, which L0 always intercepts: the cheapest exit there is. */
export const cpuid: BenchProgram = {
  name: 'cpuid',
  unit: 'CPUID',
  iterations: 150_000,
  emit(a) {
    a.label('work');
    a.mov(esi, ecx);
    a.xor(edi, edi);
    a.label('again');
    a.mov(eax, FEATURES);
    a.cpuid();
    a.and(edx, FPU);
    a.add(edi, edx);
    a.dec(esi);
    a.jnz('again');
    a.mov(eax, edi);
    a.ret();
  },
  model: () => (units) => units,
};
