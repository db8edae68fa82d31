import { eax, ecx } from '../../src/guest/assembler.ts';
import { emitGate } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

const VECTOR = 0x80;

/** INT and IRET without a change of privilege. */
export const interrupts: BenchProgram = {
  name: 'int-iret',
  unit: 'interrupts',
  iterations: 1_000_000,
  setUp: (a) => emitGate(a, VECTOR, 'handler'),
  emit(a) {
    a.label('work');
    a.xor(eax, eax);
    a.label('call');
    a.int(VECTOR);
    a.dec(ecx);
    a.jnz('call');
    a.ret();
    a.label('handler');
    a.inc(eax);
    a.iretd();
  },
  model: () => (units) => units,
};
