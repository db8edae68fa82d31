import { eax, ebx, ecx, edx, es, fs, gs } from '../../src/guest/assembler.ts';
import { SELECTOR } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

/** Loads of segment registers by MOV and POP, as at every entry of a 32-bit kernel. */
export const segmentLoads: BenchProgram = {
  name: 'segment-loads',
  unit: 'rounds of 4 loads',
  iterations: 500_000,
  emit(a) {
    a.label('work');
    a.xor(eax, eax);
    a.mov(ebx, SELECTOR.DATA);
    a.label('round');
    a.mov(es, ebx);
    a.push(es);
    a.pop(fs);
    a.mov(edx, fs);
    a.mov(gs, edx);
    a.push(gs);
    a.pop(es);
    a.mov(edx, es);
    a.add(eax, edx);
    a.dec(ecx);
    a.jnz('round');
    a.ret();
  },
  model: () => (units) => (units * SELECTOR.DATA) >>> 0,
};
