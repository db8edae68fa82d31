import { address, ax, ds, eax, ecx, edx, es, esp, mem16, mem32 } from '../../src/guest/assembler.ts';
import { emitGate, LAYOUT, SELECTOR } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

const CALL = 0x80;
const BACK = 0x81;
/** Of a 32-bit TSS (SDM vol. 3A figure 7-2). */
const TSS = { ESP0: 4, SS0: 8, IO_MAP: 0x66 } as const;
const KERNEL_STACK = 0x7_0000;

/** INT from CPL 3 to CPL 0 and IRET back: a system call of old. */
export const systemCalls: BenchProgram = {
  name: 'int-iret-cpl3',
  unit: 'system calls',
  iterations: 400_000,
  setUp(a) {
    emitGate(a, CALL, 'handler', 3);
    emitGate(a, BACK, 'back', 3);
    a.mov(mem32(LAYOUT.TSS + TSS.ESP0), KERNEL_STACK);
    a.mov(mem32(LAYOUT.TSS + TSS.SS0), SELECTOR.DATA);
    a.mov(mem16(LAYOUT.TSS + TSS.IO_MAP), 0xffff);
    a.mov(ax, SELECTOR.TSS);
    a.ltr(ax);
  },
  emit(a) {
    a.label('work');
    a.mov(mem32(address('kernel-stack')), esp);
    a.mov(eax, SELECTOR.USER_DATA);
    a.mov(ds, eax);
    a.mov(es, eax);
    a.push(SELECTOR.USER_DATA);
    a.push(LAYOUT.USER_STACK_TOP);
    a.push(2);
    a.push(SELECTOR.USER_CODE);
    a.push(address('user'));
    a.iretd();
    a.label('user');
    a.xor(eax, eax);
    a.label('call');
    a.int(CALL);
    a.dec(ecx);
    a.jnz('call');
    a.int(BACK);

    a.label('handler');
    a.inc(eax);
    a.iretd();

    a.label('back');
    a.mov(edx, SELECTOR.DATA);
    a.mov(ds, edx);
    a.mov(es, edx);
    a.mov(esp, mem32(address('kernel-stack')));
    a.ret();
    a.align(4096);
    a.label('kernel-stack');
    a.data32(0);
  },
  model: () => (units) => units,
};
