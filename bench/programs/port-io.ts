import { al, eax, ebx, ecx, edx, mem } from '../../src/guest/assembler.ts';
import type { BenchProgram } from '../program.ts';

/** The first interrupt controller's mask (8259A data sheet, OCW1): it reads back what was written. */
const MASK_PORT = 0x21;
/** Always masked: what waits for an interrupt flag that stays clear is another matter. */
const TIMER = 1;

/** OUT and IN of a device's register. */
export const portIo: BenchProgram = {
  name: 'port-io',
  unit: 'OUT and IN',
  iterations: 400_000,
  emit(a) {
    a.label('work');
    a.xor(ebx, ebx);
    a.label('access');
    a.mov(eax, ecx);
    a.or(eax, TIMER);
    a.out(MASK_PORT, al);
    a.xor(eax, eax);
    a.in(al, MASK_PORT);
    a.movzx(edx, al);
    a.lea(ebx, mem(ebx, 0, { index: edx }));
    a.dec(ecx);
    a.jnz('access');
    a.mov(eax, ebx);
    a.ret();
  },
  model: () => (units) => {
    let sum = 0;
    for (let n = units; n > 0; n--) sum += (n | TIMER) & 0xff;
    return sum >>> 0;
  },
};
