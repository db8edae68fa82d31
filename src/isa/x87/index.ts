export { type OperandPiece, operandAccess, type X87Core, type X87Model } from './core.ts';
export { executeX87, type X87Form } from './form.ts';
export { X87_FORMS } from './forms.ts';
export { fxrstor, fxsave } from './instructions/environment.ts';
export { X87_LAYOUT } from './layout.ts';
export { emitSoftFloat, exportSoftFloat, softFloatOf } from './softfloat/softfloat.ts';
export { X87 } from './state.ts';
