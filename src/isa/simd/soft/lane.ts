import { MXCSR } from '../../../arch/registers.ts';
import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { type ModuleBuilder, signature } from '../../../wasm/module.ts';
import type { Narrow } from '../../x87/softfloat/floats.ts';
import { BIAS, INTEGER_BIT } from '../../x87/softfloat/format.ts';

/** Where the functions find what they share with their caller: addresses in the module's memory. */
export interface SoftPlaces {
  readonly mxcsr: number;
  /** i32: exception flags of the operation so far, in MXCSR positions. */
  readonly flags: number;
  /** i64: the last rounded number. */
  readonly result: number;
}

/** What an operation on one lane works with. Lanes are raw bits in an i64, singles with zeros above. */
export interface LaneKit {
  readonly module: ModuleBuilder;
  readonly places: SoftPlaces;
}

/** (x, y, extra) -> result; exception flags join `places.flags`. */
export const LANE = signature(['i64', 'i64', 'i32'], ['i64']);

export const laneFunction = (
  kit: LaneKit,
  write: (f: FunctionBuilder, x: Int, y: Int, extra: Int) => void,
): FunctionReference =>
  kit.module.function(LANE, (f) => {
    write(f, f.parameter(0), f.parameter(1), f.parameter(2));
    f.unreachable();
  });

const ABSOLUTE = Int.const32(0);

export const loadControl = ({ places }: LaneKit): Int => Int.load('i32', 32, ABSOLUTE, places.mxcsr);

export function addFlags(f: FunctionBuilder, { places }: LaneKit, flags: Int | number): void {
  f.store(32, ABSOLUTE, Int.load('i32', 32, ABSOLUTE, places.flags).or(flags), places.flags);
}

/**
 * MXCSR as the x87 functions want their control word: masks in bits 0-5, rounding control in bits 10-11. FTZ stays
 * where it is, in bit 15.
 */
export const controlWord = (kit: LaneKit): Int =>
  loadControl(kit)
    .shrU(7)
    .and(0x3f)
    .or(loadControl(kit).shrU(3).and(0xc00))
    .or(loadControl(kit).and(MXCSR.FZ));

/** Constants of a format as i64 bit patterns. */
export const signBit = ({ bits }: Narrow): bigint => 1n << BigInt(bits - 1);
export const quietBit = ({ precision }: Narrow): bigint => 1n << BigInt(precision - 2);
export const smallestNormal = ({ precision }: Narrow): bigint => 1n << BigInt(precision - 1);
export const infinity = (format: Narrow): bigint => BigInt(format.maxExponent) * smallestNormal(format);
/** The QNaN floating-point indefinite (SDM vol. 1 table 4-3): sign, all exponent bits, quiet bit. */
export const indefinite = (format: Narrow): bigint => signBit(format) | infinity(format) | quietBit(format);

export const magnitude = (format: Narrow, x: Int): Int => x.and(signBit(format) - 1n);
export const isNan = (format: Narrow, x: Int): Int => magnitude(format, x).gtU(infinity(format));
export const isInfinite = (format: Narrow, x: Int): Int => magnitude(format, x).eq(infinity(format));
export const isZero = (format: Narrow, x: Int): Int => magnitude(format, x).eqz();
export const isDenormal = (format: Narrow, x: Int): Int =>
  magnitude(format, x)
    .sub(1)
    .ltU(smallestNormal(format) - 1n);
export const isSignaling = (format: Narrow, x: Int): Int =>
  isNan(format, x).and(x.and(quietBit(format)).eqz());
export const signOf = (format: Narrow, x: Int): Int => x.shrU(format.bits - 1).toI32();

/** An operand as the operation sees it: under DAZ a denormal is a zero of its sign (SDM vol. 1 10.2.3.4). */
export function operandOf(f: FunctionBuilder, kit: LaneKit, format: Narrow, x: Int): Int {
  const zeroed = isDenormal(format, x).and(loadControl(kit).and(MXCSR.DAZ).ne(0));
  return f.let(x.and(signBit(format)).select(x, zeroed));
}

/** Returns the NaN that one or two operands give: the first that is one, made quiet (SDM vol. 1 table 4-7). */
export function returnNan(f: FunctionBuilder, kit: LaneKit, format: Narrow, x: Int, y = x): void {
  f.if(isNan(format, x).or(isNan(format, y)), () => {
    addFlags(f, kit, isSignaling(format, x).or(isSignaling(format, y)).and(MXCSR.IE));
    f.return(x.select(y, isNan(format, x)).or(quietBit(format)));
  });
}

export function returnInvalid(f: FunctionBuilder, kit: LaneKit, format: Narrow): void {
  addFlags(f, kit, MXCSR.IE);
  f.return(Int.const64(BigInt.asIntN(64, indefinite(format))));
}

/** Sets DE if one of the operands is a denormal. */
export function noteDenormals(f: FunctionBuilder, kit: LaneKit, format: Narrow, x: Int, y = x): void {
  addFlags(f, kit, isDenormal(format, x).or(isDenormal(format, y)).shl(1));
}

/** Exponent, biased as in the x87's format, and significand with its top bit set, of a finite number other than zero. */
export function normalized(
  f: FunctionBuilder,
  format: Narrow,
  x: Int,
): { readonly exponent: Int; readonly significand: Int } {
  const fractionBits = format.precision - 1;
  const field = f.let(magnitude(format, x).shrU(fractionBits).toI32());
  const fraction = f.let(x.shl(64 - fractionBits).shrU(1));
  const shift = f.let(fraction.clz().select(0, field.eqz()));
  const denormalExponent = Int.const32(BIAS - format.bias + 1).sub(shift.toI32());
  return {
    exponent: f.let(denormalExponent.select(field.add(BIAS - format.bias), field.eqz())),
    significand: f.let(fraction.shl(shift).or(INTEGER_BIT)),
  };
}
