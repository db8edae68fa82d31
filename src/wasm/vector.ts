import { Expression, Int } from './expression.ts';

/** How a v128 is divided into lanes (core spec 2.4.1). */
export type Shape = 'i8x16' | 'i16x8' | 'i32x4' | 'i64x2' | 'f32x4' | 'f64x2';

/** Instructions of two vectors, by the names of the specification. */
// biome-ignore format: table
const BINARY = {
  'i8x16.swizzle': 0x0e,
  'i8x16.eq': 0x23, 'i8x16.gt_s': 0x27, 'i16x8.eq': 0x2d, 'i16x8.gt_s': 0x31, 'i32x4.eq': 0x37,
  'i32x4.gt_s': 0x3b,
  'i64x2.eq': 0xd6, 'i64x2.gt_s': 0xd9,
  'f32x4.eq': 0x41, 'f32x4.lt': 0x43, 'f32x4.le': 0x45, 'f64x2.eq': 0x47, 'f64x2.lt': 0x49, 'f64x2.le': 0x4b,
  'v128.and': 0x4e, 'v128.andnot': 0x4f, 'v128.or': 0x50, 'v128.xor': 0x51,
  'i8x16.narrow_i16x8_s': 0x65, 'i8x16.narrow_i16x8_u': 0x66, 'i16x8.narrow_i32x4_s': 0x85,
  'i8x16.add': 0x6e, 'i8x16.add_sat_s': 0x6f, 'i8x16.add_sat_u': 0x70,
  'i8x16.sub': 0x71, 'i8x16.sub_sat_s': 0x72, 'i8x16.sub_sat_u': 0x73,
  'i8x16.min_u': 0x77, 'i8x16.max_u': 0x79, 'i8x16.avgr_u': 0x7b,
  'i16x8.add': 0x8e, 'i16x8.add_sat_s': 0x8f, 'i16x8.add_sat_u': 0x90,
  'i16x8.sub': 0x91, 'i16x8.sub_sat_s': 0x92, 'i16x8.sub_sat_u': 0x93,
  'i16x8.mul': 0x95, 'i16x8.min_s': 0x96, 'i16x8.max_s': 0x98, 'i16x8.avgr_u': 0x9b,
  'i32x4.add': 0xae, 'i32x4.sub': 0xb1, 'i32x4.dot_i16x8_s': 0xba,
  'i32x4.extmul_low_i16x8_s': 0xbc, 'i32x4.extmul_high_i16x8_s': 0xbd,
  'i32x4.extmul_low_i16x8_u': 0xbe, 'i32x4.extmul_high_i16x8_u': 0xbf,
  'i64x2.add': 0xce, 'i64x2.sub': 0xd1, 'i64x2.extmul_low_i32x4_u': 0xde,
  'f32x4.add': 0xe4, 'f32x4.sub': 0xe5, 'f32x4.mul': 0xe6, 'f32x4.div': 0xe7, 'f32x4.pmin': 0xea, 'f32x4.pmax': 0xeb,
  'f64x2.add': 0xf0, 'f64x2.sub': 0xf1, 'f64x2.mul': 0xf2, 'f64x2.div': 0xf3, 'f64x2.pmin': 0xf6, 'f64x2.pmax': 0xf7,
} as const;
export type VectorBinary = keyof typeof BINARY;

// biome-ignore format: table
const UNARY = {
  'v128.not': 0x4d,
  'i16x8.extadd_pairwise_i8x16_u': 0x7d, 'i32x4.extadd_pairwise_i16x8_u': 0x7f,
  'f32x4.nearest': 0x6a, 'f64x2.nearest': 0x94, 'f32x4.sqrt': 0xe3, 'f64x2.sqrt': 0xef,
  'f32x4.demote_f64x2_zero': 0x5e, 'f64x2.promote_low_f32x4': 0x5f,
  'i32x4.trunc_sat_f32x4_s': 0xf8, 'i32x4.trunc_sat_f64x2_s_zero': 0xfc,
  'f32x4.convert_i32x4_s': 0xfa, 'f64x2.convert_low_i32x4_s': 0xfe,
} as const;
export type VectorUnary = keyof typeof UNARY;

/** A vector by a count (i32), which is taken modulo the lane width. */
// biome-ignore format: table
const SHIFT = {
  'i16x8.shl': 0x8b, 'i16x8.shr_s': 0x8c, 'i16x8.shr_u': 0x8d,
  'i32x4.shl': 0xab, 'i32x4.shr_s': 0xac, 'i32x4.shr_u': 0xad,
  'i64x2.shl': 0xcb, 'i64x2.shr_u': 0xcd,
} as const;
export type VectorShift = keyof typeof SHIFT;

// biome-ignore format: table
const SPLAT = { i8x16: 0x0f, i16x8: 0x10, i32x4: 0x11, i64x2: 0x12 } as const;
const BITMASK = { i8x16: 0x64, i32x4: 0xa4, i64x2: 0xc4 } as const;
const EXTRACT = { i16x8: 0x19, i32x4: 0x1b, i64x2: 0x1d } as const;
const REPLACE = { i16x8: 0x1a, i32x4: 0x1c, i64x2: 0x1e } as const;

const PREFIX = 0xfd;

const vector = (
  opcode: number,
  operands: readonly Expression[],
  immediate?: ConstructorParameters<typeof Expression>[3],
): V128 => new V128(opcode, operands, immediate, PREFIX);
const integer = (type: 'i32' | 'i64', opcode: number, operands: readonly Expression[], lane?: number): Int =>
  new Int(type, opcode, operands, lane === undefined ? undefined : { kind: 'lane', lane }, PREFIX);

/** A 128-bit vector expression. Lane 0 is the lowest. */
export class V128 extends Expression {
  declare readonly type: 'v128';

  constructor(
    opcode: number,
    operands: readonly Expression[],
    immediate?: ConstructorParameters<typeof Expression>[3],
    prefix = 0,
  ) {
    super('v128', opcode, operands, immediate, prefix);
  }

  static local(index: number): V128 {
    return new V128(0x20, [], { kind: 'index', index });
  }

  /** A load of 128 bits, or of the lowest 32 or 64 with zeros above, at `address + offset`. */
  static load(bits: 32 | 64 | 128, address: Int, offset = 0): V128 {
    return vector({ 32: 0x5c, 64: 0x5d, 128: 0x00 }[bits], [address], { kind: 'memory', align: 0, offset });
  }

  static constant(bytes: readonly number[]): V128 {
    if (bytes.length !== 16) throw new RangeError(`${bytes.length} bytes given for a v128, not 16`);
    return vector(0x0c, [], { kind: 'bytes', bytes });
  }

  /** A constant of eight 16-bit lanes. */
  static words(words: readonly number[]): V128 {
    return V128.constant(words.flatMap((word) => [word & 0xff, (word >> 8) & 0xff]));
  }

  /** The same constant in every 32-bit or 64-bit lane. */
  static splatConstant(bits: 32 | 64, value: bigint): V128 {
    const bytes = new Array<number>(16);
    for (let word = 0; word < 16; word += 4) {
      const part = Number(BigInt.asUintN(32, bits === 64 && word % 8 === 4 ? value >> 32n : value));
      for (let byte = 0; byte < 4; byte++) bytes[word + byte] = (part >>> (byte * 8)) & 0xff;
    }
    return V128.constant(bytes);
  }

  static zero(): V128 {
    return ZERO;
  }

  /** `value` in every lane. */
  static splat(shape: keyof typeof SPLAT, value: Int): V128 {
    return vector(SPLAT[shape], [value]);
  }

  /** An i32 or i64 in the lowest lane, zeros above. */
  static low(value: Int): V128 {
    return V128.zero().replace(value.type === 'i32' ? 'i32x4' : 'i64x2', 0, value);
  }

  with(operation: VectorBinary, other: V128): V128 {
    return vector(BINARY[operation], [this, other]);
  }
  apply(operation: VectorUnary): V128 {
    return vector(UNARY[operation], [this]);
  }
  shift(operation: VectorShift, count: Int): V128 {
    return vector(SHIFT[operation], [this, count]);
  }

  /** Sixteen bytes chosen by number: 0-15 from this vector, 16-31 from `other`. */
  shuffle(other: V128, bytes: readonly number[]): V128 {
    if (bytes.length !== 16) throw new RangeError(`${bytes.length} lanes chosen, not 16`);
    return vector(0x0d, [this, other], { kind: 'bytes', bytes });
  }

  /** Lane of 16 bits (zero-extended), 32 or 64. */
  extract(shape: keyof typeof EXTRACT, lane: number): Int {
    return integer(shape === 'i64x2' ? 'i64' : 'i32', EXTRACT[shape], [this], lane);
  }
  replace(shape: keyof typeof REPLACE, lane: number, value: Int): V128 {
    return vector(REPLACE[shape], [this, value], { kind: 'lane', lane });
  }

  /** The top bits of all lanes, lane 0 in bit 0. */
  bitmask(shape: keyof typeof BITMASK): Int {
    return integer('i32', BITMASK[shape], [this]);
  }
  /** i32 1 if any bit is set. */
  anyTrue(): Int {
    return integer('i32', 0x53, [this]);
  }
  /** Bits of this vector where `mask` is set, of `other` where it is not. */
  bitselect(other: V128, mask: V128): V128 {
    return vector(0x52, [this, other, mask]);
  }
  /** `condition ? this : other`; both sides are evaluated. */
  select(other: V128, condition: Int): V128 {
    return new V128(0x1b, [this, other, condition]);
  }
}

const ZERO = V128.constant(new Array(16).fill(0));
