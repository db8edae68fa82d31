import { FSW } from '../control.ts';
import type { Handler } from './handler.ts';

export const initialize: Handler = (fpu) => fpu.initialize();

/** FNCLEX: exception flags, SF, ES and B; C0-C3 stay (SDM vol. 2A "FCLEX"). */
export const clearExceptions: Handler = (fpu) => {
  fpu.status = fpu.status & (FSW.TOP | FSW.C0 | FSW.C1 | FSW.C2 | FSW.C3);
};

export const storeControl: Handler = (fpu, core) => {
  fpu.operandView.setUint16(0, fpu.control, true);
  core.writeOperand(2);
};

/** FLDCW may unmask an exception that is already flagged; then it is pending from here on. */
export const loadControl: Handler = (fpu) => {
  fpu.control = fpu.operandView.getUint16(0, true);
};

export const storeStatus: Handler = (fpu, core) => {
  fpu.operandView.setUint16(0, fpu.status, true);
  core.writeOperand(2);
};

export const storeStatusToAx: Handler = (fpu, core) => core.writeAx(fpu.status);

/** FINCSTP and FDECSTP turn the stack; tags and contents stay. */
export const rotateStack = (step: 1 | -1): Handler => {
  return (fpu) => {
    fpu.top = fpu.top + step;
    fpu.complete(0);
  };
};

/** FFREE; FFREEP (DF C0+i) pops too. */
export const free = (pop: boolean): Handler => {
  return (fpu, _core, register) => {
    fpu.markEmpty(register);
    fpu.complete(0);
    if (pop) fpu.pop();
  };
};

/** FNOP, FWAIT, and FENI, FDISI and FSETPM, which are FNOPs since the 387 (SDM vol. 3B 23.18.7). */
export const nothing: Handler = () => undefined;
