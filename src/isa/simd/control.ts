import { type Form, form } from '../form.ts';
import type { SimdSemantics } from './builder.ts';
import { simd } from './form.ts';

/** Bits of MXCSR that may be set (SDM vol. 1 10.2.3); processors with SSE here have DAZ, none has AMD's bit 17. */
export const MXCSR_MASK = 0xffff;

const loadControl: SimdSemantics = (op, from) => {
  const value = op.let(from.read());
  op.if(value.and(~MXCSR_MASK), () => op.generalProtection());
  op.setControl(value);
};

const storeControl: SimdSemantics = (op, to) => to.write(op.control());

// biome-ignore format: table
export const SIMD_CONTROL: readonly Form[] = [
  simd('LDMXCSR', '0F AE /2', 'Md', loadControl, { feature: 'sse', unit: 'sse' }),
  simd('STMXCSR', '0F AE /3', 'Md', storeControl, { feature: 'sse', unit: 'sse' }),
  simd('EMMS',    '0F 77',    '',   (op) => op.emptyRegisters(), { feature: 'mmx', unit: 'mmx' }),
  // A hint, except that SVM can intercept it; on processors before SSE2 it is NOP with a prefix.
  form('PAUSE',   'F3 90',    '',   'pause'),
];
