import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { signature } from '../../../wasm/module.ts';
import { BIAS, normalize, packInfinity, packZero, unpack } from './format.ts';
import { type FiniteKit, type Kit, operation } from './kit.ts';
import { isInfinity, isZero, returnInvalid, screened, stopAtDenormal } from './operands.ts';
import { multiplyWide } from './wide.ts';

/** Emits `sqrt`: (destination, x, control) -> flags (SDM vol. 2A "FSQRT"). */
export function emitSquareRoot(kit: Kit): FunctionReference {
  const finite = emitFiniteRoot(kit);
  return operation(kit.module, 3, (f, ...args) => {
    const [destination, source, control] = args as [Int, Int, Int];
    const denormal = screened(f, kit.screen, [destination, source, source, control]);
    const x = unpack(f, source);
    f.if(isZero(x), () => {
      packZero(f, destination, x.sign);
      f.return(denormal);
    });
    f.if(x.sign, () => returnInvalid(f, destination, control));
    stopAtDenormal(f, denormal, control);
    f.if(isInfinity(x), () => {
      packInfinity(f, destination, x.sign);
      f.return(denormal);
    });
    const scaled = normalize(f, x);
    const flags = f.callFor(finite, destination, scaled.exponent, scaled.significand, control);
    f.return(flags.or(denormal));
  });
}

/** The root of a positive normalized number: (destination, exponent, significand, control) -> flags. */
export function emitFiniteRoot(kit: FiniteKit): FunctionReference {
  const root = emitWideRoot(kit);
  return kit.module.function(signature(['i32', 'i32', 'i64', 'i32'], ['i32']), (f) => {
    const [destination, exponent, significand, control] = [0, 1, 2, 3].map((n) => f.parameter(n)) as [
      Int,
      Int,
      Int,
      Int,
    ];
    // value = significand * 2^(power - 63): with an even power left, the root of significand * 2^63 or 2^64 has 64 bits.
    const power = f.let(exponent.sub(BIAS));
    const odd = f.let(power.and(1).toI64Unsigned());
    const high = f.let(significand.shrU(Int.const64(1).sub(odd)));
    const low = f.let(significand.shl(63).select(0, odd.eqz()));
    const result = f.callFor(root, high, low);
    const square = multiplyWide(f, result, result);
    const remainderLow = f.let(low.sub(square.low));
    const remainderHigh = high.sub(square.high).sub(low.ltU(square.low).toI64Unsigned());
    // (r + 1/2)^2 = r^2 + r + 1/4: the rest is above a half when the remainder exceeds r, and never a half exactly.
    const aboveHalf = remainderHigh.ne(0).or(remainderLow.gtU(result));
    const tail = f.let(
      aboveHalf
        .toI64Unsigned()
        .shl(63)
        .or(aboveHalf.or(remainderLow.ne(0)).toI64Unsigned()),
    );
    const place = power.shrS(1).add(BIAS);
    f.return(f.callFor(kit.roundPack, destination, Int.const32(0), place, result, tail, control));
  });
}

/**
 * (high, low) -> integer square root of the 128-bit number, whose top two bits are not both zero. Each step takes the
 * root of the upper half and one division for the lower digits (P. Zimmermann, "Karatsuba Square Root", 1999).
 */
function emitWideRoot(kit: FiniteKit): FunctionReference {
  return kit.module.function(signature(['i64', 'i64'], ['i64']), (f) => {
    const [high, low] = [f.parameter(0), f.parameter(1)];
    const top = rootOf32Bits(f, high.shrU(32));
    const half = rootOf64Bits(f, high, top);
    const rest = f.let(high.sub(half.mul(half)));
    // (rest * 2^32 + next digit) / (2 * half), with both halved because the dividend may have 65 bits.
    const quotient = f.let(rest.shl(31).or(low.shrU(33)).divU(half));
    const left = f.let(rest.shl(32).or(low.shrU(32)).sub(quotient.mul(half).shl(1)));
    const tail = f.let(left.shl(32).or(low.and(0xffff_ffffn)));
    const square = f.let(quotient.mul(quotient));
    const sign = left.shrU(32).sub(quotient.shrU(32)).sub(tail.ltU(square).toI64Unsigned());
    f.return(half.shl(32).add(quotient).sub(sign.shrU(63)));
  });
}

function rootOf64Bits(f: FunctionBuilder, value: Int, top: Int): Int {
  const rest = f.let(value.shrU(32).sub(top.mul(top)));
  const dividend = f.let(rest.shl(16).or(value.shrU(16).and(0xffff)));
  const quotient = f.let(dividend.divU(top.shl(1)));
  const left = dividend.sub(quotient.mul(top).shl(1));
  const remainder = left.shl(16).or(value.and(0xffff)).sub(quotient.mul(quotient));
  return f.let(top.shl(16).add(quotient).sub(remainder.shrU(63)));
}

/** Bit by bit: 16 result bits of a value in [2^30, 2^32). */
function rootOf32Bits(f: FunctionBuilder, value: Int): Int {
  const root = f.local('i64');
  const bit = f.local('i64');
  const candidate = f.get(root).or(f.get(bit));
  f.set(root, Int.const64(0));
  f.set(bit, Int.const64(0x8000));
  f.loop((again) => {
    f.set(root, candidate.select(f.get(root), candidate.mul(candidate).leU(value)));
    f.set(bit, f.get(bit).shrU(1));
    f.branch(again, f.get(bit).ne(0));
  });
  return f.let(f.get(root));
}
