import { ARITHMETIC } from './arithmetic.ts';
import { BITS } from './bits.ts';
import { CONTROL } from './control.ts';
import type { Form } from './form.ts';
import { MOVES } from './moves.ts';
import { SHIFTS } from './shifts.ts';
import { SIMD } from './simd/index.ts';
import { SYSTEM } from './system.ts';
import { X87 } from './x87-table.ts';

/** The instruction set. A form's index in this list is its number everywhere. */
export const FORMS: readonly Form[] = [
  ...ARITHMETIC,
  ...SHIFTS,
  ...BITS,
  ...MOVES,
  ...CONTROL,
  ...SYSTEM,
  ...X87,
  ...SIMD,
];
