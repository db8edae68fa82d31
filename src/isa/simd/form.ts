import { type Form, type FormOptions, form } from '../form.ts';
import type { SimdSemantics, SimdUnit } from './builder.ts';

export interface SimdOptions extends FormOptions {
  readonly unaligned?: true;
  /** Where the operands do not tell it. */
  readonly unit?: SimdUnit;
}

const MMX_OPERANDS = /[PQN][bwdq]/;
const SSE_OPERANDS = /[VWU][bwdq]/;

function unitOf(operands: string): SimdUnit {
  const mmx = MMX_OPERANDS.test(operands);
  if (SSE_OPERANDS.test(operands)) return mmx ? 'both' : 'sse';
  return mmx ? 'mmx' : 'none';
}

/**
 * A SIMD line of the instruction table. Without a mandatory prefix in `encoding` the form takes none: 66, F2 and F3
 * name other instructions or nothing (SDM vol. 2D A.2.1).
 */
export function simd(
  name: string,
  encoding: string,
  operands: string,
  emit: SimdSemantics,
  options: SimdOptions,
): Form {
  const { unaligned = false, unit = unitOf(operands), ...rest } = options;
  const code = { emit, unit, unaligned };
  return form(
    name,
    encoding,
    operands,
    code,
    encoding.startsWith('0F') ? { ...rest, opcodePrefix: 'none' } : rest,
  );
}
