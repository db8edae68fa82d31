import { MXCSR } from '../../../arch/registers.ts';
import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder, FunctionReference } from '../../../wasm/function.ts';
import { type ModuleBuilder, signature } from '../../../wasm/module.ts';
import { V128 } from '../../../wasm/vector.ts';
import { DOUBLE, SINGLE } from '../../x87/softfloat/floats.ts';
import { emitDivideWide } from '../../x87/softfloat/wide.ts';
import { type ArithmeticLanes, emitArithmeticLanes } from './arithmetic.ts';
import { emitConvertLanes } from './convert.ts';
import { emitEstimateLanes } from './estimate.ts';
import type { LaneKit, SoftPlaces } from './lane.ts';
import type { ScalarName, VectorName } from './names.ts';
import { emitOrderLanes, type OrderLanes } from './order.ts';
import { emitRoundNarrow } from './round.ts';

/** (record, x, y, extra) -> result, of vectors and of one lane. The record is handed on to `exception`. */
const VECTOR = signature(['i32', 'v128', 'v128', 'i32'], ['v128']);
const SCALAR = signature(['i32', 'i64', 'i64', 'i32'], ['i64']);

/** The functions in the module, by name. They may have raised an exception when they return. */
export interface SoftOperations {
  readonly vector: Readonly<Record<VectorName, FunctionReference>>;
  readonly scalar: Readonly<Record<ScalarName, FunctionReference>>;
}

interface Maker {
  /** `from` and `to` are the widths of source and result lanes, of which there are `count`; others become zero. */
  vector(lane: FunctionReference, from: 32 | 64, to: 32 | 64, count: 2 | 4): FunctionReference;
  scalar(lane: FunctionReference): FunctionReference;
}

/**
 * Emits all operations that WebAssembly's own instructions cannot be trusted with. `exception` (record) raises the
 * floating-point exception that is flagged and unmasked.
 */
export function emitSoftOperations(
  module: ModuleBuilder,
  places: SoftPlaces,
  exception: FunctionReference,
): SoftOperations {
  const kit: LaneKit = { module, places };
  const make = makerFor(kit, exception);
  const divideWide = emitDivideWide(module);
  const roundSingle = emitRoundNarrow(kit, SINGLE);
  const roundDouble = emitRoundNarrow(kit, DOUBLE);
  const single = {
    ...emitArithmeticLanes(kit, { module, divideWide, roundPack: roundSingle }, SINGLE),
    ...emitOrderLanes(kit, SINGLE),
  };
  const double = {
    ...emitArithmeticLanes(kit, { module, divideWide, roundPack: roundDouble }, DOUBLE),
    ...emitOrderLanes(kit, DOUBLE),
  };
  const convert = emitConvertLanes(kit, roundSingle);
  const estimate = emitEstimateLanes(kit);
  return {
    vector: {
      ...vectors(make, 'ps', single, 32, 4),
      ...vectors(make, 'pd', double, 64, 2),
      'reciprocal.ps': make.vector(estimate.reciprocal, 32, 32, 4),
      'reciprocalRoot.ps': make.vector(estimate.reciprocalRoot, 32, 32, 4),
      'ps.pd': make.vector(convert.singleToDouble, 32, 64, 2),
      'pd.ps': make.vector(convert.doubleToSingle, 64, 32, 2),
      'dq.ps': make.vector(convert.integerToSingle, 32, 32, 4),
      'pi.ps': make.vector(convert.integerToSingle, 32, 32, 2),
      'ps.dq': make.vector(convert.singleToInteger, 32, 32, 4),
      'ps.pi': make.vector(convert.singleToInteger, 32, 32, 2),
      'pd.dq': make.vector(convert.doubleToInteger, 64, 32, 2),
      'pd.pi': make.vector(convert.doubleToInteger, 64, 32, 2),
    },
    scalar: {
      ...scalars(make, 'ss', single),
      ...scalars(make, 'sd', double),
      'reciprocal.ss': make.scalar(estimate.reciprocal),
      'reciprocalRoot.ss': make.scalar(estimate.reciprocalRoot),
      'ss.sd': make.scalar(convert.singleToDouble),
      'sd.ss': make.scalar(convert.doubleToSingle),
      'si.ss': make.scalar(convert.integerToSingle),
      'ss.si': make.scalar(convert.singleToInteger),
      'sd.si': make.scalar(convert.doubleToInteger),
    },
  };
}

const BINARY_NAMES = ['add', 'sub', 'mul', 'div', 'sqrt', 'min', 'max', 'compare'] as const;
type BinaryName = (typeof BINARY_NAMES)[number];
type Functions<Name extends string> = Record<Name, FunctionReference>;

function vectors<Suffix extends 'ps' | 'pd'>(
  make: Maker,
  suffix: Suffix,
  lanes: ArithmeticLanes & OrderLanes,
  bits: 32 | 64,
  count: 2 | 4,
): Functions<`${BinaryName}.${Suffix}`> {
  const entry = (name: BinaryName) => [`${name}.${suffix}`, make.vector(lanes[name], bits, bits, count)];
  return Object.fromEntries(BINARY_NAMES.map(entry)) as Functions<`${BinaryName}.${Suffix}`>;
}

function scalars<Suffix extends 'ss' | 'sd'>(
  make: Maker,
  suffix: Suffix,
  lanes: ArithmeticLanes & OrderLanes,
): Functions<`${BinaryName | 'order'}.${Suffix}`> {
  const entry = (name: BinaryName | 'order') => [`${name}.${suffix}`, make.scalar(lanes[name])];
  return Object.fromEntries(
    [...BINARY_NAMES, 'order' as const].map(entry),
  ) as Functions<`${BinaryName | 'order'}.${Suffix}`>;
}

function makerFor(kit: LaneKit, exception: FunctionReference): Maker {
  const complete = emitComplete(kit, exception);
  const shape = (bits: 32 | 64): 'i32x4' | 'i64x2' => (bits === 32 ? 'i32x4' : 'i64x2');
  return {
    vector: (lane, from, to, count) =>
      kit.module.function(VECTOR, (f) => {
        const [x, y, extra] = [f.vectorParameter(1), f.vectorParameter(2), f.parameter(3)];
        begin(f, kit);
        const result = f.local('v128');
        f.set(result, V128.zero());
        for (let n = 0; n < count; n++) {
          const operand = (value: V128): Int => value.extract(shape(from), n).toI64Unsigned();
          const made = f.callFor(lane, operand(x), operand(y), extra);
          f.set(result, f.getVector(result).replace(shape(to), n, to === 32 ? made.toI32() : made));
        }
        f.call(complete, f.parameter(0));
        f.return(f.getVector(result));
      }),
    scalar: (lane) =>
      kit.module.function(SCALAR, (f) => {
        begin(f, kit);
        const made = f.callFor(lane, f.parameter(1), f.parameter(2), f.parameter(3));
        f.call(complete, f.parameter(0));
        f.return(made);
      }),
  };
}

function begin(f: FunctionBuilder, { places }: LaneKit): void {
  f.store(32, Int.const32(0), Int.const32(0), places.flags);
}

/** Exceptions that are found before anything is computed (SDM vol. 1 4.9.2). */
const BEFORE = MXCSR.IE | MXCSR.DE | MXCSR.ZE;

/**
 * Emits (record): takes the flags of all lanes into MXCSR and raises what is unmasked. An unmasked exception before the
 * computation keeps the flags of the computation from being set (SDM vol. 1 11.5.3).
 */
function emitComplete({ module, places }: LaneKit, exception: FunctionReference): FunctionReference {
  return module.function(signature(['i32'], []), (f) => {
    const base = Int.const32(0);
    const flags = f.let(Int.load('i32', 32, base, places.flags));
    f.if(flags.eqz(), () => f.return());
    const mxcsr = f.let(Int.load('i32', 32, base, places.mxcsr));
    const unmasked = f.let(flags.and(mxcsr.shrU(7).not()));
    const before = f.let(unmasked.and(BEFORE));
    f.store(32, base, mxcsr.or(flags.and(BEFORE).select(flags, before)), places.mxcsr);
    f.if(unmasked, () => f.call(exception, f.parameter(0)));
  });
}
