import { type Assembler, address, eax, ebx, ecx, edx, esi, mem8, mem32 } from '../../src/guest/assembler.ts';
import type { BenchProgram } from '../program.ts';

/** What a bytecode does to the two registers of its machine, in guest code and in JavaScript. */
interface Operation {
  emit(a: Assembler): void;
  apply(state: { x: number; y: number }): void;
}

const OPERATIONS: readonly Operation[] = [
  { emit: (a) => a.add(eax, ebx), apply: (s) => (s.x += s.y) },
  { emit: (a) => a.xor(eax, ebx), apply: (s) => (s.x ^= s.y) },
  { emit: (a) => a.imul(ebx, ebx, 5), apply: (s) => (s.y = Math.imul(s.y, 5)) },
  { emit: (a) => a.rol(eax, 7), apply: (s) => (s.x = (s.x << 7) | (s.x >>> 25)) },
  { emit: (a) => a.not(eax), apply: (s) => (s.x = ~s.x) },
  { emit: (a) => a.add(ebx, 13), apply: (s) => (s.y += 13) },
];
const LOOP = OPERATIONS.length;
const CODE = [2, 0, 3, 1, 5, 0, 4, 3, 2, 1, 0, 5, 3];

/** A bytecode interpreter with threaded dispatch: an indirect jump every four instructions. */
export const bytecode: BenchProgram = {
  name: 'bytecode',
  unit: 'rounds of 14 bytecodes',
  iterations: 1_200_000,
  emit(a) {
    const dispatch = (): void => {
      a.movzx(edx, mem8(esi));
      a.inc(esi);
      a.jmp(mem32(address('operations'), 0, { index: edx, scale: 4 }));
    };
    a.label('work');
    a.xor(eax, eax);
    a.mov(ebx, 1);
    a.mov(esi, address('code'));
    dispatch();
    OPERATIONS.forEach((operation, number) => {
      a.label(`operation-${number}`);
      operation.emit(a);
      dispatch();
    });
    a.label(`operation-${LOOP}`);
    a.mov(esi, address('code'));
    a.dec(ecx);
    a.jz('done');
    dispatch();
    a.label('done');
    a.ret();
    a.align(4096);
    a.label('operations');
    for (let number = 0; number <= LOOP; number++) a.data32(address(`operation-${number}`));
    a.label('code');
    a.data8(...CODE, LOOP);
  },
  model: () => (units) => {
    const state = { x: 0, y: 1 };
    for (let n = 0; n < units; n++) {
      for (const operation of CODE) {
        OPERATIONS[operation].apply(state);
        state.x |= 0;
        state.y |= 0;
      }
    }
    return state.x >>> 0;
  },
};
