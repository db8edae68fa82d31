import { address, eax, ecx, mem32 } from '../../src/guest/assembler.ts';
import type { BenchProgram } from '../program.ts';

/** Changes the immediate operand of an instruction and runs it, every time. */
export const selfModifying: BenchProgram = {
  name: 'self-modifying',
  unit: 'changes',
  iterations: 100_000,
  emit(a) {
    a.label('work');
    a.xor(eax, eax);
    a.label('again');
    // ADD EAX, imm32 is one byte of opcode and the operand.
    a.mov(mem32(address('changed', 1)), ecx);
    a.call('changed');
    a.dec(ecx);
    a.jnz('again');
    a.ret();
    a.align(64, 0xcc);
    a.label('changed');
    a.raw(0x05);
    a.data32(0);
    a.ret();
  },
  model: () => (units) => ((units * (units + 1)) / 2) % 2 ** 32,
};
