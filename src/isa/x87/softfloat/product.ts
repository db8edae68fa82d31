import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { signature } from '../../../wasm/module.ts';
import { FSW } from '../control.ts';
import { BIAS, isNormal, normalize, packInfinity, packZero, type Unpacked, unpack } from './format.ts';
import { type FiniteKit, type Kit, operation } from './kit.ts';
import { DENORMAL_OPERAND, isInfinity, isZero, returnInvalid, screened, stopAtDenormal } from './operands.ts';
import { multiplyWide } from './wide.ts';

/** Emits `mul` and `div`: (destination, x, y, control) -> flags. */
export function emitProduct(kit: Kit): { mul: FunctionReference; div: FunctionReference } {
  const product = emitFiniteProduct(kit);
  const quotient = emitFiniteQuotient(kit);
  return {
    mul: emitEntry(kit, product, emitSpecial(kit, product, specialProduct)),
    div: emitEntry(kit, quotient, emitSpecial(kit, quotient, specialQuotient)),
  };
}

/** Two normalized numbers: (destination, sign, x exponent and significand, y's, control) -> flags. */
export const emitFiniteProduct = (kit: FiniteKit): FunctionReference => emitFinite(kit, finiteProduct);
export const emitFiniteQuotient = (kit: FiniteKit): FunctionReference => emitFinite(kit, finiteQuotient);

/** The usual case at once: both numbers normal. */
function emitEntry(kit: Kit, finite: FunctionReference, special: FunctionReference): FunctionReference {
  return operation(kit.module, 4, (f, ...args) => {
    const [destination, first, second, control] = args as [Int, Int, Int, Int];
    const x = unpack(f, first);
    const y = unpack(f, second);
    const usual = isNormal(x).and(isNormal(y)).and(control.and(DENORMAL_OPERAND).eqz());
    f.if(usual, () => f.return(f.callFor(finite, ...finiteArguments(destination, x, y, control))));
    f.return(f.callFor(special, destination, first, second, control));
  });
}

const finiteArguments = (destination: Int, x: Unpacked, y: Unpacked, control: Int): Int[] => [
  destination,
  x.sign.xor(y.sign),
  x.exponent,
  x.significand,
  y.exponent,
  y.significand,
  control,
];

interface Finite {
  readonly destination: Int;
  readonly sign: Int;
  readonly xe: Int;
  readonly xm: Int;
  readonly ye: Int;
  readonly ym: Int;
  readonly control: Int;
}

function emitFinite(
  kit: FiniteKit,
  write: (f: FunctionBuilder, kit: FiniteKit, parts: Finite) => void,
): FunctionReference {
  const parameters = ['i32', 'i32', 'i32', 'i64', 'i32', 'i64', 'i32'] as const;
  return kit.module.function(signature(parameters, ['i32']), (f) => {
    const [destination, sign, xe, xm, ye, ym, control] = parameters.map((_, n) => f.parameter(n)) as [
      Int,
      Int,
      Int,
      Int,
      Int,
      Int,
      Int,
    ];
    write(f, kit, { destination, sign, xe, xm, ye, ym, control });
  });
}

function finiteProduct(
  f: FunctionBuilder,
  kit: FiniteKit,
  { destination, sign, xe, xm, ye, ym, control }: Finite,
): void {
  const { high, low } = multiplyWide(f, xm, ym);
  // The product of two numbers in [1, 2) is in [1, 4): its top bit is bit 127 or 126.
  const shift = f.let(high.shrU(63).xor(1));
  const exponent = xe
    .add(ye)
    .sub(BIAS - 1)
    .sub(shift.toI32());
  const top = high.shl(shift).or(low.shrU(63).and(shift));
  f.return(f.callFor(kit.roundPack, destination, sign, exponent, top, low.shl(shift), control));
}

function finiteQuotient(
  f: FunctionBuilder,
  kit: FiniteKit,
  { destination, sign, xe, xm, ye, ym, control }: Finite,
): void {
  // Halve x if it is not below y, so that the quotient has 64 bits either way.
  const halve = f.let(xm.geU(ym));
  const wide = halve.toI64Unsigned();
  const low = f.let(xm.shl(63).select(0, halve));
  const quotient = f.callFor(kit.divideWide, xm.shrU(wide), low, ym);
  const remainder = f.let(low.sub(quotient.mul(ym)));
  // The remainder is never half of y exactly: a tie would be a quotient of 65 bits times an odd part of y.
  const aboveHalf = remainder.ltS(0).or(remainder.shl(1).gtU(ym));
  const tail = aboveHalf.toI64Unsigned().shl(63).or(remainder.ne(0).toI64Unsigned());
  const exponent = xe
    .sub(ye)
    .add(BIAS - 1)
    .add(halve);
  f.return(f.callFor(kit.roundPack, destination, sign, exponent, quotient, tail, control));
}

interface Special {
  readonly destination: Int;
  readonly x: Unpacked;
  readonly y: Unpacked;
  readonly control: Int;
  readonly sign: Int;
  readonly denormal: Int;
}

/** With a NaN, infinity, zero or denormal: (destination, x, y, control) -> flags. */
function emitSpecial(
  kit: Kit,
  finite: FunctionReference,
  write: (f: FunctionBuilder, special: Special) => void,
): FunctionReference {
  return operation(kit.module, 4, (f, ...args) => {
    const [destination, first, second, control] = args as [Int, Int, Int, Int];
    const denormal = screened(f, kit.screen, [destination, first, second, control]);
    const x = unpack(f, first);
    const y = unpack(f, second);
    const sign = f.let(x.sign.xor(y.sign));
    write(f, { destination, x, y, control, sign, denormal });
    const flags = f.callFor(
      finite,
      ...finiteArguments(destination, normalize(f, x), normalize(f, y), control),
    );
    f.return(flags.or(denormal));
  });
}

/** SDM vol. 2A "FMUL", table 3-30: infinity times zero is invalid. */
function specialProduct(f: FunctionBuilder, { destination, x, y, control, sign, denormal }: Special): void {
  const anyZero = f.let(isZero(x).or(isZero(y)));
  const anyInfinity = f.let(isInfinity(x).or(isInfinity(y)));
  f.if(anyZero.and(anyInfinity), () => returnInvalid(f, destination, control));
  stopAtDenormal(f, denormal, control);
  f.if(anyInfinity, () => {
    packInfinity(f, destination, sign);
    f.return(denormal);
  });
  f.if(anyZero, () => {
    packZero(f, destination, sign);
    f.return(denormal);
  });
}

/** SDM vol. 2A "FDIV", table 3-25: infinity by infinity and zero by zero are invalid, others by zero give #Z. */
function specialQuotient(f: FunctionBuilder, { destination, x, y, control, sign, denormal }: Special): void {
  const [xInfinite, yInfinite] = [f.let(isInfinity(x)), f.let(isInfinity(y))];
  const [xZero, yZero] = [f.let(isZero(x)), f.let(isZero(y))];
  const invalid = xInfinite.and(yInfinite).or(xZero.and(yZero));
  f.if(invalid, () => returnInvalid(f, destination, control));
  f.if(yZero.and(xInfinite.eqz()), () => {
    f.if(control.and(FSW.ZE), () => packInfinity(f, destination, sign));
    f.return(Int.const32(FSW.ZE));
  });
  stopAtDenormal(f, denormal, control);
  f.if(xInfinite, () => {
    packInfinity(f, destination, sign);
    f.return(denormal);
  });
  f.if(yInfinite.or(xZero), () => {
    packZero(f, destination, sign);
    f.return(denormal);
  });
}
