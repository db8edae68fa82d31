import { V128, type VectorBinary } from '../../wasm/vector.ts';
import type { Form } from '../form.ts';
import { pair, type WidthSemantics } from './pair.ts';

/** `to` and `from` combined; both widths alike, because an MMX operand is a vector with zeros above. */
const combine =
  (operation: (x: V128, y: V128, bits: 64 | 128) => V128): WidthSemantics =>
  (bits) =>
  (op, to, from) => {
    const y = op.letVector(from.vector());
    const x = op.letVector(to.vector());
    to.setVector(operation(x, y, bits));
  };

/** One instruction of WebAssembly does it. */
const direct = (operation: VectorBinary): WidthSemantics => combine((x, y) => x.with(operation, y));

const andNot: WidthSemantics = combine((x, y) => y.with('v128.andnot', x));

/** The low halves of two vectors, one above the other. */
const joined = (x: V128, y: V128): V128 =>
  x.shuffle(y, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);

/** The narrow lanes of the destination come first, then those of the source. */
const pack = (
  operation: 'i8x16.narrow_i16x8_s' | 'i8x16.narrow_i16x8_u' | 'i16x8.narrow_i32x4_s',
): WidthSemantics =>
  combine((x, y, bits) => (bits === 64 ? joined(x, y).with(operation, V128.zero()) : x.with(operation, y)));

/** Bytes 2 and 3 of each 32-bit product of two vectors of four. */
const HIGH_WORDS = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31];

const multiplyHigh = (sign: 's' | 'u'): WidthSemantics =>
  combine((x, y) => {
    const low = x.with(`i32x4.extmul_low_i16x8_${sign}`, y);
    return low.shuffle(x.with(`i32x4.extmul_high_i16x8_${sign}`, y), HIGH_WORDS);
  });

/** PMULUDQ: the even 32-bit lanes, moved together, give 64-bit products. */
const multiplyEven = combine((x, y) => {
  const even = (value: V128): V128 =>
    value.shuffle(value, [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11]);
  return even(x).with('i64x2.extmul_low_i32x4_u', even(y));
});

/** PSADBW: eight absolute differences of bytes are summed into each 64-bit lane. */
const sumOfDifferences: WidthSemantics = () => (op, to, from) => {
  const y = op.letVector(from.vector());
  const x = op.letVector(to.vector());
  const differences = x.with('i8x16.max_u', y).with('i8x16.sub', x.with('i8x16.min_u', y));
  const fours = op.letVector(
    differences.apply('i16x8.extadd_pairwise_i8x16_u').apply('i32x4.extadd_pairwise_i16x8_u'),
  );
  const moved = fours.shuffle(V128.zero(), [4, 5, 6, 7, 16, 16, 16, 16, 12, 13, 14, 15, 16, 16, 16, 16]);
  const low = V128.splatConstant(64, 0xffff_ffffn);
  to.setVector(fours.with('v128.and', low).with('i64x2.add', moved));
};

/** Lanes of `bytes` bytes, from both operands in turn, starting in the low or the high half. */
const interleave =
  (bytes: 1 | 2 | 4 | 8, half: 'low' | 'high'): WidthSemantics =>
  (bits) => {
    const start = half === 'low' ? 0 : bits / 16;
    const lanes = Array.from({ length: 16 }, (_, at) => {
      const lane = Math.floor(at / bytes);
      const place = (start + (lane >> 1) * bytes + (at % bytes)) % 16;
      return place + (lane & 1) * 16;
    });
    return combine((x, y) => x.shuffle(y, lanes))(bits);
  };

const onlyXmm = (name: string, opcode: string, make: WidthSemantics): Form =>
  pair(name, opcode, make, 'sse2')[1] as Form;

// biome-ignore format: table
export const SIMD_INTEGER: readonly Form[] = [
  ...pair('PADDB',     'FC', direct('i8x16.add')),
  ...pair('PADDW',     'FD', direct('i16x8.add')),
  ...pair('PADDD',     'FE', direct('i32x4.add')),
  ...pair('PADDQ',     'D4', direct('i64x2.add'), 'sse2'),
  ...pair('PADDSB',    'EC', direct('i8x16.add_sat_s')),
  ...pair('PADDSW',    'ED', direct('i16x8.add_sat_s')),
  ...pair('PADDUSB',   'DC', direct('i8x16.add_sat_u')),
  ...pair('PADDUSW',   'DD', direct('i16x8.add_sat_u')),
  ...pair('PSUBB',     'F8', direct('i8x16.sub')),
  ...pair('PSUBW',     'F9', direct('i16x8.sub')),
  ...pair('PSUBD',     'FA', direct('i32x4.sub')),
  ...pair('PSUBQ',     'FB', direct('i64x2.sub'), 'sse2'),
  ...pair('PSUBSB',    'E8', direct('i8x16.sub_sat_s')),
  ...pair('PSUBSW',    'E9', direct('i16x8.sub_sat_s')),
  ...pair('PSUBUSB',   'D8', direct('i8x16.sub_sat_u')),
  ...pair('PSUBUSW',   'D9', direct('i16x8.sub_sat_u')),
  ...pair('PMULLW',    'D5', direct('i16x8.mul')),
  ...pair('PMULHW',    'E5', multiplyHigh('s')),
  ...pair('PMULHUW',   'E4', multiplyHigh('u'), 'sse'),
  ...pair('PMULUDQ',   'F4', multiplyEven, 'sse2'),
  ...pair('PMADDWD',   'F5', direct('i32x4.dot_i16x8_s')),
  ...pair('PSADBW',    'F6', sumOfDifferences, 'sse'),
  ...pair('PAVGB',     'E0', direct('i8x16.avgr_u'), 'sse'),
  ...pair('PAVGW',     'E3', direct('i16x8.avgr_u'), 'sse'),
  ...pair('PMINUB',    'DA', direct('i8x16.min_u'), 'sse'),
  ...pair('PMAXUB',    'DE', direct('i8x16.max_u'), 'sse'),
  ...pair('PMINSW',    'EA', direct('i16x8.min_s'), 'sse'),
  ...pair('PMAXSW',    'EE', direct('i16x8.max_s'), 'sse'),
  ...pair('PCMPEQB',   '74', direct('i8x16.eq')),
  ...pair('PCMPEQW',   '75', direct('i16x8.eq')),
  ...pair('PCMPEQD',   '76', direct('i32x4.eq')),
  ...pair('PCMPGTB',   '64', direct('i8x16.gt_s')),
  ...pair('PCMPGTW',   '65', direct('i16x8.gt_s')),
  ...pair('PCMPGTD',   '66', direct('i32x4.gt_s')),
  ...pair('PAND',      'DB', direct('v128.and')),
  ...pair('PANDN',     'DF', andNot),
  ...pair('POR',       'EB', direct('v128.or')),
  ...pair('PXOR',      'EF', direct('v128.xor')),
  ...pair('PACKSSWB',  '63', pack('i8x16.narrow_i16x8_s')),
  ...pair('PACKUSWB',  '67', pack('i8x16.narrow_i16x8_u')),
  ...pair('PACKSSDW',  '6B', pack('i16x8.narrow_i32x4_s')),
  ...pair('PUNPCKLBW', '60', interleave(1, 'low'), 'mmx', 'Qd'),
  ...pair('PUNPCKLWD', '61', interleave(2, 'low'), 'mmx', 'Qd'),
  ...pair('PUNPCKLDQ', '62', interleave(4, 'low'), 'mmx', 'Qd'),
  ...pair('PUNPCKHBW', '68', interleave(1, 'high')),
  ...pair('PUNPCKHWD', '69', interleave(2, 'high')),
  ...pair('PUNPCKHDQ', '6A', interleave(4, 'high')),
  onlyXmm('PUNPCKLQDQ', '6C', interleave(8, 'low')),
  onlyXmm('PUNPCKHQDQ', '6D', interleave(8, 'high')),
];
