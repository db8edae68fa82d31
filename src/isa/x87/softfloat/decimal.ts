import { Int } from '../../../wasm/expression.ts';
import type { FunctionReference } from '../../../wasm/function.ts';
import { FSW } from '../control.ts';
import { MAX_EXPONENT, pack, unpack } from './format.ts';
import { packInteger, roundMagnitude } from './integers.ts';
import { type Kit, operation } from './kit.ts';
import { isUnsupported } from './operands.ts';

/** Packed BCD has 18 digits (SDM vol. 1 4.7). */
const LIMIT = 10n ** 18n;
const DIGIT_BYTES = 9;

/** Emits (destination slot, source address) -> 0: FBLD. The sign of zero counts; other bits of byte 9 do not. */
export function emitFromDecimal(kit: Kit): FunctionReference {
  return operation(kit.module, 2, (f, destination, source) => {
    const value = f.local('i64');
    const place = f.local('i32');
    f.set(value, Int.const64(0));
    f.set(place, Int.const32(DIGIT_BYTES));
    f.loop((again) => {
      f.set(place, f.get(place).sub(1));
      const byte = f.let(Int.load('i64', 8, source!.add(f.get(place))));
      const pair = byte.shrU(4).mul(10).add(byte.and(15));
      f.set(value, f.get(value).mul(100).add(pair));
      f.branch(again, f.get(place).ne(0));
    });
    const negative = f.let(Int.load('i32', 8, source!, DIGIT_BYTES).shrU(7));
    f.if(f.get(value).eqz(), () => {
      pack(f, destination!, negative, 0, Int.const64(0));
      f.return(Int.const32(0));
    });
    packInteger(f, destination!, f.let(f.get(value).negate().select(f.get(value), negative)));
    f.return(Int.const32(0));
  });
}

/**
 * Emits (destination address, source slot, control) -> flags: FBSTP. What has more than 18 digits, or is no number,
 * is invalid: the packed BCD indefinite if masked (SDM vol. 2A "FBSTP").
 */
export function emitToDecimal(kit: Kit): FunctionReference {
  return operation(kit.module, 3, (f, ...args) => {
    const [destination, source, control] = args as [Int, Int, Int];
    const x = unpack(f, source);
    const rounded = roundMagnitude(f, x, control);
    const refused = isUnsupported(x).or(x.exponent.eq(MAX_EXPONENT)).or(rounded.huge);
    f.if(refused.or(rounded.magnitude.geU(LIMIT)), () => {
      f.if(control.and(FSW.IE), () => {
        f.store(64, destination, Int.const64(0xc000_0000_0000_0000n));
        f.store(16, destination, Int.const32(0xffff), 8);
      });
      f.return(Int.const32(FSW.IE));
    });
    const rest = f.local('i64');
    const place = f.local('i32');
    f.set(rest, rounded.magnitude);
    f.set(place, Int.const32(0));
    f.loop((again) => {
      const pair = f.let(f.get(rest).remU(100));
      const byte = pair.divU(10).shl(4).or(pair.remU(10));
      f.store(8, destination.add(f.get(place)), byte);
      f.set(rest, f.get(rest).divU(100));
      f.set(place, f.get(place).add(1));
      f.branch(again, f.get(place).ltU(DIGIT_BYTES));
    });
    f.store(8, destination, x.sign.shl(7), DIGIT_BYTES);
    f.return(rounded.flags);
  });
}
