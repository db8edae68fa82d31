import { Int } from '../../wasm/expression.ts';
import { V128 } from '../../wasm/vector.ts';
import type { Form } from '../form.ts';
import type { SimdBuilder, SimdSemantics } from './builder.ts';
import { simd } from './form.ts';

/** Where the factors below bring the field that a lane wants. */
const FIELD_BIT = 6;

/**
 * How the fields of an immediate byte become a vector of byte numbers: each 16-bit lane multiplies the byte by
 * its factor, which brings its field to FIELD_BIT; the field times `scale`, plus `places`, is a pair of byte numbers.
 */
interface Selection {
  readonly factors: readonly number[];
  readonly fieldMask: 1 | 3;
  readonly scale: number;
  readonly places: readonly number[];
}

const twice = (values: readonly number[]): number[] => values.flatMap((value) => [value, value]);
const FIELDS = [64, 16, 4, 1];
const NOT_CHOSEN = [0, 0, 0, 0];
/** Pairs of neighbouring bytes, from 0 on. */
const PAIRS = [0x0100, 0x0302, 0x0504, 0x0706, 0x0908, 0x0b0a, 0x0d0c, 0x0f0e];

const DOUBLEWORDS: Selection = {
  factors: twice(FIELDS),
  fieldMask: 3,
  scale: 0x0404,
  places: [0x0100, 0x0302, 0x0100, 0x0302, 0x0100, 0x0302, 0x0100, 0x0302],
};
const LOW_WORDS: Selection = {
  factors: [...FIELDS, ...NOT_CHOSEN],
  fieldMask: 3,
  scale: 0x0202,
  places: [0x0100, 0x0100, 0x0100, 0x0100, ...PAIRS.slice(4)],
};
const HIGH_WORDS: Selection = {
  factors: [...NOT_CHOSEN, ...FIELDS],
  fieldMask: 3,
  scale: 0x0202,
  places: [...PAIRS.slice(0, 4), 0x0908, 0x0908, 0x0908, 0x0908],
};
const QUADWORDS: Selection = {
  factors: [64, 64, 64, 64, 32, 32, 32, 32],
  fieldMask: 1,
  scale: 0x0808,
  places: [...PAIRS.slice(0, 4), ...PAIRS.slice(0, 4)],
};

const constant = (value: number): V128 => V128.words(new Array(8).fill(value));

function byteNumbers(op: SimdBuilder, immediate: Int, selection: Selection): V128 {
  const { factors, fieldMask, scale, places } = selection;
  const fields = V128.splat('i16x8', immediate)
    .with('i16x8.mul', V128.words(factors))
    .shift('i16x8.shr_u', Int.const32(FIELD_BIT))
    .with('v128.and', constant(fieldMask));
  return op.letVector(fields.with('i16x8.mul', constant(scale)).with('i16x8.add', V128.words(places)));
}

const choose =
  (selection: Selection): SimdSemantics =>
  (op, to, from, immediate) => {
    const source = op.letVector(from.vector());
    to.setVector(source.with('i8x16.swizzle', byteNumbers(op, immediate.read(), selection)));
  };

/** SHUFPS and SHUFPD: the low half is chosen from the destination, the high half from the source. */
const chooseFromBoth =
  (selection: Selection): SimdSemantics =>
  (op, to, from, immediate) => {
    const y = op.letVector(from.vector());
    const numbers = byteNumbers(op, immediate.read(), selection);
    const low = to.vector().with('i8x16.swizzle', numbers);
    to.setVector(low.shuffle(y.with('i8x16.swizzle', numbers), HALVES));
  };
const HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31];

const interleave =
  (lanes: readonly number[]): SimdSemantics =>
  (op, to, from) => {
    const y = op.letVector(from.vector());
    to.setVector(to.vector().shuffle(y, lanes));
  };

/** Byte numbers of 32-bit lanes; 4-7 are those of the second vector. */
const doublewords = (...lanes: readonly number[]): number[] =>
  lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => lane * 4 + byte));

/** The 16-bit lane of that number (the immediate, modulo the lanes) becomes the low word of the source. */
const insertWord =
  (lanes: 4 | 8): SimdSemantics =>
  (op, to, from, immediate) => {
    const word = V128.splat('i16x8', op.let(from.read()));
    const place = V128.splat('i16x8', immediate.read().and(lanes - 1));
    const here = V128.words([0, 1, 2, 3, 4, 5, 6, 7]).with('i16x8.eq', place);
    to.setVector(word.bitselect(to.vector(), here));
  };

const extractWord =
  (lanes: 4 | 8): SimdSemantics =>
  (_op, to, from, immediate) => {
    const place = immediate
      .read()
      .and(lanes - 1)
      .mul(0x0202)
      .add(0x0100);
    to.write(from.vector().with('i8x16.swizzle', V128.splat('i16x8', place)).extract('i16x8', 0));
  };

const SSE = { feature: 'sse' } as const;
const SSE2 = { feature: 'sse2' } as const;

// biome-ignore format: table
export const SIMD_SHUFFLES: readonly Form[] = [
  simd('PSHUFW',   '0F 70 /r',    'Pq,Qq,Ib',   choose(LOW_WORDS), SSE),
  simd('PSHUFD',   '66 0F 70 /r', 'Vdq,Wdq,Ib', choose(DOUBLEWORDS), SSE2),
  simd('PSHUFHW',  'F3 0F 70 /r', 'Vdq,Wdq,Ib', choose(HIGH_WORDS), SSE2),
  simd('PSHUFLW',  'F2 0F 70 /r', 'Vdq,Wdq,Ib', choose(LOW_WORDS), SSE2),
  simd('SHUFPS',   '0F C6 /r',    'Vdq,Wdq,Ib', chooseFromBoth(DOUBLEWORDS), SSE),
  simd('SHUFPD',   '66 0F C6 /r', 'Vdq,Wdq,Ib', chooseFromBoth(QUADWORDS), SSE2),
  simd('UNPCKLPS', '0F 14 /r',    'Vdq,Wdq',    interleave(doublewords(0, 4, 1, 5)), SSE),
  simd('UNPCKHPS', '0F 15 /r',    'Vdq,Wdq',    interleave(doublewords(2, 6, 3, 7)), SSE),
  simd('UNPCKLPD', '66 0F 14 /r', 'Vdq,Wdq',    interleave(doublewords(0, 1, 4, 5)), SSE2),
  simd('UNPCKHPD', '66 0F 15 /r', 'Vdq,Wdq',    interleave(doublewords(2, 3, 6, 7)), SSE2),
  simd('PINSRW',   '0F C4 /r',    'Pq,Rd,Ib',   insertWord(4), SSE),
  simd('PINSRW',   '0F C4 /r',    'Pq,Mw,Ib',   insertWord(4), SSE),
  simd('PINSRW',   '66 0F C4 /r', 'Vdq,Rd,Ib',  insertWord(8), SSE2),
  simd('PINSRW',   '66 0F C4 /r', 'Vdq,Mw,Ib',  insertWord(8), SSE2),
  simd('PEXTRW',   '0F C5 /r',    'Gd,Nq,Ib',   extractWord(4), SSE),
  simd('PEXTRW',   '66 0F C5 /r', 'Gd,Udq,Ib',  extractWord(8), SSE2),
];
