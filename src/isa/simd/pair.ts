import type { Form } from '../form.ts';
import type { SimdSemantics } from './builder.ts';
import { simd } from './form.ts';

/** Semantics for either register width. */
export type WidthSemantics = (bits: 64 | 128) => SimdSemantics;

/**
 * The two encodings of most integer operations: on MMX registers without a prefix, on XMM registers with 66. `feature`
 * is what the MMX form came with; the other came with SSE2.
 */
export function pair(
  name: string,
  opcode: string,
  make: WidthSemantics,
  feature: 'mmx' | 'sse' | 'sse2' = 'mmx',
  mmxSource = 'Qq',
): Form[] {
  return [
    simd(name, `0F ${opcode} /r`, `Pq,${mmxSource}`, make(64), { feature }),
    simd(name, `66 0F ${opcode} /r`, 'Vdq,Wdq', make(128), { feature: 'sse2' }),
  ];
}

/** The same with an immediate operand and a ModRM digit, for registers only. */
export const shiftPair = (name: string, opcode: string, digit: number, make: WidthSemantics): Form[] => [
  simd(name, `0F ${opcode} /${digit}`, 'Nq,Ib', make(64), { feature: 'mmx' }),
  simd(name, `66 0F ${opcode} /${digit}`, 'Udq,Ib', make(128), { feature: 'sse2' }),
];
