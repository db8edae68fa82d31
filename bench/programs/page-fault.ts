import { VECTOR } from '../../src/arch/exceptions.ts';
import { cr2, eax, ebx, ecx, edx, esp, mem, mem32 } from '../../src/guest/assembler.ts';
import { emitGate } from '../frame.ts';
import { ENTRY, emitIdentityPaging, entryOf } from '../paging.ts';
import type { BenchProgram } from '../program.ts';

const LINEAR = 8 << 20;
const VALUE = 7;

/** A page that is not there: fault, the handler maps it, the access is repeated, unmap, INVLPG. */
export const pageFault: BenchProgram = {
  name: 'page-fault',
  unit: 'faults, one INVLPG each',
  iterations: 200_000,
  setUp(a) {
    emitGate(a, VECTOR.PF, 'fault');
    emitIdentityPaging(a, 16 << 20);
    a.mov(mem32(LINEAR), VALUE);
    a.and(mem32(entryOf(LINEAR)), ~ENTRY.P);
    a.invlpg(mem(LINEAR));
  },
  emit(a) {
    a.label('work');
    a.xor(eax, eax);
    a.mov(ebx, LINEAR);
    a.label('touch');
    a.add(eax, mem32(ebx));
    a.and(mem32(entryOf(LINEAR)), ~ENTRY.P);
    a.invlpg(mem(ebx));
    a.dec(ecx);
    a.jnz('touch');
    a.ret();
    a.label('fault');
    a.add(esp, 4);
    a.mov(edx, cr2);
    a.shr(edx, 12);
    a.or(mem32(entryOf(0), 0, { index: edx, scale: 4 }), ENTRY.P);
    a.iretd();
  },
  model: () => (units) => units * VALUE,
};
