import { type Assembler, eax, ecx, mem32 } from '../../src/guest/assembler.ts';
import { LAYOUT } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

const NUMBER = LAYOUT.DATA;
const THREE = LAYOUT.DATA + 4;
const SUM = LAYOUT.DATA + 8;

const squareTop = (a: Assembler): void => a.raw(0xd8, 0xc8); // FMUL ST(0), ST(0)
const addAndPop = (a: Assembler): void => a.raw(0xde, 0xc1); // FADDP ST(1), ST(0)

/** x87 arithmetic whose results are whole numbers, so that they can be checked: the sum of sqrt(n * n) * 3 / 3. */
export const x87: BenchProgram = {
  name: 'x87',
  unit: 'rounds',
  iterations: 600_000,
  setUp: (a) => a.mov(mem32(THREE), 3),
  emit(a) {
    a.label('work');
    a.emit('Fldz');
    a.label('round');
    a.mov(mem32(NUMBER), ecx);
    a.emit('Fild', mem32(NUMBER));
    squareTop(a);
    a.emit('Fsqrt');
    a.emit('Fimul', mem32(THREE));
    a.emit('Fidiv', mem32(THREE));
    addAndPop(a);
    a.dec(ecx);
    a.jnz('round');
    a.raw(0xdf, 0x3d); // FISTP m64
    a.data32(SUM);
    a.mov(eax, mem32(SUM));
    a.ret();
  },
  model: () => (units) => ((units * (units + 1)) / 2) % 2 ** 32,
};
