import { Int } from '../../wasm/expression.ts';
import { V128, type VectorShift } from '../../wasm/vector.ts';
import type { Form } from '../form.ts';
import type { SimdBuilder, SimdOperand, SimdSemantics } from './builder.ts';
import { pair, shiftPair, type WidthSemantics } from './pair.ts';

/** The count: all 64 low bits of a register or memory operand matter (SDM vol. 2B "PSLLW"). */
const countOf = (op: SimdBuilder, from: SimdOperand): Int =>
  op.let(from.bits === 8 ? from.read().toI64Unsigned() : from.vector().extract('i64x2', 0));

const laneBits = (operation: VectorShift): number => Number.parseInt(operation.slice(1), 10);

/** Counts beyond the lane give zero. */
const logical =
  (operation: VectorShift): WidthSemantics =>
  () =>
  (op, to, from) => {
    const count = countOf(op, from);
    const shifted = to.vector().shift(operation, count.toI32());
    to.setVector(shifted.select(V128.zero(), count.ltU(laneBits(operation))));
  };

/** Counts beyond the lane fill it with the sign, as a shift by one bit less than the lane does. */
const arithmetic =
  (operation: VectorShift): WidthSemantics =>
  () =>
  (op, to, from) => {
    const last = laneBits(operation) - 1;
    const count = countOf(op, from);
    const limited = count.toI32().select(Int.const32(last), count.leU(last));
    to.setVector(to.vector().shift(operation, limited));
  };

const PLACES = Array.from({ length: 16 }, (_, at) => at);

/** Whole bytes: each comes from `count` places away, and from outside comes zero. */
const bytes =
  (direction: 'left' | 'right'): SimdSemantics =>
  (op, to, from) => {
    const given = op.let(from.read());
    const count = V128.splat('i8x16', given.select(Int.const32(16), given.ltU(16)));
    const operation = direction === 'left' ? 'i8x16.sub' : 'i8x16.add';
    to.setVector(to.vector().with('i8x16.swizzle', V128.constant(PLACES).with(operation, count)));
  };

const byteShift = (name: string, digit: number, direction: 'left' | 'right'): Form =>
  shiftPair(name, '73', digit, () => bytes(direction))[1] as Form;

// biome-ignore format: table
export const SIMD_SHIFTS: readonly Form[] = [
  ...pair('PSLLW', 'F1', logical('i16x8.shl')),
  ...pair('PSLLD', 'F2', logical('i32x4.shl')),
  ...pair('PSLLQ', 'F3', logical('i64x2.shl')),
  ...pair('PSRLW', 'D1', logical('i16x8.shr_u')),
  ...pair('PSRLD', 'D2', logical('i32x4.shr_u')),
  ...pair('PSRLQ', 'D3', logical('i64x2.shr_u')),
  ...pair('PSRAW', 'E1', arithmetic('i16x8.shr_s')),
  ...pair('PSRAD', 'E2', arithmetic('i32x4.shr_s')),
  ...shiftPair('PSLLW', '71', 6, logical('i16x8.shl')),
  ...shiftPair('PSLLD', '72', 6, logical('i32x4.shl')),
  ...shiftPair('PSLLQ', '73', 6, logical('i64x2.shl')),
  ...shiftPair('PSRLW', '71', 2, logical('i16x8.shr_u')),
  ...shiftPair('PSRLD', '72', 2, logical('i32x4.shr_u')),
  ...shiftPair('PSRLQ', '73', 2, logical('i64x2.shr_u')),
  ...shiftPair('PSRAW', '71', 4, arithmetic('i16x8.shr_s')),
  ...shiftPair('PSRAD', '72', 4, arithmetic('i32x4.shr_s')),
  byteShift('PSRLDQ', 3, 'right'),
  byteShift('PSLLDQ', 7, 'left'),
];
