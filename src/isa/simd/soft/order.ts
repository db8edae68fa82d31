import { EFLAGS, MXCSR } from '../../../arch/registers.ts';
import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import type { Narrow } from '../../x87/softfloat/floats.ts';
import {
  addFlags,
  isNan,
  isSignaling,
  type LaneKit,
  laneFunction,
  noteDenormals,
  operandOf,
} from './lane.ts';

export interface OrderLanes {
  readonly min: FunctionReference;
  readonly max: FunctionReference;
  /** `extra` is the predicate of CMPPS; the result is all ones or zero. */
  readonly compare: FunctionReference;
  /** `extra` 1: quiet NaNs raise nothing (UCOMISS); the result is the six arithmetic flags. */
  readonly order: FunctionReference;
}

/** Everything that compares: NaN rules differ, the order is the same. */
export function emitOrderLanes(kit: LaneKit, format: Narrow): OrderLanes {
  return {
    min: emitChoice(kit, format, (x, y) => x.ltS(y)),
    max: emitChoice(kit, format, (x, y) => x.gtS(y)),
    compare: emitCompare(kit, format),
    order: emitOrder(kit, format),
  };
}

/** A number that is no NaN as an integer (i64) with the same order; both zeros are 0. */
function rankOf(f: FunctionBuilder, format: Narrow, x: Int): Int {
  const shifted = f.let(x.shl(64 - format.bits));
  const positive = shifted.and(signBitClear);
  return f.let(positive.negate().select(positive, shifted.ltS(0)));
}
const signBitClear = 0x7fff_ffff_ffff_ffffn;

/** MIN and MAX give the second operand for NaNs and for zeros, whatever their signs (SDM vol. 2B "MINPS"). */
function emitChoice(kit: LaneKit, format: Narrow, better: (x: Int, y: Int) => Int): FunctionReference {
  return laneFunction(kit, (f, first, second) => {
    const x = operandOf(f, kit, format, first);
    const y = operandOf(f, kit, format, second);
    f.if(isNan(format, x).or(isNan(format, y)), () => {
      addFlags(f, kit, MXCSR.IE);
      f.return(y);
    });
    noteDenormals(f, kit, format, x, y);
    f.return(x.select(y, better(rankOf(f, format, x), rankOf(f, format, y))));
  });
}

/** Predicates that a quiet NaN makes invalid: LT, LE, NLT, NLE (SDM vol. 2A table 3-1). */
const SIGNALING_PREDICATES = 0b0110_0110;

function emitCompare(kit: LaneKit, format: Narrow): FunctionReference {
  return laneFunction(kit, (f, first, second, predicate) => {
    const x = operandOf(f, kit, format, first);
    const y = operandOf(f, kit, format, second);
    const inverted = f.let(predicate.shrU(2).and(1));
    const kind = f.let(predicate.and(3));
    f.if(isNan(format, x).or(isNan(format, y)), () => {
      const loud = Int.const32(SIGNALING_PREDICATES).shrU(predicate).and(1);
      addFlags(f, kit, loud.or(isSignaling(format, x)).or(isSignaling(format, y)));
      f.return(kind.eq(3).xor(inverted).toI64Unsigned().negate());
    });
    noteDenormals(f, kit, format, x, y);
    const [a, b] = [rankOf(f, format, x), rankOf(f, format, y)];
    const equal = a.eq(b).and(kind.eqz().or(kind.eq(2)));
    const less = a.ltS(b).and(kind.eq(1).or(kind.eq(2)));
    f.return(equal.or(less).xor(inverted).toI64Unsigned().negate());
  });
}

const UNORDERED = EFLAGS.ZF | EFLAGS.PF | EFLAGS.CF;

function emitOrder(kit: LaneKit, format: Narrow): FunctionReference {
  return laneFunction(kit, (f, first, second, quiet) => {
    const x = operandOf(f, kit, format, first);
    const y = operandOf(f, kit, format, second);
    f.if(isNan(format, x).or(isNan(format, y)), () => {
      addFlags(f, kit, quiet.xor(1).or(isSignaling(format, x)).or(isSignaling(format, y)));
      f.return(Int.const64(UNORDERED));
    });
    noteDenormals(f, kit, format, x, y);
    const [a, b] = [rankOf(f, format, x), rankOf(f, format, y)];
    f.return(a.eq(b).shl(6).or(a.ltS(b)).toI64Unsigned());
  });
}
