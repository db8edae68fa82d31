import { Int } from '../../wasm/expression.ts';
import { Float } from '../../wasm/float.ts';
import { V128 } from '../../wasm/vector.ts';
import type { Form } from '../form.ts';
import type { SimdSemantics } from './builder.ts';
import { simd } from './form.ts';
import { isDelicate, type LaneBits, PackedLanes, SingleLane } from './lanes.ts';

/** 2^31 as a number of each format: what int32 cannot hold any more. */
const TWO_31: Readonly<Record<LaneBits, bigint>> = { 32: 0x4f00_0000n, 64: 0x41e0_0000_0000_0000n };
/** Integers up to this size have an exact single. */
const EXACT_SINGLE = 1 << 24;
/** Doubles between these, 2^-125 and the largest single, round to normal singles. */
const NARROW_LOW = 0x3820_0000_0000_0000n;
const NARROW_HIGH = 0x47ef_ffff_e000_0000n;

/** `truncate`: the CVTT instructions round towards zero whatever MXCSR says. */
type Rounding = 'truncate' | 'mxcsr';
const extraOf = (rounding: Rounding): Int => Int.const32(rounding === 'truncate' ? 1 : 0);

/**
 * Number to int32, if it is in range (2^31 would be cut to one less, and as a single look exact). An integer converts
 * exactly under every rounding control; otherwise #P must be nothing new.
 */
const toInteger =
  (bits: LaneBits, rounding: Rounding): SimdSemantics =>
  (op, to, from) => {
    const lanes = new SingleLane(op, bits);
    const source = op.let(from.read());
    const x = Float.fromBits(source);
    const rounded = op.letFloat(rounding === 'truncate' ? x : x.nearest());
    const result = op.let(rounded.truncate());
    const exact = Float.fromInteger(bits === 32 ? 'f32' : 'f64', result).compare('eq', x);
    const fits = lanes.magnitude(rounded.bits()).ltU(TWO_31[bits]);
    const soft = bits === 32 ? 'ss.si' : 'sd.si';
    const certain = fits.and(exact.or(op.roundsQuietly()));
    to.write(op.chooseScalar(certain, result, soft, source, source, extraOf(rounding)));
  };

/** The same for lanes; `mmx`: the result is an MMX register of two. */
const toIntegers =
  (bits: LaneBits, rounding: Rounding, mmx = false): SimdSemantics =>
  (op, to, from) => {
    const lanes = new PackedLanes(op, bits);
    const x = op.letVector(from.vector());
    const nearest = bits === 32 ? 'f32x4.nearest' : 'f64x2.nearest';
    const rounded = op.letVector(rounding === 'truncate' ? x : x.apply(nearest));
    const truncate = bits === 32 ? 'i32x4.trunc_sat_f32x4_s' : 'i32x4.trunc_sat_f64x2_s_zero';
    const result = op.letVector(rounded.apply(truncate));
    const back = bits === 32 ? 'f32x4.convert_i32x4_s' : 'f64x2.convert_low_i32x4_s';
    const exact = lanes.none(lanes.equal(result.apply(back), x).apply('v128.not'));
    const fits = lanes.none(lanes.outside(lanes.magnitude(rounded), 0n, TWO_31[bits]));
    const certain = fits.and(exact.or(op.roundsQuietly()));
    const soft = `${bits === 32 ? 'ps' : 'pd'}.${mmx ? 'pi' : 'dq'}` as const;
    to.setVector(op.chooseVector(certain, result, soft, x, x, extraOf(rounding)));
  };

const integerToSingle: SimdSemantics = (op, to, from) => {
  const value = op.let(from.read());
  const result = Float.fromInteger('f32', value).bits();
  const small = value.add(EXACT_SINGLE).leU(2 * EXACT_SINGLE);
  to.write(op.chooseScalar(op.roundsQuietly().or(small), result, 'si.ss', value, value));
};

const integersToSingles =
  (soft: 'dq.ps' | 'pi.ps'): SimdSemantics =>
  (op, to, from) => {
    const value = op.letVector(from.vector());
    const lanes = new PackedLanes(op, 32);
    const limit = V128.splatConstant(32, BigInt(EXACT_SINGLE));
    const small = lanes.none(
      lanes.outside(value.with('i32x4.add', limit), 0n, 2n * BigInt(EXACT_SINGLE) + 1n),
    );
    const result = value.apply('f32x4.convert_i32x4_s');
    to.setVector(op.chooseVector(op.roundsQuietly().or(small), result, soft, value, value));
  };

/** Every int32 is a double. */
const integerToDouble: SimdSemantics = (_op, to, from) =>
  to.write(Float.fromInteger('f64', from.read()).bits());
const integersToDoubles: SimdSemantics = (_op, to, from) =>
  to.setVector(from.vector().apply('f64x2.convert_low_i32x4_s'));

const singleToDouble: SimdSemantics = (op, to, from) => {
  const lanes = new SingleLane(op, 32);
  const x = op.let(from.read());
  const plain = lanes.none(isDelicate(lanes, op.let(lanes.magnitude(x))));
  to.write(op.chooseScalar(plain, Float.fromBits(x).promote().bits(), 'ss.sd', x, x));
};

const singlesToDoubles: SimdSemantics = (op, to, from) => {
  const lanes = new PackedLanes(op, 32);
  const x = op.letVector(from.vector());
  const plain = lanes.none(isDelicate(lanes, op.letVector(lanes.magnitude(x))));
  to.setVector(op.chooseVector(plain, x.apply('f64x2.promote_low_f32x4'), 'ps.pd', x, x));
};

const doubleToSingle: SimdSemantics = (op, to, from) => {
  const lanes = new SingleLane(op, 64);
  const x = op.let(from.read());
  const size = op.let(lanes.magnitude(x));
  const plain = lanes.inside(size, NARROW_LOW, NARROW_HIGH).or(size.eqz());
  const result = Float.fromBits(x).demote().bits();
  to.write(op.chooseScalar(op.roundsQuietly().and(plain), result, 'sd.ss', x, x));
};

const doublesToSingles: SimdSemantics = (op, to, from) => {
  const lanes = new PackedLanes(op, 64);
  const x = op.letVector(from.vector());
  const size = op.letVector(lanes.magnitude(x));
  const plain = lanes.none(lanes.without(lanes.outside(size, NARROW_LOW, NARROW_HIGH), lanes.isZero(size)));
  const result = x.apply('f32x4.demote_f64x2_zero');
  to.setVector(op.chooseVector(op.roundsQuietly().and(plain), result, 'pd.ps', x, x));
};

const SSE = { feature: 'sse' } as const;
const SSE2 = { feature: 'sse2' } as const;

// biome-ignore format: table
export const SIMD_CONVERT: readonly Form[] = [
  simd('CVTPI2PS',  '0F 2A /r',    'Vq,Qq',   integersToSingles('pi.ps'), SSE),
  simd('CVTSI2SS',  'F3 0F 2A /r', 'Vd,Ed',   integerToSingle, SSE),
  simd('CVTPI2PD',  '66 0F 2A /r', 'Vdq,Qq',  integersToDoubles, SSE2),
  simd('CVTSI2SD',  'F2 0F 2A /r', 'Vq,Ed',   integerToDouble, SSE2),
  simd('CVTTPS2PI', '0F 2C /r',    'Pq,Wq',   toIntegers(32, 'truncate', true), SSE),
  simd('CVTTSS2SI', 'F3 0F 2C /r', 'Gd,Wd',   toInteger(32, 'truncate'), SSE),
  simd('CVTTPD2PI', '66 0F 2C /r', 'Pq,Wdq',  toIntegers(64, 'truncate', true), SSE2),
  simd('CVTTSD2SI', 'F2 0F 2C /r', 'Gd,Wq',   toInteger(64, 'truncate'), SSE2),
  simd('CVTPS2PI',  '0F 2D /r',    'Pq,Wq',   toIntegers(32, 'mxcsr', true), SSE),
  simd('CVTSS2SI',  'F3 0F 2D /r', 'Gd,Wd',   toInteger(32, 'mxcsr'), SSE),
  simd('CVTPD2PI',  '66 0F 2D /r', 'Pq,Wdq',  toIntegers(64, 'mxcsr', true), SSE2),
  simd('CVTSD2SI',  'F2 0F 2D /r', 'Gd,Wq',   toInteger(64, 'mxcsr'), SSE2),
  simd('CVTPS2PD',  '0F 5A /r',    'Vdq,Wq',  singlesToDoubles, SSE2),
  simd('CVTPD2PS',  '66 0F 5A /r', 'Vdq,Wdq', doublesToSingles, SSE2),
  simd('CVTSS2SD',  'F3 0F 5A /r', 'Vq,Wd',   singleToDouble, SSE2),
  simd('CVTSD2SS',  'F2 0F 5A /r', 'Vd,Wq',   doubleToSingle, SSE2),
  simd('CVTDQ2PS',  '0F 5B /r',    'Vdq,Wdq', integersToSingles('dq.ps'), SSE2),
  simd('CVTPS2DQ',  '66 0F 5B /r', 'Vdq,Wdq', toIntegers(32, 'mxcsr'), SSE2),
  simd('CVTTPS2DQ', 'F3 0F 5B /r', 'Vdq,Wdq', toIntegers(32, 'truncate'), SSE2),
  simd('CVTDQ2PD',  'F3 0F E6 /r', 'Vdq,Wq',  integersToDoubles, SSE2),
  simd('CVTPD2DQ',  'F2 0F E6 /r', 'Vdq,Wdq', toIntegers(64, 'mxcsr'), SSE2),
  simd('CVTTPD2DQ', '66 0F E6 /r', 'Vdq,Wdq', toIntegers(64, 'truncate'), SSE2),
];
