import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference, Local } from '../../../wasm/function.ts';
import { type ModuleBuilder, signature } from '../../../wasm/module.ts';

/** A 128-bit number in two i64 halves. */
export interface Wide {
  readonly high: Int;
  readonly low: Int;
}

const LOW_32 = 0xffff_ffffn;

/** The 128-bit product of two unsigned i64. */
export function multiplyWide(f: FunctionBuilder, x: Int, y: Int): Wide {
  const [x0, x1] = [f.let(x.and(LOW_32)), f.let(x.shrU(32))];
  const [y0, y1] = [f.let(y.and(LOW_32)), f.let(y.shrU(32))];
  const low = f.let(x0.mul(y0));
  const middle = f.let(x1.mul(y0).add(low.shrU(32)));
  const other = f.let(x0.mul(y1).add(middle.and(LOW_32)));
  return {
    high: f.let(x1.mul(y1).add(middle.shrU(32)).add(other.shrU(32))),
    low: f.let(other.shl(32).or(low.and(LOW_32))),
  };
}

/**
 * Emits the quotient of a 128-bit number by a 64-bit one whose top bit is set: (high, low, divisor) -> i64, with
 * `high` below `divisor`. Schoolbook division in digits of 32 bits (Knuth, TAOCP vol. 2, 4.3.1, algorithm D).
 */
export function emitDivideWide(module: ModuleBuilder): FunctionReference {
  return module.function(signature(['i64', 'i64', 'i64'], ['i64']), (f) => {
    const [high, low, divisor] = [f.parameter(0), f.parameter(1), f.parameter(2)];
    const d1 = f.let(divisor.shrU(32));
    const d0 = f.let(divisor.and(LOW_32));
    const digit = (rest: Int, next: Int): Local => {
      const quotient = f.local('i64');
      const remainder = f.local('i64');
      const q = f.get(quotient);
      const r = f.get(remainder);
      f.set(quotient, rest.divU(d1));
      f.set(remainder, rest.sub(q.mul(d1)));
      // The estimate from the top digit alone is at most two too large.
      const tooLarge = q
        .shrU(32)
        .ne(0)
        .or(q.mul(d0).gtU(r.shl(32).or(next)));
      const correct = (again: () => void): void =>
        f.if(tooLarge, () => {
          f.set(quotient, q.sub(1));
          f.set(remainder, r.add(d1));
          again();
        });
      correct(() => f.if(r.shrU(32).eqz(), () => correct(() => undefined)));
      return quotient;
    };
    const next = f.let(low.shrU(32));
    const first = f.get(digit(high, next));
    const rest = f.let(high.shl(32).or(next).sub(first.mul(divisor)));
    const second = f.get(digit(rest, low.and(LOW_32)));
    f.return(first.shl(32).add(second));
  });
}

/**
 * `value` moved right by `count` (i32, at least 0) into 128 bits, with whatever falls off the end kept as a sticky
 * lowest bit, so that rounding still sees that the value was not exact.
 */
export function shiftRightSticky(f: FunctionBuilder, value: Int, count: Int): Wide {
  const high = f.local('i64');
  const low = f.local('i64');
  const wide = f.let(count.toI64Unsigned());
  f.set(high, value);
  f.set(low, Int.const64(0));
  f.if(
    count.ltU(64),
    () =>
      f.if(count, () => {
        f.set(high, value.shrU(wide));
        f.set(low, value.shl(wide.negate()));
      }),
    () => {
      f.set(high, Int.const64(0));
      f.if(
        count.ltU(128),
        () => f.set(low, value.shrU(wide).or(lostBits(value, wide))),
        () => f.set(low, value.ne(0).toI64Unsigned()),
      );
    },
  );
  return { high: f.get(high), low: f.get(low) };
}

/** i64 1 if any of the low `count` (i64, modulo 64) bits of `value` is set. */
export const lostBits = (value: Int, count: Int): Int =>
  value.and(Int.const64(1).shl(count).sub(1)).ne(0).toI64Unsigned();
