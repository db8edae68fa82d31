import type { Form } from '../form.ts';
import { SIMD_ARITHMETIC } from './arithmetic.ts';
import { SIMD_COMPARE } from './compare.ts';
import { SIMD_CONTROL } from './control.ts';
import { SIMD_CONVERT } from './convert.ts';
import { SIMD_INTEGER } from './integer.ts';
import { SIMD_MOVES } from './moves.ts';
import { SIMD_SHIFTS } from './shifts.ts';
import { SIMD_SHUFFLES } from './shuffles.ts';

export type { SimdBuilder, SimdCode, SimdOperand, SimdUnit } from './builder.ts';
export { MXCSR_MASK } from './control.ts';
export type { ScalarName, VectorName } from './soft/names.ts';
export { emitSoftOperations, type SoftOperations } from './soft/operations.ts';

/** MMX, SSE and SSE2 as lines of the instruction table. */
export const SIMD: readonly Form[] = [
  ...SIMD_MOVES,
  ...SIMD_INTEGER,
  ...SIMD_SHIFTS,
  ...SIMD_SHUFFLES,
  ...SIMD_ARITHMETIC,
  ...SIMD_COMPARE,
  ...SIMD_CONVERT,
  ...SIMD_CONTROL,
];
