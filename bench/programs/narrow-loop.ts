import { ah, al, ax, bl, bx, cl, dl, dx, eax, ebx, ecx, edi, edx } from '../../src/guest/assembler.ts';
import type { BenchProgram } from '../program.ts';

/** Arithmetic on 8- and 16-bit registers, high bytes among them. */
export const narrowLoop: BenchProgram = {
  name: 'narrow-loop',
  unit: 'rounds',
  iterations: 8_000_000,
  emit(a) {
    a.label('work');
    a.mov(edi, ecx);
    a.mov(eax, 1);
    a.xor(ebx, ebx);
    a.xor(ecx, ecx);
    a.xor(edx, edx);
    a.label('round');
    a.add(al, 37);
    a.add(ah, al);
    a.xor(bl, ah);
    a.add(dx, ax);
    a.rol(dx, 3);
    a.sub(bx, dx);
    a.movzx(ecx, dl);
    a.add(cl, bl);
    a.xor(al, cl);
    a.dec(edi);
    a.jnz('round');
    a.shl(edx, 16);
    a.mov(dx, bx);
    a.xor(eax, edx);
    a.ret();
  },
  model: () => (units) => {
    let [al, ah, bx, dx] = [1, 0, 0, 0];
    for (let n = 0; n < units; n++) {
      al = (al + 37) & 0xff;
      ah = (ah + al) & 0xff;
      bx ^= ah;
      dx = (dx + ((ah << 8) | al)) & 0xffff;
      dx = ((dx << 3) | (dx >> 13)) & 0xffff;
      bx = (bx - dx) & 0xffff;
      al ^= ((dx & 0xff) + (bx & 0xff)) & 0xff;
    }
    return (((ah << 8) | al) ^ ((dx << 16) | bx)) >>> 0;
  },
};
