import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { type ModuleBuilder, signature } from '../../../wasm/module.ts';
import { FSW } from '../control.ts';
import {
  EXPONENT_OFFSET,
  MAX_EXPONENT,
  packIndefinite,
  QUIET_BIT,
  signExponent,
  type Unpacked,
  unpack,
} from './format.ts';

/** Set in a screen's answer when the operation ends there. */
export const SCREEN_DONE = 0x8000_0000 | 0;

/**
 * In the control argument of every operation: an operand was a denormal number before it was widened to the extended
 * format, so #D is due although the slot holds a normal number. It is a widening's answer (DE) moved up by 15.
 */
export const DENORMAL_OPERAND = 0x1_0000;
export const DENORMAL_OPERAND_SHIFT = 15;

/** Encodings the FPU has refused since the 387: pseudo-NaN, pseudo-infinity, unnormal (SDM vol. 1 8.2.2). */
export const isUnsupported = (value: Unpacked): Int => value.exponent.ne(0).and(value.significand.geS(0));

/** Whether a supported value is a NaN. */
export const isNan = (value: Unpacked): Int =>
  value.exponent.eq(MAX_EXPONENT).and(value.significand.shl(1).ne(0));

export const isSignaling = (value: Unpacked): Int => isNan(value).and(isQuiet(value).eqz());

export const isInfinity = (value: Unpacked): Int =>
  value.exponent.eq(MAX_EXPONENT).and(value.significand.shl(1).eqz());

export const isZero = (value: Unpacked): Int => value.exponent.toI64Unsigned().or(value.significand).eqz();

/** Denormals and pseudo-denormals alike. */
export const isDenormal = (value: Unpacked): Int => value.exponent.eqz().and(value.significand.ne(0));

const isQuiet = (value: Unpacked): Int => value.significand.and(QUIET_BIT).ne(0);

/**
 * Emits (destination, x, y, control) -> answer, the checks that come before any arithmetic, in their order of
 * priority (SDM vol. 1 4.9.2, 8.5.1.2): unsupported encodings, then NaNs. Where one settles the matter, the
 * destination is written (unless the exception is unmasked) and the answer is SCREEN_DONE with the flags; otherwise it is
 * DE, if an operand is a denormal, or 0. For operations on one number give it twice.
 */
export function emitScreen(module: ModuleBuilder): FunctionReference {
  const propagate = emitPropagate(module);
  return module.function(signature(['i32', 'i32', 'i32', 'i32'], ['i32']), (f) => {
    const [destination, first, second, control] = [0, 1, 2, 3].map((n) => f.parameter(n)) as [
      Int,
      Int,
      Int,
      Int,
    ];
    const x = unpack(f, first);
    const y = unpack(f, second);
    f.if(isUnsupported(x).or(isUnsupported(y)), () => {
      f.if(control.and(FSW.IE), () => packIndefinite(f, destination));
      f.return(Int.const32(SCREEN_DONE | FSW.IE));
    });
    f.if(isNan(x).or(isNan(y)), () => {
      const signaling = f.let(isSignaling(x).or(isSignaling(y)));
      f.if(signaling.and(control.and(FSW.IE).eqz()).eqz(), () =>
        f.call(propagate, destination, first, second),
      );
      f.return(signaling.or(SCREEN_DONE));
    });
    const denormal = isDenormal(x).or(isDenormal(y)).or(control.and(DENORMAL_OPERAND).ne(0));
    f.return(denormal.shl(1));
  });
}

/**
 * Leaves the function under construction if the screen settled it, with `extra` among the flags; returns its DE
 * otherwise. Other invalid operands and division by zero come before #D, hide it, and must be looked for next.
 */
export function screened(
  f: FunctionBuilder,
  screen: FunctionReference,
  args: readonly [Int, Int, Int, Int],
  extra = 0,
): Int {
  const answer = f.callFor(screen, ...args);
  f.if(answer.ltS(0), () => f.return(answer.and(~SCREEN_DONE).or(extra)));
  return answer;
}

/** Leaves the function under construction, without a result, if #D is due and unmasked. */
export function stopAtDenormal(f: FunctionBuilder, denormal: Int, control: Int, extra = 0): void {
  f.if(denormal.and(control.not()), () => f.return(Int.const32(FSW.DE | extra)));
}

/**
 * Emits (destination, x, y): the NaN that two operands, at least one a NaN, give (SDM vol. 1 table 4-7, x87 rules):
 * a quiet one before a signalling one, else the larger significand, else the positive one; made quiet.
 */
function emitPropagate(module: ModuleBuilder): FunctionReference {
  return module.function(signature(['i32', 'i32', 'i32'], []), (f) => {
    const [destination, first, second] = [f.parameter(0), f.parameter(1), f.parameter(2)];
    const x = unpack(f, first);
    const y = unpack(f, second);
    const larger = x.significand
      .gtU(y.significand)
      .or(x.significand.eq(y.significand).and(x.sign.leU(y.sign)));
    const bothNaN = f.let(isNan(x).and(isNan(y)));
    const mixed = f.let(bothNaN.and(isSignaling(x).ne(isSignaling(y))));
    const firstWins = f.local('i32');
    f.set(firstWins, larger);
    f.if(mixed, () => f.set(firstWins, isSignaling(y)));
    f.if(bothNaN.eqz(), () => f.set(firstWins, isNan(x)));
    const winner = f.let(first.select(second, f.get(firstWins)));
    const chosen = f.let(Int.load('i64', 64, winner).or(QUIET_BIT));
    f.store(16, destination, signExponent(winner), EXPONENT_OFFSET);
    f.store(64, destination, chosen);
  });
}

/** Ends the function under construction with the invalid-operation response: the real indefinite if masked. */
export function returnInvalid(f: FunctionBuilder, destination: Int, control: Int, extra = 0): void {
  f.if(control.and(FSW.IE), () => packIndefinite(f, destination));
  f.return(Int.const32(FSW.IE | extra));
}
