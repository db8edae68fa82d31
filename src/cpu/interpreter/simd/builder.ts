import { RDI } from '../../../isa/builder.ts';
import type {
  ScalarName,
  SimdBuilder,
  SimdUnit,
  SoftOperations,
  VectorName,
} from '../../../isa/simd/index.ts';
import { X87_LAYOUT } from '../../../isa/x87/index.ts';
import { Int } from '../../../wasm/expression.ts';
import type { Float } from '../../../wasm/float.ts';
import type { FunctionBuilder } from '../../../wasm/function.ts';
import type { V128 } from '../../../wasm/vector.ts';
import { FPU, MXCSR, SIMD_ACCESS, SIMD_STOP } from '../../layout.ts';
import type { InterpreterBuilder } from '../builder.ts';
import { type Dispatch, loadState, storeState } from '../dispatch.ts';
import type { FlagWords } from '../flags.ts';

const STATUS = FPU + X87_LAYOUT.STATUS;
const VALID = FPU + X87_LAYOUT.VALID;
const TOP = 0x3800;
const ALL_VALID = 0xff;

/** All masks and PE, with RC = nearest; the other bits do not matter to `roundsQuietly`. */
const QUIET_BITS = 0x7fa0;
const QUIET = 0x1fa0;

/** Makes the interpreter's code of a SIMD form. */
export class InterpreterSimdBuilder implements SimdBuilder {
  readonly flags: FlagWords;
  readonly #code: FunctionBuilder;
  readonly #dispatch: Dispatch;
  readonly #base: InterpreterBuilder;
  readonly #soft: SoftOperations;
  readonly #unit: SimdUnit;
  #empties = false;

  constructor(
    code: FunctionBuilder,
    dispatch: Dispatch,
    base: InterpreterBuilder,
    soft: SoftOperations,
    unit: SimdUnit,
  ) {
    this.#code = code;
    this.#dispatch = dispatch;
    this.#base = base;
    this.#soft = soft;
    this.#unit = unit;
    this.flags = base.flags as FlagWords;
  }

  /** The checks before everything else: #UD, #NM and, with MMX registers, #MF (SDM vol. 3A 12.1, 13.1; vol. 1 11.6.1). */
  begin(): void {
    const unit = this.#unit;
    if (unit === 'none') return;
    const usesMmx = unit !== 'sse';
    const usesSse = unit !== 'mmx';
    const stops = (usesMmx ? SIMD_STOP.MMX : 0) | (usesSse ? SIMD_STOP.SSE : 0);
    const state = usesMmx
      ? loadState(SIMD_ACCESS).or(loadState(STATUS).and(SIMD_STOP.MMX))
      : loadState(SIMD_ACCESS);
    this.#code.if(state.and(stops), () => {
      const { simdUnavailable } = this.#dispatch.imports;
      this.#code.call(simdUnavailable, this.#base.record, Int.const32(usesSse ? 1 : 0));
      this.#code.returnCall(this.#dispatch.lookup);
    });
  }

  /** After the semantics: MMX instructions leave TOP 0 and all registers valid, EMMS empty (SDM vol. 1 9.5.1, 9.6.3). */
  end(): void {
    if (this.#unit === 'mmx' || this.#unit === 'both') this.#enterMmx();
  }

  #enterMmx(): void {
    storeState(this.#code, VALID, Int.const32(this.#empties ? 0 : ALL_VALID));
    storeState(this.#code, STATUS, loadState(STATUS).and(~TOP));
  }

  let(value: Int): Int {
    return this.#code.let(value);
  }
  letVector(value: V128): V128 {
    return this.#code.letVector(value);
  }
  letFloat(value: Float): Float {
    return this.#code.letFloat(value);
  }
  if(condition: Int, then: () => void): void {
    this.#code.if(condition, then);
  }

  control(): Int {
    return loadState(MXCSR);
  }
  setControl(value: Int): void {
    storeState(this.#code, MXCSR, value);
  }
  roundsQuietly(): Int {
    return loadState(MXCSR).and(QUIET_BITS).eq(QUIET);
  }

  chooseVector(
    condition: Int,
    fast: V128,
    soft: VectorName,
    x: V128,
    y: V128,
    extra: Int = Int.const32(0),
  ): V128 {
    const code = this.#code;
    const result = code.local('v128');
    code.if(
      condition,
      () => code.set(result, fast),
      () => {
        // A processor has left the x87 registers behind when it finds the exception.
        if (this.#unit === 'both') this.#enterMmx();
        code.set(result, code.callForVector(this.#soft.vector[soft], this.#base.record, x, y, extra));
        this.#base.memory.leaveOnFault();
      },
    );
    return code.getVector(result);
  }

  chooseScalar(
    condition: Int,
    fast: Int,
    soft: ScalarName,
    x: Int,
    y: Int,
    extra: Int = Int.const32(0),
  ): Int {
    const code = this.#code;
    const result = code.local(fast.type);
    code.if(
      condition,
      () => code.set(result, fast),
      () => code.set(result, this.softScalar(soft, fast.type === 'i32' ? 32 : 64, x, y, extra)),
    );
    return code.get(result);
  }

  softScalar(soft: ScalarName, bits: 32 | 64, x: Int, y: Int, extra: Int = Int.const32(0)): Int {
    const operands = [x.toI64Unsigned(), y.toI64Unsigned()];
    const result = this.#code.callFor(this.#soft.scalar[soft], this.#base.record, ...operands, extra);
    this.#base.memory.leaveOnFault();
    return bits === 32 ? result.toI32() : result;
  }

  storeMasked(bits: 64 | 128, data: V128, mask: V128): void {
    const linear = this.#base.registerLinear(RDI, bits)(true);
    // Before the bytes are written: MASKMOVQ does it even when they are not, because of a fault.
    this.end();
    this.#base.memory.writeMasked(linear, bits, this.letVector(data), this.letVector(mask));
  }

  emptyRegisters(): void {
    this.#empties = true;
  }

  generalProtection(): void {
    this.#base.generalProtection();
  }
}
