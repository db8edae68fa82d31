import { FSW } from '../control.ts';
import { DENORMAL_OPERAND_SHIFT } from '../softfloat/operands.ts';
import { CONDITIONS_KEPT } from '../softfloat/remainder.ts';
import type { X87 } from '../state.ts';
import { type Handler, splitFaulted, underflowInto } from './handler.ts';

type Operation = 'add' | 'sub' | 'mul' | 'div';
/** How a memory operand of arithmetic becomes an extended number: exactly. */
export type Widening = 'widenF32' | 'widenF64' | 'fromI16' | 'fromI32';

/** Reversed: the source is the minuend or dividend, as in FSUBR and FDIVR. */
function operate(
  fpu: X87,
  operation: Operation,
  target: number,
  source: number,
  reversed: boolean,
  control: number,
): number {
  return reversed
    ? fpu.soft[operation](target, source, target, control)
    : fpu.soft[operation](target, target, source, control);
}

/** ST(0) with ST(i) into ST(0). */
export const toTop = (operation: Operation, reversed = false): Handler => {
  return (fpu, _core, register) => {
    if (fpu.isEmpty(0) || fpu.isEmpty(register)) return underflowInto(fpu, 0);
    fpu.complete(operate(fpu, operation, fpu.st(0), fpu.st(register), reversed, fpu.control));
  };
};

/** ST(i) with ST(0) into ST(i), then perhaps a pop. */
export const toRegister = (operation: Operation, reversed = false, pop = false): Handler => {
  return (fpu, _core, register) => {
    if (fpu.isEmpty(0) || fpu.isEmpty(register)) return underflowInto(fpu, register, pop);
    const flags = operate(fpu, operation, fpu.st(register), fpu.st(0), reversed, fpu.control);
    fpu.complete(flags);
    if (pop && !fpu.stopped(flags)) fpu.pop();
  };
};

/** ST(0) with a memory operand into ST(0). */
export const withMemory = (operation: Operation, widening: Widening, reversed = false): Handler => {
  return (fpu) => {
    if (fpu.isEmpty(0)) return underflowInto(fpu, 0);
    const source = fpu.temporary(0);
    const control = fpu.control | (fpu.soft[widening](source, fpu.operand, 0) << DENORMAL_OPERAND_SHIFT);
    fpu.complete(operate(fpu, operation, fpu.st(0), source, reversed, control));
  };
};

/** ST(0) alone into ST(0): FSQRT, FRNDINT. */
export const unary = (operation: 'sqrt' | 'roundToInteger'): Handler => {
  return (fpu) => {
    if (fpu.isEmpty(0)) return underflowInto(fpu, 0);
    const top = fpu.st(0);
    fpu.complete(fpu.soft[operation](top, top, fpu.control));
  };
};

export const fscale: Handler = (fpu) => {
  if (fpu.isEmpty(0) || fpu.isEmpty(1)) return underflowInto(fpu, 0);
  fpu.complete(fpu.soft.scale(fpu.st(0), fpu.st(0), fpu.st(1), fpu.control));
};

export const partialRemainder = (operation: 'remainder' | 'remainderNearest'): Handler => {
  return (fpu) => {
    if (fpu.isEmpty(0) || fpu.isEmpty(1)) {
      fpu.setConditions(0, FSW.C2);
      return underflowInto(fpu, 0);
    }
    const flags = fpu.soft[operation](fpu.st(0), fpu.st(0), fpu.st(1), fpu.control);
    fpu.setConditions(flags, flags & CONDITIONS_KEPT ? FSW.C2 : FSW.C0 | FSW.C2 | FSW.C3);
    fpu.complete(flags & ~CONDITIONS_KEPT);
  };
};

export const fxtract: Handler = (fpu) => {
  if (splitFaulted(fpu)) return;
  const flags = fpu.soft.extract(fpu.st(0), fpu.st(7), fpu.st(0), fpu.control);
  fpu.complete(flags);
  if (!fpu.stopped(flags)) fpu.push();
};

/** FABS and FCHS look at no encoding and raise nothing but stack faults. */
export const changeSign = (change: (signExponent: number) => number): Handler => {
  return (fpu) => {
    if (fpu.isEmpty(0)) return underflowInto(fpu, 0);
    fpu.setSignExponent(fpu.st(0), change(fpu.signExponent(fpu.st(0))));
    fpu.complete(0);
  };
};
