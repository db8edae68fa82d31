import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { signature } from '../../../wasm/module.ts';
import { FCW_RC_SHIFT, ROUND } from '../control.ts';
import { INTEGER_BIT, isNormal, normalize, packInfinity, packZero, type Unpacked, unpack } from './format.ts';
import { type FiniteKit, type Kit, operation } from './kit.ts';
import { DENORMAL_OPERAND, isInfinity, isZero, returnInvalid, screened, stopAtDenormal } from './operands.ts';
import { shiftRightSticky, type Wide } from './wide.ts';

/** Emits `add` and `sub`: (destination, x, y, control) -> flags. */
export function emitSum(kit: Kit): { add: FunctionReference; sub: FunctionReference } {
  const finite = emitFiniteSum(kit);
  const special = emitSpecialSum(kit, finite);
  const entry = (negated: 0 | 1): FunctionReference =>
    operation(kit.module, 4, (f, destination, first, second, control) => {
      const x = unpack(f, first!);
      const y = unpack(f, second!);
      const usual = isNormal(x).and(isNormal(y)).and(control!.and(DENORMAL_OPERAND).eqz());
      f.if(usual, () =>
        f.return(f.callFor(finite, ...sumArguments(destination!, x, y, y.sign.xor(negated), control!))),
      );
      f.return(f.callFor(special, destination!, first!, second!, control!, Int.const32(negated)));
    });
  return { add: entry(0), sub: entry(1) };
}

const sumArguments = (destination: Int, x: Unpacked, y: Unpacked, ySign: Int, control: Int): Int[] => [
  destination,
  x.sign,
  x.exponent,
  x.significand,
  ySign,
  y.exponent,
  y.significand,
  control,
];

/** The sum of two non-zero finite numbers: (destination, x's three parts, y's three parts, control) -> flags. */
export function emitFiniteSum(kit: FiniteKit): FunctionReference {
  const parameters = ['i32', 'i32', 'i32', 'i64', 'i32', 'i32', 'i64', 'i32'] as const;
  return kit.module.function(signature(parameters, ['i32']), (f) => {
    const [destination, control] = [f.parameter(0), f.parameter(7)];
    const [xs, xe, xm] = [f.parameter(1), f.parameter(2), f.parameter(3)];
    const [ys, ye, ym] = [f.parameter(4), f.parameter(5), f.parameter(6)];
    const swap = f.let(xe.ltS(ye).or(xe.eq(ye).and(xm.ltU(ym))));
    const sign = f.let(ys.select(xs, swap));
    const exponent = f.let(ye.select(xe, swap));
    const large = f.let(ym.select(xm, swap));
    const small = xm.select(ym, swap);
    const distance = f.let(exponent.sub(xe.select(ye, swap)));
    const aligned = shiftRightSticky(f, f.let(small), distance);
    f.if(
      xs.eq(ys),
      () => addMagnitudes(f, kit, { destination, sign, exponent, large, control }, aligned),
      () => subtractMagnitudes(f, kit, { destination, sign, exponent, large, control }, aligned),
    );
    f.unreachable();
  });
}

interface SumParts {
  readonly destination: Int;
  readonly sign: Int;
  readonly exponent: Int;
  readonly large: Int;
  readonly control: Int;
}

function addMagnitudes(f: FunctionBuilder, kit: FiniteKit, parts: SumParts, small: Wide): void {
  const { destination, sign, exponent, large, control } = parts;
  const sum = f.let(large.add(small.high));
  f.if(sum.ltU(large), () => {
    const high = sum.shrU(1).or(INTEGER_BIT);
    const low = sum.shl(63).or(small.low.shrU(1)).or(small.low.and(1));
    f.return(f.callFor(kit.roundPack, destination, sign, exponent.add(1), high, low, control));
  });
  f.return(f.callFor(kit.roundPack, destination, sign, exponent, sum, small.low, control));
}

function subtractMagnitudes(f: FunctionBuilder, kit: FiniteKit, parts: SumParts, small: Wide): void {
  const { destination, sign, exponent, large, control } = parts;
  const high = f.local('i64');
  const low = f.local('i64');
  const place = f.local('i32');
  f.set(low, small.low.negate());
  f.set(high, large.sub(small.high).sub(small.low.ne(0).toI64Unsigned()));
  f.set(place, exponent);
  f.if(f.get(high).eqz(), () => {
    f.if(f.get(low).eqz(), () => {
      returnZeroSum(f, destination, control);
    });
    f.set(high, f.get(low));
    f.set(low, Int.const64(0));
    f.set(place, exponent.sub(64));
  });
  const shift = f.let(f.get(high).clz());
  f.if(shift.ne(0), () => {
    f.set(high, f.get(high).shl(shift).or(f.get(low).shrU(shift.negate())));
    f.set(low, f.get(low).shl(shift));
    f.set(place, f.get(place).sub(shift.toI32()));
  });
  f.return(f.callFor(kit.roundPack, destination, sign, f.get(place), f.get(high), f.get(low), control));
}

/** x - x, or zeros of different signs: +0, or -0 when rounding down (SDM vol. 1 4.8.3.1). */
function returnZeroSum(
  f: FunctionBuilder,
  destination: Int,
  control: Int,
  flags: Int | undefined = undefined,
): void {
  packZero(f, destination, control.shrU(FCW_RC_SHIFT).and(3).eq(ROUND.DOWN));
  f.return(flags ?? Int.const32(0));
}

/** Sums with a NaN, infinity, zero or denormal: (destination, x, y, control, negate y) -> flags. */
function emitSpecialSum(kit: Kit, finite: FunctionReference): FunctionReference {
  return operation(kit.module, 5, (f, ...args) => {
    const [destination, first, second, control, negated] = args as [Int, Int, Int, Int, Int];
    const denormal = screened(f, kit.screen, [destination, first, second, control]);
    const x = unpack(f, first);
    const y = unpack(f, second);
    const ySign = f.let(y.sign.xor(negated));
    f.if(isInfinity(x).and(isInfinity(y)).and(x.sign.ne(ySign)), () =>
      returnInvalid(f, destination, control),
    );
    stopAtDenormal(f, denormal, control);
    f.if(isInfinity(x), () => {
      packInfinity(f, destination, x.sign);
      f.return(denormal);
    });
    f.if(isInfinity(y), () => {
      packInfinity(f, destination, ySign);
      f.return(denormal);
    });
    const returnRounded = (value: Unpacked, sign: Int): void => {
      const scaled = normalize(f, value);
      const args = [destination, sign, scaled.exponent, scaled.significand, Int.const64(0), control];
      f.return(f.callFor(kit.roundPack, ...args).or(denormal));
    };
    f.if(isZero(x), () => {
      f.if(isZero(y), () => {
        f.if(x.sign.ne(ySign), () => returnZeroSum(f, destination, control, denormal));
        packZero(f, destination, ySign);
        f.return(denormal);
      });
      returnRounded(y, ySign);
    });
    f.if(isZero(y), () => returnRounded(x, x.sign));
    const [scaledX, scaledY] = [normalize(f, x), normalize(f, y)];
    f.return(f.callFor(finite, ...sumArguments(destination, scaledX, scaledY, ySign, control)).or(denormal));
  });
}
