import { Expression, Int } from './expression.ts';

export type FloatType = 'f32' | 'f64';

/** Opcodes of the floating-point instructions: [f32, f64]. */
// biome-ignore format: table
const FLOAT = {
  eq: [0x5b, 0x61], lt: [0x5d, 0x63], gt: [0x5e, 0x64], le: [0x5f, 0x65],
  nearest: [0x90, 0x9e], sqrt: [0x91, 0x9f],
  add: [0x92, 0xa0], sub: [0x93, 0xa1], mul: [0x94, 0xa2], div: [0x95, 0xa3],
} as const;
type FloatOperation = keyof typeof FLOAT;

/** The four operations of two numbers. */
export type FloatArithmetic = 'add' | 'sub' | 'mul' | 'div';

/**
 * A floating-point expression. WebAssembly rounds to nearest and leaves the bits of NaN results open (core spec
 * 4.3.3): who wants the same answer everywhere must not use a result that is a NaN.
 */
export class Float extends Expression {
  declare readonly type: FloatType;

  static local(type: FloatType, index: number): Float {
    return new Float(type, 0x20, [], { kind: 'index', index });
  }

  /** The number with these bits: an i32 is a single, an i64 a double. */
  static fromBits(bits: Int): Float {
    return bits.type === 'i32' ? new Float('f32', 0xbe, [bits]) : new Float('f64', 0xbf, [bits]);
  }

  /** A signed 32-bit integer, rounded to nearest. */
  static fromInteger(type: FloatType, value: Int): Float {
    return new Float(type, type === 'f32' ? 0xb2 : 0xb7, [value]);
  }

  bits(): Int {
    return this.type === 'f32' ? new Int('i32', 0xbc, [this]) : new Int('i64', 0xbd, [this]);
  }

  operate(operation: FloatArithmetic, other: Float): Float {
    if (other.type !== this.type) throw new TypeError(`operands differ: ${this.type} and ${other.type}`);
    return new Float(this.type, this.#opcode(operation), [this, other]);
  }
  sqrt(): Float {
    return new Float(this.type, this.#opcode('sqrt'), [this]);
  }
  /** Rounded to an integer, ties to even. */
  nearest(): Float {
    return new Float(this.type, this.#opcode('nearest'), [this]);
  }
  /** Comparisons give an i32, 0 or 1; 0 if either is a NaN. */
  compare(operation: 'eq' | 'lt' | 'gt' | 'le', other: Float): Int {
    if (other.type !== this.type) throw new TypeError(`operands differ: ${this.type} and ${other.type}`);
    return new Int('i32', this.#opcode(operation), [this, other]);
  }
  /** f32 -> f64, exact. */
  promote(): Float {
    return new Float('f64', 0xbb, [this]);
  }
  /** f64 -> f32, rounded to nearest. */
  demote(): Float {
    return new Float('f32', 0xb6, [this]);
  }
  /** A signed i32, towards zero; what does not fit becomes the nearest that does, a NaN zero. */
  truncate(): Int {
    return new Int('i32', this.type === 'f32' ? 0 : 2, [this], { kind: 'none' }, 0xfc);
  }

  #opcode(operation: FloatOperation): number {
    return FLOAT[operation][this.type === 'f32' ? 0 : 1];
  }
}
