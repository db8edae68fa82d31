import type { ByteWriter } from './bytes.ts';

/** Value types of the WebAssembly core specification (5.3.1), by their binary codes. */
export const ValueType = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
export type ValueTypeName = keyof typeof ValueType;

/** The part of an instruction that follows its opcode. */
type Immediate =
  | { readonly kind: 'none' }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'memory'; readonly align: number; readonly offset: number }
  | { readonly kind: 'lane'; readonly lane: number }
  | { readonly kind: 'i32'; readonly value: number }
  | { readonly kind: 'i64'; readonly value: bigint }
  | { readonly kind: 'bytes'; readonly bytes: readonly number[] };

const NONE: Immediate = { kind: 'none' };

/**
 * A typed expression: operands first, then one instruction. Building it records the operation; it becomes bytes when
 * a statement of a `FunctionBuilder` consumes it. An expression that is consumed twice is computed twice: use
 * `FunctionBuilder.let` for what is shared.
 */
export class Expression {
  readonly type: ValueTypeName;
  readonly #prefix: number;
  readonly #opcode: number;
  readonly #operands: readonly Expression[];
  readonly #immediate: Immediate;

  constructor(
    type: ValueTypeName,
    opcode: number,
    operands: readonly Expression[],
    immediate: Immediate = NONE,
    prefix = 0,
  ) {
    this.type = type;
    this.#prefix = prefix;
    this.#opcode = opcode;
    this.#operands = operands;
    this.#immediate = immediate;
  }

  emit(out: ByteWriter): void {
    for (const operand of this.#operands) operand.emit(out);
    if (this.#prefix === 0) {
      out.byte(this.#opcode);
    } else {
      out.byte(this.#prefix);
      out.unsigned(this.#opcode);
    }
    const immediate = this.#immediate;
    switch (immediate.kind) {
      case 'none':
        return;
      case 'index':
        out.unsigned(immediate.index);
        return;
      case 'memory':
        out.unsigned(immediate.align);
        out.unsigned(immediate.offset);
        return;
      case 'lane':
        out.byte(immediate.lane);
        return;
      case 'i32':
        out.signed(immediate.value);
        return;
      case 'i64':
        out.signed64(immediate.value);
        return;
      case 'bytes':
        out.bytes(immediate.bytes);
    }
  }
}

type IntType = 'i32' | 'i64';

/** Opcodes of the integer instructions: [i32, i64]. */
// biome-ignore format: table
const INT = {
  eqz: [0x45, 0x50], eq: [0x46, 0x51], ne: [0x47, 0x52],
  ltS: [0x48, 0x53], ltU: [0x49, 0x54], gtS: [0x4a, 0x55], gtU: [0x4b, 0x56],
  leS: [0x4c, 0x57], leU: [0x4d, 0x58], geS: [0x4e, 0x59], geU: [0x4f, 0x5a],
  clz: [0x67, 0x79], ctz: [0x68, 0x7a], popcnt: [0x69, 0x7b],
  add: [0x6a, 0x7c], sub: [0x6b, 0x7d], mul: [0x6c, 0x7e],
  divS: [0x6d, 0x7f], divU: [0x6e, 0x80], remS: [0x6f, 0x81], remU: [0x70, 0x82],
  and: [0x71, 0x83], or: [0x72, 0x84], xor: [0x73, 0x85],
  shl: [0x74, 0x86], shrS: [0x75, 0x87], shrU: [0x76, 0x88], rotl: [0x77, 0x89], rotr: [0x78, 0x8a],
  extend8: [0xc0, 0xc2], extend16: [0xc1, 0xc3],
} as const;
type IntOperation = keyof typeof INT;

/** What integer operations accept beside an expression: a constant of the other operand's type. */
export type IntLike = Int | number | bigint;

/**
 * An integer expression, `i32` or `i64`. Semantics that are parameterized by operand size use one class for both;
 * mixing the two types throws when the expression is built.
 */
export class Int extends Expression {
  declare readonly type: IntType;

  static const32(value: number): Int {
    return new Int('i32', 0x41, [], { kind: 'i32', value });
  }
  static const64(value: number | bigint): Int {
    return new Int('i64', 0x42, [], { kind: 'i64', value: BigInt(value) });
  }
  static const(type: IntType, value: number | bigint): Int {
    return type === 'i32' ? Int.const32(Number(value)) : Int.const64(value);
  }
  static local(type: IntType, index: number): Int {
    return new Int(type, 0x20, [], { kind: 'index', index });
  }
  /** A load of `bits` bits at `address + offset`, extended to `type`. `address` is an i32. */
  static load(type: IntType, bits: 8 | 16 | 32 | 64, address: Int, offset = 0, signed = false): Int {
    const opcode =
      type === 'i32'
        ? { 8: signed ? 0x2c : 0x2d, 16: signed ? 0x2e : 0x2f, 32: 0x28, 64: 0 }[bits]
        : { 8: signed ? 0x30 : 0x31, 16: signed ? 0x32 : 0x33, 32: signed ? 0x34 : 0x35, 64: 0x29 }[bits];
    if (opcode === 0) throw new TypeError('an i32 cannot hold a 64-bit load');
    return new Int(type, opcode, [address], { kind: 'memory', align: 0, offset });
  }

  add(other: IntLike): Int {
    return other === 0 || other === 0n ? this : this.#binary('add', other);
  }
  sub(other: IntLike): Int {
    return this.#binary('sub', other);
  }
  mul(other: IntLike): Int {
    return this.#binary('mul', other);
  }
  divS(other: IntLike): Int {
    return this.#binary('divS', other);
  }
  divU(other: IntLike): Int {
    return this.#binary('divU', other);
  }
  remS(other: IntLike): Int {
    return this.#binary('remS', other);
  }
  remU(other: IntLike): Int {
    return this.#binary('remU', other);
  }
  and(other: IntLike): Int {
    return this.#binary('and', other);
  }
  or(other: IntLike): Int {
    return this.#binary('or', other);
  }
  xor(other: IntLike): Int {
    return this.#binary('xor', other);
  }
  not(): Int {
    return this.#binary('xor', -1);
  }
  negate(): Int {
    return Int.const(this.type, 0).sub(this);
  }
  /** Shift counts are taken modulo the type's width, as in WebAssembly. */
  shl(count: IntLike): Int {
    return this.#binary('shl', count);
  }
  shrU(count: IntLike): Int {
    return this.#binary('shrU', count);
  }
  shrS(count: IntLike): Int {
    return this.#binary('shrS', count);
  }
  rotl(count: IntLike): Int {
    return this.#binary('rotl', count);
  }
  rotr(count: IntLike): Int {
    return this.#binary('rotr', count);
  }
  clz(): Int {
    return this.#unary('clz');
  }
  ctz(): Int {
    return this.#unary('ctz');
  }
  popcnt(): Int {
    return this.#unary('popcnt');
  }
  /** Comparisons give an i32, 0 or 1. */
  eqz(): Int {
    return new Int('i32', INT.eqz[this.#column()], [this]);
  }
  eq(other: IntLike): Int {
    return this.#compare('eq', other);
  }
  ne(other: IntLike): Int {
    return this.#compare('ne', other);
  }
  ltS(other: IntLike): Int {
    return this.#compare('ltS', other);
  }
  ltU(other: IntLike): Int {
    return this.#compare('ltU', other);
  }
  gtS(other: IntLike): Int {
    return this.#compare('gtS', other);
  }
  gtU(other: IntLike): Int {
    return this.#compare('gtU', other);
  }
  leS(other: IntLike): Int {
    return this.#compare('leS', other);
  }
  leU(other: IntLike): Int {
    return this.#compare('leU', other);
  }
  geS(other: IntLike): Int {
    return this.#compare('geS', other);
  }
  geU(other: IntLike): Int {
    return this.#compare('geU', other);
  }
  /** Sign-extends the low 8 or 16 bits (or 32 of an i64) within the type. */
  signExtend(bits: 8 | 16 | 32 | 64): Int {
    if (bits === 8) return this.#unary('extend8');
    if (bits === 16) return this.#unary('extend16');
    return bits === 32 && this.type === 'i64' ? new Int('i64', 0xc4, [this]) : this;
  }
  /** i64 -> i32, keeping the low half; an i32 stays as it is. */
  toI32(): Int {
    return this.type === 'i32' ? this : new Int('i32', 0xa7, [this]);
  }
  toI64Unsigned(): Int {
    return this.type === 'i64' ? this : new Int('i64', 0xad, [this]);
  }
  toI64Signed(): Int {
    return this.type === 'i64' ? this : new Int('i64', 0xac, [this]);
  }
  /** `condition ? this : other`; both sides are evaluated. */
  select(other: IntLike, condition: Int): Int {
    return new Int(this.type, 0x1b, [this, this.#coerce(other), condition]);
  }

  #column(): 0 | 1 {
    return this.type === 'i32' ? 0 : 1;
  }
  #coerce(other: IntLike): Int {
    if (!(other instanceof Int)) return Int.const(this.type, other);
    if (other.type !== this.type) throw new TypeError(`operands differ: ${this.type} and ${other.type}`);
    return other;
  }
  #unary(operation: IntOperation): Int {
    return new Int(this.type, INT[operation][this.#column()], [this]);
  }
  #binary(operation: IntOperation, other: IntLike): Int {
    return new Int(this.type, INT[operation][this.#column()], [this, this.#coerce(other)]);
  }
  #compare(operation: IntOperation, other: IntLike): Int {
    return new Int('i32', INT[operation][this.#column()], [this, this.#coerce(other)]);
  }
}
