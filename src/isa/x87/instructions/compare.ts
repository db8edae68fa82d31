import { FSW } from '../control.ts';
import { DENORMAL_OPERAND_SHIFT } from '../softfloat/operands.ts';
import type { X87 } from '../state.ts';
import type { Widening } from './arithmetic.ts';
import type { Handler } from './handler.ts';

type Comparison = 'compare' | 'compareQuiet';

const UNORDERED = FSW.C3 | FSW.C2 | FSW.C0;

/**
 * Ends FCOM and its like: the relation in C3, C2, C0, then the pops. Processors report the relation although #IA or
 * #D is unmasked; only the pops then stay away.
 */
function report(fpu: X87, flags: number, pops: number): void {
  fpu.completeWithConditions(flags);
  if (fpu.stopped(flags)) return;
  for (let n = 0; n < pops; n++) fpu.pop();
}

function reportUnderflow(fpu: X87, pops: number): void {
  const masked = fpu.underflow();
  fpu.completeWithConditions(UNORDERED);
  if (!masked) return;
  for (let n = 0; n < pops; n++) fpu.pop();
}

/** FCOM, FUCOM and so on with ST(i). */
export const compareRegister = (comparison: Comparison, pops: number): Handler => {
  return (fpu, _core, register) => {
    if (fpu.isEmpty(0) || fpu.isEmpty(register)) return reportUnderflow(fpu, pops);
    report(fpu, fpu.soft[comparison](fpu.st(0), fpu.st(register), fpu.control), pops);
  };
};

export const compareMemory = (widening: Widening, pops: number): Handler => {
  return (fpu) => {
    if (fpu.isEmpty(0)) return reportUnderflow(fpu, pops);
    const source = fpu.temporary(0);
    const control = fpu.control | (fpu.soft[widening](source, fpu.operand, 0) << DENORMAL_OPERAND_SHIFT);
    report(fpu, fpu.soft.compare(fpu.st(0), source, control), pops);
  };
};

/** FTST: with +0. */
export const test: Handler = (fpu) => {
  if (fpu.isEmpty(0)) return reportUnderflow(fpu, 0);
  const zero = fpu.temporary(0);
  fpu.setSlot(zero, 0, 0, 0);
  report(fpu, fpu.soft.compare(fpu.st(0), zero, fpu.control), 0);
};

/** ZF, PF and CF for C3, C2 and C0 (SDM vol. 1 table 8-6). */
const asEflags = (conditions: number): number =>
  ((conditions & FSW.C3) >> 8) | ((conditions & FSW.C2) >> 8) | ((conditions & FSW.C0) >> 8);

/** FCOMI, FUCOMI and so on: the relation in EFLAGS; C0, C2, C3 and (but for stack faults) C1 stay. */
export const compareToFlags = (comparison: Comparison, pop: boolean): Handler => {
  return (fpu, core, register) => {
    if (fpu.isEmpty(0) || fpu.isEmpty(register)) {
      const masked = fpu.underflow();
      core.writeComparison(asEflags(UNORDERED));
      if (pop && masked) fpu.pop();
      return;
    }
    const flags = fpu.soft[comparison](fpu.st(0), fpu.st(register), fpu.control);
    fpu.join(flags & ~UNORDERED);
    core.writeComparison(asEflags(flags));
    if (pop && !fpu.stopped(flags)) fpu.pop();
  };
};

/** FXAM (SDM vol. 2A table 3-45): never an exception, and the sign even of an empty register. */
export const examine: Handler = (fpu) => {
  const slot = fpu.st(0);
  const sign = (fpu.signExponent(slot) >> 15) & 1;
  fpu.completeWithConditions(classOf(fpu, slot) | (sign ? FSW.C1 : 0));
};

function classOf(fpu: X87, slot: number): number {
  if (fpu.isEmpty(0)) return FSW.C3 | FSW.C0;
  const exponent = fpu.signExponent(slot) & 0x7fff;
  const high = fpu.significandHigh(slot);
  const low = fpu.significandLow(slot);
  if (exponent === 0) return (high | low) === 0 ? FSW.C3 : FSW.C3 | FSW.C2;
  if (high >= 0) return 0;
  if (exponent < 0x7fff) return FSW.C2;
  return ((high << 1) | low) === 0 ? FSW.C2 | FSW.C0 : FSW.C0;
}
