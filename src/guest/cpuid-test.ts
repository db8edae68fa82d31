import { EFLAGS } from '../arch/registers.ts';
import { type Assembler, eax, ecx } from './assembler.ts';

/**
 * Emits the test for CPUID: EFLAGS.ID can be changed where there is one (SDM vol. 1 3.4.3.3). Uses EAX, ECX, the stack.
 * @param otherwise label of the code for processors without
 */
export function emitCpuidTest(a: Assembler, otherwise: string): void {
  a.pushfd();
  a.pop(eax);
  a.mov(ecx, eax);
  a.xor(eax, EFLAGS.ID);
  a.push(eax);
  a.popfd();
  a.pushfd();
  a.pop(eax);
  a.xor(eax, ecx);
  a.test(eax, EFLAGS.ID);
  a.jz(otherwise);
}
