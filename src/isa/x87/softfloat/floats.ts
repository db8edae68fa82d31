import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { FCW_RC_SHIFT, FSW, ROUND } from '../control.ts';
import {
  BIAS,
  INTEGER_BIT,
  MAX_EXPONENT,
  normalize,
  pack,
  QUIET_BIT,
  type Unpacked,
  unpack,
} from './format.ts';
import { type Kit, operation } from './kit.ts';
import { isNan, isUnsupported } from './operands.ts';
import { roundIncrement } from './rounding.ts';
import { shiftRightSticky } from './wide.ts';

/** Single or double precision (SDM vol. 1 table 4-2): bits in all, bits of precision with the implied one. */
export interface Narrow {
  readonly bits: 32 | 64;
  readonly precision: number;
  readonly bias: number;
  readonly maxExponent: number;
}

export const SINGLE: Narrow = { bits: 32, precision: 24, bias: 127, maxExponent: 255 };
export const DOUBLE: Narrow = { bits: 64, precision: 53, bias: 1023, maxExponent: 2047 };

/**
 * Emits (destination slot, source address) -> DE or 0: widens a single or double exactly. Signalling NaNs stay so:
 * the operation that takes the number decides about them.
 */
export function emitWiden(kit: Kit, format: Narrow): FunctionReference {
  const fractionBits = format.precision - 1;
  return operation(kit.module, 2, (f, destination, source) => {
    const raw = f.let(Int.load('i64', format.bits, source!));
    const sign = f.let(raw.shrU(format.bits - 1).toI32());
    const field = f.let(raw.shrU(fractionBits).toI32().and(format.maxExponent));
    const fraction = f.let(raw.shl(64 - fractionBits).shrU(1));
    f.if(field.sub(1).ltU(format.maxExponent - 1), () => {
      pack(f, destination!, sign, field.add(BIAS - format.bias), fraction.or(INTEGER_BIT));
      f.return(Int.const32(0));
    });
    f.if(field.ne(0), () => {
      pack(f, destination!, sign, MAX_EXPONENT, fraction.or(INTEGER_BIT));
      f.return(Int.const32(0));
    });
    f.if(fraction.eqz(), () => {
      pack(f, destination!, sign, 0, fraction);
      f.return(Int.const32(0));
    });
    const shift = f.let(fraction.clz());
    const exponent = Int.const32(BIAS - format.bias + 1).sub(shift.toI32());
    pack(f, destination!, sign, exponent, fraction.shl(shift));
    f.return(Int.const32(FSW.DE));
  });
}

/** Emits (destination slot, source address, control) -> flags: FLD of a single or double (SDM vol. 2A "FLD"). */
export function emitFromFloat(kit: Kit, widen: FunctionReference): FunctionReference {
  return operation(kit.module, 4, (f, ...args) => {
    const [destination, source, control, scratch] = args as [Int, Int, Int, Int];
    const denormal = f.callFor(widen, scratch, source);
    const x = unpack(f, scratch);
    const signaling = f.let(isNan(x).and(x.significand.and(QUIET_BIT).eqz()));
    const flags = f.let(denormal.or(signaling));
    // An unmasked #D does not keep processors from loading the number; #IA does.
    f.if(signaling.and(control.not()).eqz(), () => {
      const quiet = signaling.toI64Unsigned().shl(62);
      pack(f, destination, x.sign, x.exponent, x.significand.or(quiet));
    });
    f.return(flags);
  });
}

interface Narrowing {
  readonly format: Narrow;
  readonly destination: Int;
  readonly control: Int;
  readonly x: Unpacked;
}

/**
 * Emits (destination address, source slot, control) -> flags: rounds to a single or double in memory (SDM vol. 2A
 * "FST/FSTP"). An unmasked #IA, #O or #U leaves the memory as it was (SDM vol. 1 8.5.4, 8.5.5). No #D here.
 */
export function emitToFloat(kit: Kit, format: Narrow): FunctionReference {
  return operation(kit.module, 3, (f, ...args) => {
    const [destination, source, control] = args as [Int, Int, Int];
    const x = unpack(f, source);
    const parts = { format, destination, control, x };
    f.if(isUnsupported(x), () => {
      f.if(control.and(FSW.IE), () => {
        storeFields(f, parts, Int.const32(1), Int.const32(format.maxExponent), Int.const64(QUIET_BIT));
      });
      f.return(Int.const32(FSW.IE));
    });
    f.if(x.exponent.eq(MAX_EXPONENT), () => returnSpecial(f, parts));
    f.if(x.significand.eqz(), () => {
      storeFields(f, parts, x.sign, Int.const32(0), x.significand);
      f.return(Int.const32(0));
    });
    returnRounded(f, { ...parts, x: normalize(f, x) });
  });
}

/** Stores sign, exponent field and the top of `significand` below its integer bit. */
function storeFields(f: FunctionBuilder, parts: Narrowing, sign: Int, exponent: Int, significand: Int): void {
  const { bits, precision } = parts.format;
  const fraction = significand.shl(1).shrU(65 - precision);
  const fields = sign
    .toI64Unsigned()
    .shl(bits - precision)
    .or(exponent.toI64Unsigned())
    .shl(precision - 1);
  f.store(bits, parts.destination, fields.or(fraction));
}

function returnSpecial(f: FunctionBuilder, parts: Narrowing): void {
  const { control, x, format } = parts;
  const signaling = f.let(isNan(x).and(x.significand.and(QUIET_BIT).eqz()));
  f.if(signaling.and(control.not()).eqz(), () => {
    const quiet = isNan(x).toI64Unsigned().shl(62);
    storeFields(f, parts, x.sign, Int.const32(format.maxExponent), x.significand.or(quiet));
  });
  f.return(signaling);
}

function returnRounded(f: FunctionBuilder, parts: Narrowing): void {
  const { control, x, format } = parts;
  const dropped = 64 - format.precision;
  const exponent = f.let(x.exponent.add(format.bias - BIAS));
  const rest = f.let(x.significand.shl(format.precision));
  const up = roundIncrement(f, control, x.sign, x.significand.shrU(dropped).toI32(), rest);
  const rounded = f.let(x.significand.shrU(dropped).add(up.toI64Unsigned()).shl(dropped));
  const carried = rounded.eqz();
  const place = f.let(exponent.add(carried));
  const flags = f.let(rest.ne(0).shl(5).or(up.shl(9)));
  f.if(exponent.leS(0), () => returnTiny(f, parts, exponent, place));
  f.if(place.geS(format.maxExponent), () => returnOverflow(f, parts));
  storeFields(f, parts, x.sign, place, rounded);
  f.return(flags);
}

function returnTiny(f: FunctionBuilder, parts: Narrowing, exponent: Int, place: Int): void {
  const { control, x, format, destination } = parts;
  const tiny = f.let(place.leS(0));
  f.if(tiny.and(control.and(FSW.UE).eqz()), () => f.return(Int.const32(FSW.UE)));
  const count = f.let(Int.const32(65 - format.precision).sub(exponent));
  const { high, low } = shiftRightSticky(f, x.significand, count);
  const up = roundIncrement(f, control, x.sign, high.toI32(), low);
  // A carry out of the fraction becomes exponent field 1, as it should.
  const magnitude = high.add(up.toI64Unsigned());
  f.store(
    format.bits,
    destination,
    x.sign
      .toI64Unsigned()
      .shl(format.bits - 1)
      .or(magnitude),
  );
  const inexact = f.let(low.ne(0));
  f.return(inexact.shl(5).or(inexact.and(tiny).shl(4)).or(up.shl(9)));
}

function returnOverflow(f: FunctionBuilder, parts: Narrowing): void {
  const { control, x, format } = parts;
  f.if(control.and(FSW.OE).eqz(), () => f.return(Int.const32(FSW.OE)));
  const mode = f.let(control.shrU(FCW_RC_SHIFT).and(3));
  f.if(mode.eqz().or(mode.eq(Int.const32(ROUND.UP).sub(x.sign))), () => {
    storeFields(f, parts, x.sign, Int.const32(format.maxExponent), Int.const64(0));
    f.return(Int.const32(FSW.OE | FSW.PE | FSW.C1));
  });
  storeFields(f, parts, x.sign, Int.const32(format.maxExponent - 1), Int.const64(-1));
  f.return(Int.const32(FSW.OE | FSW.PE));
}
