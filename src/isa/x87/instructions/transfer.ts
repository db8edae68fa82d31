import { FSW } from '../control.ts';
import type { X87 } from '../state.ts';
import { type Handler, overflowed, underflowInto } from './handler.ts';

/** FLD of a single or double. */
export const loadFloat = (conversion: 'fromF32' | 'fromF64'): Handler => {
  return (fpu) => {
    if (overflowed(fpu)) return;
    const flags = fpu.soft[conversion](fpu.st(7), fpu.operand, fpu.control, fpu.temporary(0));
    fpu.complete(flags);
    if (!fpu.stopped(flags, FSW.IE)) fpu.push();
  };
};

/** FILD and FBLD: always exact. */
export const loadInteger = (conversion: 'fromI16' | 'fromI32' | 'fromI64' | 'fromDecimal'): Handler => {
  return (fpu) => {
    if (overflowed(fpu)) return;
    fpu.soft[conversion](fpu.st(7), fpu.operand, 0);
    fpu.complete(0);
    fpu.push();
  };
};

/** FLD m80: any bit pattern as it is. */
export const loadExtended: Handler = (fpu) => {
  if (overflowed(fpu)) return;
  fpu.copySlot(fpu.st(7), fpu.operand);
  fpu.complete(0);
  fpu.push();
};

/** FLD ST(i). */
export const loadRegister: Handler = (fpu, _core, register) => {
  if (fpu.isEmpty(register)) {
    if (!fpu.underflow()) return;
    fpu.push();
    fpu.setIndefinite(fpu.st(0));
    return;
  }
  if (overflowed(fpu)) return;
  fpu.copySlot(fpu.st(7), fpu.st(register));
  fpu.complete(0);
  fpu.push();
};

type Store = 'toF32' | 'toF64' | 'toI16' | 'toI32' | 'toI64' | 'toDecimal';

/** Exceptions that, unmasked, keep a store to memory and its pop from happening (SDM vol. 1 8.5.4, 8.5.5). */
const KEEPS_MEMORY = FSW.IE | FSW.OE | FSW.UE;

/** FST, FIST, FBSTP to memory; `rounding` overrides the control word's (FISTTP). */
export const storeMemory = (conversion: Store, bytes: number, pop: boolean, rounding = 0): Handler => {
  return (fpu, core) => {
    let source = fpu.st(0);
    let flags = 0;
    if (fpu.isEmpty(0)) {
      if (!fpu.underflow()) return;
      source = fpu.temporary(0);
      fpu.setIndefinite(source);
      fpu.soft[conversion](fpu.operand, source, fpu.control);
    } else {
      flags = fpu.soft[conversion](fpu.operand, source, fpu.control | rounding);
      fpu.complete(flags);
      if (fpu.stopped(flags, KEEPS_MEMORY)) return;
    }
    core.writeOperand(bytes);
    if (pop) fpu.pop();
  };
};

/** FSTP m80: any bit pattern as it is. */
export const storeExtended: Handler = (fpu, core) => {
  if (fpu.isEmpty(0)) {
    if (!fpu.underflow()) return;
    fpu.setIndefinite(fpu.operand);
  } else {
    fpu.complete(0);
    fpu.copySlot(fpu.operand, fpu.st(0));
  }
  core.writeOperand(10);
  fpu.pop();
};

/** FST and FSTP to a register. */
export const storeRegister = (pop: boolean): Handler => {
  return (fpu, _core, register) => {
    if (fpu.isEmpty(0)) return underflowInto(fpu, register, pop);
    fpu.complete(0);
    fpu.copySlot(fpu.st(register), fpu.st(0));
    fpu.markValid(register);
    if (pop) fpu.pop();
  };
};

/** FSTP1 (D9 D8+i): like FSTP, but an empty ST(0) is popped without a stack fault or a copy. */
export const storeRegisterQuietly: Handler = (fpu, _core, register) => {
  fpu.complete(0);
  if (!fpu.isEmpty(0)) {
    fpu.copySlot(fpu.st(register), fpu.st(0));
    fpu.markValid(register);
  }
  fpu.pop();
};

export const exchange: Handler = (fpu, _core, register) => {
  if (fpu.isEmpty(0) || fpu.isEmpty(register)) {
    if (!fpu.underflow()) return;
    fillIfEmpty(fpu, 0);
    fillIfEmpty(fpu, register);
  } else {
    fpu.complete(0);
  }
  const [top, other, spare] = [fpu.st(0), fpu.st(register), fpu.temporary(0)];
  fpu.copySlot(spare, top);
  fpu.copySlot(top, other);
  fpu.copySlot(other, spare);
};

function fillIfEmpty(fpu: X87, register: number): void {
  if (!fpu.isEmpty(register)) return;
  fpu.setIndefinite(fpu.st(register));
  fpu.markValid(register);
}

/** FCMOVcc: moves if any of the EFLAGS bits in `mask` is set, or, inverted, if none is. */
export const conditionalMove = (mask: number, inverted: boolean): Handler => {
  return (fpu, core, register) => {
    if (fpu.isEmpty(0) || fpu.isEmpty(register)) return underflowInto(fpu, 0);
    if (((core.readFlags() & mask) !== 0) !== inverted) fpu.copySlot(fpu.st(0), fpu.st(register));
  };
};
