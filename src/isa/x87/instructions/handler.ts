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

/**
 * Stack faults of an instruction that replaces ST(0) and pushes a second result: true, after the masked response
 * (indefinites in both places), where ST(0) is empty or the place of the push is not.
 */
export function splitFaulted(fpu: X87): boolean {
  const empty = fpu.isEmpty(0);
  if (!empty && fpu.isEmpty(7)) return false;
  const masked = empty ? fpu.underflow() : fpu.overflow();
  if (masked) {
    fpu.setIndefinite(fpu.st(0));
    fpu.markValid(0);
    fpu.push();
    fpu.setIndefinite(fpu.st(0));
  }
  return true;
}
