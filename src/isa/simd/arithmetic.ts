import type { FloatArithmetic } from '../../wasm/float.ts';
import { V128 } from '../../wasm/vector.ts';
import type { Form } from '../form.ts';
import type { SimdBuilder, SimdOperand, SimdSemantics } from './builder.ts';
import { simd } from './form.ts';
import { isDelicate, isDenormal, type LaneBits, type Lanes, PackedLanes, SingleLane } from './lanes.ts';
import { ESTIMATE } from './soft/estimate.ts';

/** Semantics of one lane or of many. */
export type LaneSemantics = <Value>(
  op: SimdBuilder,
  lanes: Lanes<Value>,
  x: Value,
  y: Value,
  extra?: SimdOperand,
) => Value;

/** All lanes of an XMM register with those of a register or memory. */
export const packed =
  (bits: LaneBits, semantics: LaneSemantics): SimdSemantics =>
  (op, to, from, extra) => {
    const y = op.letVector(from.vector());
    const x = op.letVector(to.vector());
    to.setVector(semantics(op, new PackedLanes(op, bits), x, y, extra));
  };

/** The low lane alone; the others stay. */
export const scalar =
  (bits: LaneBits, semantics: LaneSemantics): SimdSemantics =>
  (op, to, from, extra) => {
    const y = op.let(from.read());
    const x = op.let(to.read());
    to.write(semantics(op, new SingleLane(op, bits), x, y, extra));
  };

/** The four variants of an operation: packed and scalar, single and double (SDM vol. 2D table A-3). */
export const fourfold = (name: string, opcode: string, semantics: LaneSemantics, immediate = ''): Form[] => [
  simd(`${name}PS`, `0F ${opcode} /r`, `Vdq,Wdq${immediate}`, packed(32, semantics), { feature: 'sse' }),
  simd(`${name}SS`, `F3 0F ${opcode} /r`, `Vd,Wd${immediate}`, scalar(32, semantics), { feature: 'sse' }),
  simd(`${name}PD`, `66 0F ${opcode} /r`, `Vdq,Wdq${immediate}`, packed(64, semantics), { feature: 'sse2' }),
  simd(`${name}SD`, `F2 0F ${opcode} /r`, `Vq,Wq${immediate}`, scalar(64, semantics), { feature: 'sse2' }),
];

/**
 * Mask of results that WebAssembly's arithmetic does not settle: NaNs and infinities, and everything so small that it
 * could be an underflow, the smallest normal numbers included because rounding may have led there.
 */
const isDelicateResult = <Value>(lanes: Lanes<Value>, magnitude: Value): Value => {
  const { smallestNormal, infinity } = lanes.bounds;
  return lanes.outside(magnitude, 2n * smallestNormal, infinity);
};

/** Which zeros among the results are exact, by the magnitudes of result and operands. */
type ExactZeros = <Value>(lanes: Lanes<Value>, result: Value, x: Value, y: Value) => Value;

/** A sum is zero only if it is so exactly. */
const ofSum: ExactZeros = (lanes, result) => lanes.isZero(result);
const ofProduct: ExactZeros = (lanes, result, x, y) =>
  lanes.and(lanes.isZero(result), lanes.or(lanes.isZero(x), lanes.isZero(y)));
const ofQuotient: ExactZeros = (lanes, result, x) => lanes.and(lanes.isZero(result), lanes.isZero(x));

const arithmetic =
  (operation: FloatArithmetic, exactZeros: ExactZeros): LaneSemantics =>
  (op, lanes, x, y) => {
    const result = lanes.keep(lanes.operate(operation, x, y));
    const [xSize, ySize] = [lanes.keep(lanes.magnitude(x)), lanes.keep(lanes.magnitude(y))];
    const size = lanes.keep(lanes.magnitude(result));
    const delicate = lanes.or(
      lanes.or(isDenormal(lanes, xSize), isDenormal(lanes, ySize)),
      lanes.without(isDelicateResult(lanes, size), exactZeros(lanes, size, xSize, ySize)),
    );
    return lanes.select(op.roundsQuietly().and(lanes.none(delicate)), result, operation, x, y);
  };

/** A positive normal number or a zero: its root is a normal number or that zero. */
const squareRoot: LaneSemantics = (op, lanes, x, y) => {
  const { smallestNormal, infinity } = lanes.bounds;
  const delicate = lanes.without(
    lanes.outside(y, smallestNormal, infinity),
    lanes.isZero(lanes.magnitude(y)),
  );
  return lanes.select(op.roundsQuietly().and(lanes.none(delicate)), lanes.sqrt(y), 'sqrt', x, y);
};

/** Nothing is rounded; only NaNs and denormals raise or, under DAZ, change something. */
const choice =
  (operation: 'min' | 'max'): LaneSemantics =>
  (_op, lanes, x, y) => {
    const delicate = lanes.or(
      isDelicate(lanes, lanes.keep(lanes.magnitude(x))),
      isDelicate(lanes, lanes.keep(lanes.magnitude(y))),
    );
    return lanes.select(lanes.none(delicate), lanes.choose(operation, x, y), operation, x, y);
  };

const logic =
  (operation: 'v128.and' | 'v128.or' | 'v128.xor'): SimdSemantics =>
  (op, to, from) => {
    const y = op.letVector(from.vector());
    to.setVector(to.vector().with(operation, y));
  };

const andNot: SimdSemantics = (op, to, from) => {
  const y = op.letVector(from.vector());
  to.setVector(y.with('v128.andnot', to.vector()));
};

const bothFormats = (name: string, opcode: string, semantics: SimdSemantics): Form[] => [
  simd(`${name}PS`, `0F ${opcode} /r`, 'Vdq,Wdq', semantics, { feature: 'sse' }),
  simd(`${name}PD`, `66 0F ${opcode} /r`, 'Vdq,Wdq', semantics, { feature: 'sse2' }),
];

/** Numbers whose low fraction bits are ignored and given as zeros; see `soft/estimate.ts`, which does the same. */
const estimate =
  (operation: 'reciprocal' | 'reciprocalRoot', high: bigint): SimdSemantics =>
  (op, to, from) => {
    const lanes = new PackedLanes(op, 32);
    const y = op.letVector(from.vector());
    const ignored = V128.splatConstant(32, BigInt(ESTIMATE.IGNORED));
    const half = V128.splatConstant(32, BigInt(ESTIMATE.MIDDLE));
    const cut = (value: V128): V128 => value.with('v128.andnot', ignored);
    const middle = cut(y).with('v128.or', half);
    const one = V128.splatConstant(32, 0x3f80_0000n);
    const exact = lanes.operate('div', one, operation === 'reciprocal' ? middle : lanes.sqrt(middle));
    const result = cut(exact.with('i32x4.add', half));
    const tested = operation === 'reciprocal' ? lanes.magnitude(y) : y;
    const plain = lanes.none(lanes.outside(tested, lanes.bounds.smallestNormal, high));
    to.setVector(op.chooseVector(plain, result, `${operation}.ps`, y, y));
  };

/** Single-lane estimates are rare: no short cut. */
const scalarEstimate =
  (operation: 'reciprocal' | 'reciprocalRoot'): SimdSemantics =>
  (op, to, from) => {
    const y = op.let(from.read());
    to.write(op.softScalar(`${operation}.ss`, 32, y, y));
  };

/** 2^125: reciprocals of larger numbers may be denormal. */
const RECIPROCAL_LIMIT = 0x7e00_0000n;
const INFINITY = 0x7f80_0000n;
const SSE = { feature: 'sse' } as const;

// biome-ignore format: table
export const SIMD_ARITHMETIC: readonly Form[] = [
  ...fourfold('SQRT', '51', squareRoot),
  ...fourfold('ADD',  '58', arithmetic('add', ofSum)),
  ...fourfold('MUL',  '59', arithmetic('mul', ofProduct)),
  ...fourfold('SUB',  '5C', arithmetic('sub', ofSum)),
  ...fourfold('MIN',  '5D', choice('min')),
  ...fourfold('DIV',  '5E', arithmetic('div', ofQuotient)),
  ...fourfold('MAX',  '5F', choice('max')),
  ...bothFormats('AND',  '54', logic('v128.and')),
  ...bothFormats('ANDN', '55', andNot),
  ...bothFormats('OR',   '56', logic('v128.or')),
  ...bothFormats('XOR',  '57', logic('v128.xor')),
  simd('RSQRTPS', '0F 52 /r',    'Vdq,Wdq', estimate('reciprocalRoot', INFINITY), SSE),
  simd('RSQRTSS', 'F3 0F 52 /r', 'Vd,Wd',   scalarEstimate('reciprocalRoot'), SSE),
  simd('RCPPS',   '0F 53 /r',    'Vdq,Wdq', estimate('reciprocal', RECIPROCAL_LIMIT), SSE),
  simd('RCPSS',   'F3 0F 53 /r', 'Vd,Wd',   scalarEstimate('reciprocal'), SSE),
];
