import type { X87Core } from '../core.ts';
import type { X87 } from '../state.ts';

/** What an instruction does once its memory operand was read or probed; `register` is i of ST(i). */
export type Handler = (fpu: X87, core: X87Core, register: number) => void;

/** The response of an operation whose source or destination is empty: the indefinite in ST(target), if masked. */
export function underflowInto(fpu: X87, target: number, pop = false): void {
  if (!fpu.underflow()) return;
  fpu.setIndefinite(fpu.st(target));
  fpu.markValid(target);
  if (pop) fpu.pop();
}

/** True, after the masked response, where a push would overwrite a register in use. */
export function overflowed(fpu: X87): boolean {
  if (fpu.isEmpty(7)) return false;
  if (fpu.overflow()) {
    fpu.push();
    fpu.setIndefinite(fpu.st(0));
  }
  return true;
}
