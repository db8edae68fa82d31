import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { FCW, FSW } from '../control.ts';
import { normalize, packZero, type Unpacked, unpack } from './format.ts';
import { type Kit, operation } from './kit.ts';
import { isInfinity, isZero, returnInvalid, screened, stopAtDenormal } from './operands.ts';

/** In the answer: there is no quotient. C0 and C3 stay, C1 and C2 are clear. */
export const CONDITIONS_KEPT = 0x1_0000;

interface Division {
  readonly destination: Int;
  readonly control: Int;
  readonly denormal: Int;
  readonly x: Unpacked;
  readonly y: Unpacked;
  /** Exponent of x less that of y, both normalized. */
  readonly distance: Int;
}

/**
 * Emits `remainder` (FPREM: quotient truncated) and `remainderNearest` (FPREM1: quotient rounded to nearest):
 * (destination, x, y, control) -> flags with the quotient's low bits in C0 (bit 2), C3 (bit 1), C1 (bit 0), or C2
 * where the reduction is not complete (SDM vol. 2A "FPREM", "FPREM1"); or with CONDITIONS_KEPT.
 */
export function emitRemainder(kit: Kit): {
  remainder: FunctionReference;
  remainderNearest: FunctionReference;
} {
  const entry = (nearest: boolean): FunctionReference =>
    operation(kit.module, 4, (f, ...args) => {
      const [destination, first, second, word] = args as [Int, Int, Int, Int];
      const denormal = screened(f, kit.screen, [destination, first, second, word], CONDITIONS_KEPT);
      const rawX = unpack(f, first);
      const rawY = unpack(f, second);
      // Precision control does not act here (SDM vol. 1 8.1.5.2).
      const control = f.let(word.or(FCW.PC));
      f.if(isInfinity(rawX).or(isZero(rawY)), () => {
        returnInvalid(f, destination, control, CONDITIONS_KEPT);
      });
      stopAtDenormal(f, denormal, control, CONDITIONS_KEPT);
      f.if(isZero(rawX), () => {
        packZero(f, destination, rawX.sign);
        f.return(denormal);
      });
      const x = normalize(f, rawX);
      f.if(isInfinity(rawY), () => {
        f.return(packExact(f, kit, destination, x.sign, x.exponent, x.significand, control).or(denormal));
      });
      const y = normalize(f, rawY);
      const distance = f.let(x.exponent.sub(y.exponent));
      const division = { destination, control, denormal, x, y, distance };
      f.if(distance.ltS(0), () => returnBelow(f, kit, division, nearest));
      f.if(distance.geS(64), () => returnPartial(f, kit, division));
      returnComplete(f, kit, division, nearest);
    });
  return { remainder: entry(false), remainderNearest: entry(true) };
}

/** |x| is less than |y|: the remainder is x, or x - y where that is nearer to zero. */
function returnBelow(f: FunctionBuilder, kit: Kit, division: Division, nearest: boolean): void {
  const { destination, control, denormal, x, y, distance } = division;
  if (nearest) {
    f.if(distance.eq(-1).and(x.significand.gtU(y.significand)), () => {
      const rest = f.let(y.significand.shl(1).sub(x.significand));
      const flags = packExact(f, kit, destination, x.sign.xor(1), x.exponent, rest, control);
      f.return(flags.or(denormal).or(FSW.C1));
    });
  }
  f.return(packExact(f, kit, destination, x.sign, x.exponent, x.significand, control).or(denormal));
}

/**
 * The quotient has more than 64 bits: takes off its top N bits, N between 32 and 63, and asks for another round
 * with C2. N as processors have it: 32 plus the distance modulo 32.
 */
function returnPartial(f: FunctionBuilder, kit: Kit, division: Division): void {
  const { destination, control, denormal, x, y, distance } = division;
  const bits = f.let(distance.and(31).or(32));
  const rest = divide(f, kit, x, y, bits).rest;
  const exponent = f.let(x.exponent.sub(bits));
  f.return(packExact(f, kit, destination, x.sign, exponent, rest, control).or(denormal).or(FSW.C2));
}

function returnComplete(f: FunctionBuilder, kit: Kit, division: Division, nearest: boolean): void {
  const { destination, control, denormal, x, y, distance } = division;
  const divided = divide(f, kit, x, y, distance);
  const rest = f.local('i64');
  const quotient = f.local('i64');
  const sign = f.local('i32');
  f.set(rest, divided.rest);
  f.set(quotient, divided.quotient);
  f.set(sign, x.sign);
  if (nearest) {
    const r = f.get(rest);
    const tie = r.shl(1).eq(y.significand).and(f.get(quotient).toI32());
    f.if(r.ltS(0).or(r.shl(1).gtU(y.significand)).or(tie), () => {
      f.set(rest, y.significand.sub(r));
      f.set(quotient, f.get(quotient).add(1));
      f.set(sign, x.sign.xor(1));
    });
  }
  const q = f.let(f.get(quotient).toI32());
  const conditions = q.and(4).shl(6).or(q.and(2).shl(13)).or(q.and(1).shl(9));
  f.if(f.get(rest).eqz(), () => {
    packZero(f, destination, x.sign);
    f.return(conditions.or(denormal));
  });
  const flags = packExact(f, kit, destination, f.get(sign), y.exponent, f.get(rest), control);
  f.return(flags.or(denormal).or(conditions));
}

/** Quotient and rest of x's significand * 2^bits (0 to 63) by y's; the quotient modulo 2^64. */
function divide(
  f: FunctionBuilder,
  kit: Kit,
  x: Unpacked,
  y: Unpacked,
  bits: Int,
): { quotient: Int; rest: Int } {
  const shift = f.let(bits.toI64Unsigned());
  const above = f.let(x.significand.geU(y.significand));
  const top = f.let(x.significand.sub(y.significand.select(0, above)));
  const high = top.shrU(1).shrU(Int.const64(63).sub(shift));
  const low = f.let(top.shl(shift));
  const quotient = f.callFor(kit.divideWide, high, low, y.significand);
  return {
    quotient: quotient.add(above.toI64Unsigned().shl(shift)),
    rest: f.let(low.sub(quotient.mul(y.significand))),
  };
}

/** Stores rest * 2^(exponent - BIAS - 63), which has at most 64 bits; zero where `rest` is zero. */
function packExact(
  f: FunctionBuilder,
  kit: Kit,
  destination: Int,
  sign: Int,
  exponent: Int,
  rest: Int,
  control: Int,
): Int {
  const flags = f.local('i32');
  f.set(flags, Int.const32(0));
  f.if(
    rest.eqz(),
    () => packZero(f, destination, sign),
    () => {
      const shift = f.let(rest.clz());
      const top = exponent.sub(shift.toI32());
      f.set(
        flags,
        f.callFor(kit.roundPack, destination, sign, top, rest.shl(shift), Int.const64(0), control),
      );
    },
  );
  return f.get(flags);
}
