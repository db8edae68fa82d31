import { Int } from '../../../wasm/expression.ts';
import type { FunctionReference } from '../../../wasm/function.ts';
import { FSW } from '../control.ts';
import { isNormal, unpack } from './format.ts';
import { type Kit, operation } from './kit.ts';
import { DENORMAL_OPERAND, isDenormal, isNan, isSignaling, isUnsupported, isZero } from './operands.ts';

const UNORDERED = FSW.C3 | FSW.C2 | FSW.C0;

/**
 * Emits `compare` and `compareQuiet`: (x, y, control) -> flags with the relation in C3, C2 and C0 (SDM vol. 2A
 * "FCOM", "FUCOM"). They differ in quiet NaNs, which are invalid to the first only.
 */
export function emitCompare(kit: Kit): { compare: FunctionReference; compareQuiet: FunctionReference } {
  const entry = (quiet: boolean): FunctionReference =>
    operation(kit.module, 3, (f, ...args) => {
      const [first, second, control] = args as [Int, Int, Int];
      const x = unpack(f, first);
      const y = unpack(f, second);
      const flags = f.local('i32');
      f.set(flags, Int.const32(0));
      f.if(isNormal(x).and(isNormal(y)).and(control.and(DENORMAL_OPERAND).eqz()).eqz(), () => {
        f.if(isUnsupported(x).or(isUnsupported(y)), () => f.return(Int.const32(FSW.IE | UNORDERED)));
        f.if(isNan(x).or(isNan(y)), () => {
          f.return(quiet ? isSignaling(x).or(isSignaling(y)).or(UNORDERED) : Int.const32(FSW.IE | UNORDERED));
        });
        const denormal = isDenormal(x).or(isDenormal(y)).or(control.and(DENORMAL_OPERAND).ne(0));
        f.set(flags, denormal.shl(1));
        // A pseudo-denormal equals the normal number with exponent field 1, so the field alone must not decide.
        f.if(isZero(x).and(isZero(y)), () => f.return(f.get(flags).or(FSW.C3)));
      });
      const xe = f.let(x.exponent.add(x.exponent.eqz()));
      const ye = f.let(y.exponent.add(y.exponent.eqz()));
      const same = xe.eq(ye).and(x.significand.eq(y.significand));
      f.if(x.sign.eq(y.sign).and(same), () => f.return(f.get(flags).or(FSW.C3)));
      const magnitudeBelow = xe.ltS(ye).or(xe.eq(ye).and(x.significand.ltU(y.significand)));
      const below = x.sign.select(magnitudeBelow.xor(x.sign), x.sign.ne(y.sign));
      f.return(f.get(flags).or(below.shl(8)));
    });
  return { compare: entry(false), compareQuiet: entry(true) };
}
