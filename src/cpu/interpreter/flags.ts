import type { Bits, Condition, Flags } from '../../isa/builder.ts';
import { Int } from '../../wasm/expression.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import { FLAG_AUX, FLAG_CARRY, FLAG_RESULT } from '../layout.ts';

const TOP = -(1n << 63n);
const AF = 0x10;
const ADDRESS = Int.const32(0);

const load = (slot: number): Int => Int.load('i64', 64, ADDRESS, slot);
const wide = (bit: Int): Int => bit.toI64Unsigned();
/** OF in bit 63 of a carry word. */
const overflowTop = (carry: Int): Int => carry.xor(carry.shl(1));
const topBit = (value: Int): Int => value.shrU(63).toI32();

/** The flag operations of `isa`, on the three words that `layout.ts` describes. */
export class FlagWords implements Flags {
  readonly #code: FunctionBuilder;

  constructor(code: FunctionBuilder) {
    this.#code = code;
  }

  add(bits: Bits, x: Int, y: Int, result: Int): void {
    this.#carry(this.#carriesOfAdd(bits, x, y, result));
    this.#resultAndAux(bits, x, y, result);
  }

  sub(bits: Bits, x: Int, y: Int, result: Int): void {
    this.#carry(this.#borrowsOfSub(bits, x, y, result));
    this.#resultAndAux(bits, x, y, result);
  }

  addKeepingCarry(bits: Bits, x: Int, y: Int, result: Int): void {
    this.#keepCarry(this.#carriesOfAdd(bits, x, y, result));
    this.#resultAndAux(bits, x, y, result);
  }

  subKeepingCarry(bits: Bits, x: Int, y: Int, result: Int): void {
    this.#keepCarry(this.#borrowsOfSub(bits, x, y, result));
    this.#resultAndAux(bits, x, y, result);
  }

  logic(bits: Bits, result: Int): void {
    this.#carry(Int.const64(0));
    this.#store(FLAG_AUX, Int.const64(0));
    this.#result(bits, result);
  }

  shift(bits: Bits, result: Int, carry: Int, overflow: Int): void {
    this.rotate(carry, overflow);
    this.#store(FLAG_AUX, Int.const64(AF));
    this.#result(bits, result);
  }

  rotate(carry: Int, overflow: Int): void {
    this.#carry(
      wide(carry)
        .shl(63)
        .or(wide(carry.xor(overflow)).shl(62)),
    );
  }

  setCarry(carry: Int): void {
    const bit = this.#code.let(wide(carry));
    this.#carry(bit.shl(63).or(overflowTop(load(FLAG_CARRY)).shrU(63).xor(bit).shl(62)));
  }

  setZero(zero: Int): void {
    this.write(this.#code.let(this.read().and(~0x40).or(zero.shl(6))));
  }

  carry(): Int {
    return topBit(load(FLAG_CARRY));
  }

  overflow(): Int {
    return topBit(overflowTop(load(FLAG_CARRY)));
  }

  read(): Int {
    const aux = (): Int => load(FLAG_AUX);
    return this.carry()
      .or(this.test(0xa).shl(2))
      .or(aux().toI32().and(AF))
      .or(this.test(0x4).shl(6))
      .or(this.test(0x8).shl(7))
      .or(this.overflow().shl(11));
  }

  write(value: Int): void {
    const flags = this.#code.let(value);
    const bit = (place: number): Int => flags.shrU(place).and(1);
    // Without ZF the result must not be zero, yet its low byte may: then parity is even and aux tells the rest.
    this.#store(FLAG_RESULT, wide(bit(6).xor(1)).shl(8));
    this.#store(
      FLAG_AUX,
      wide(flags.and(AF))
        .or(wide(bit(2).xor(1)).shl(8))
        .or(wide(bit(7)).shl(63)),
    );
    this.rotate(bit(0), bit(11));
  }

  test(condition: Condition): Int {
    const met = this.#even(condition & ~1);
    return (condition & 1) === 0 ? met : met.eqz();
  }

  /** Conditions come in pairs, each odd one the opposite of the even one before it. */
  #even(condition: Condition): Int {
    const zero = (): Int => load(FLAG_RESULT).eqz();
    const less = (): Int =>
      load(FLAG_RESULT)
        .xor(load(FLAG_AUX))
        .xor(overflowTop(load(FLAG_CARRY)))
        .ltS(0);
    switch (condition) {
      case 0x0:
        return this.overflow();
      case 0x2:
        return load(FLAG_CARRY).ltS(0);
      case 0x4:
        return zero();
      case 0x6:
        return zero().or(load(FLAG_CARRY).ltS(0));
      case 0x8:
        return load(FLAG_RESULT).xor(load(FLAG_AUX)).ltS(0);
      case 0xa:
        return load(FLAG_RESULT).xor(load(FLAG_AUX).shrU(8)).toI32().and(0xff).popcnt().and(1).eqz();
      case 0xc:
        return less();
      default:
        return zero().or(less());
    }
  }

  /** Carries out of each bit position of x + y, whatever came in. */
  #carriesOfAdd(bits: Bits, x: Int, y: Int, result: Int): Int {
    return this.#alignTop(bits, x.and(y).or(x.or(y).and(result.not())));
  }

  #borrowsOfSub(bits: Bits, x: Int, y: Int, result: Int): Int {
    return this.#alignTop(bits, x.not().and(y).or(x.not().or(y).and(result)));
  }

  #alignTop(bits: Bits, vector: Int): Int {
    return bits === 64 ? vector : vector.toI64Unsigned().shl(64 - bits);
  }

  #keepCarry(fresh: Int): void {
    const carry = this.#code.let(fresh);
    const old = this.#code.let(load(FLAG_CARRY).and(TOP));
    this.#carry(old.or(overflowTop(carry).and(TOP).xor(old).shrU(1)));
  }

  #resultAndAux(bits: Bits, x: Int, y: Int, result: Int): void {
    this.#store(FLAG_AUX, wide(x.xor(y).xor(result).toI32().and(AF)));
    this.#result(bits, result);
  }

  #result(bits: Bits, result: Int): void {
    this.#store(FLAG_RESULT, result.signExtend(bits).toI64Signed());
  }

  #carry(value: Int): void {
    this.#store(FLAG_CARRY, value);
  }

  #store(slot: number, value: Int): void {
    this.#code.store(64, ADDRESS, value, slot);
  }
}
