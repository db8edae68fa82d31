import { bitsOf, type Form, type OperandSpec } from '../../../isa/form.ts';
import type { SimdCode, SimdOperand, SoftOperations } from '../../../isa/simd/index.ts';
import type { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder } from '../../../wasm/function.ts';
import { RECORD, RECORD_SIZE } from '../../layout.ts';
import { InterpreterBuilder, type Variant } from '../builder.ts';
import { type Dispatch, field16, field32 } from '../dispatch.ts';
import { constantOperand, registerOperand } from '../operands.ts';
import { InterpreterSimdBuilder } from './builder.ts';
import { integerOperand, mmxOperand, simdMemoryOperand, xmmOperand } from './operands.ts';

const simdBits = (spec: OperandSpec): 16 | 32 | 64 | 128 => {
  const bits = spec.size === 'dq' ? 128 : bitsOf(spec.size, 32);
  if (bits === 8) throw new TypeError(`no SIMD operand has the size ${spec.size}`);
  return bits;
};

/** Where the operand's register lies: ModRM r/m is in field A, reg in field B. */
const registerAddress = (code: FunctionBuilder, record: Int, spec: OperandSpec): Int => {
  const isReg = spec.kind === 'P' || spec.kind === 'V' || spec.kind === 'G';
  return code.let(field16(record, isReg ? RECORD.B : RECORD.A));
};

function operandFor(
  spec: OperandSpec,
  memory: boolean,
  base: InterpreterBuilder,
  code: FunctionBuilder,
  aligned: boolean,
): SimdOperand {
  const { record } = base;
  const { kind } = spec;
  if (kind === 'I') return integerOperand(constantOperand(field32(record, RECORD.IMMEDIATE).and(0xff), 8));
  const bits = simdBits(spec);
  if (kind === 'M' || (memory && (kind === 'E' || kind === 'Q' || kind === 'W'))) {
    return simdMemoryOperand(base.memory, bits, base.memoryLinear(bits), aligned);
  }
  const address = registerAddress(code, record, spec);
  if (bits === 16) throw new TypeError(`no register operand ${kind} has 16 bits`);
  if (kind === 'V' || kind === 'W' || kind === 'U') return xmmOperand(code, address, bits);
  if (bits === 128) throw new TypeError(`no operand ${kind} has 128 bits`);
  if (kind === 'P' || kind === 'Q' || kind === 'N') return mmxOperand(code, address, bits);
  return integerOperand(registerOperand(code, address, bits));
}

/** Which state the instruction depends on: an MMX operand that is memory needs none of MMX. */
function unitOf(simd: SimdCode, form: Form, memory: boolean): SimdCode['unit'] {
  const mmxRegister = form.operands.some(
    ({ kind }) => kind === 'P' || kind === 'N' || (kind === 'Q' && !memory),
  );
  return simd.unit === 'both' && !mmxRegister ? 'sse' : simd.unit;
}

/** Writes the handler of a SIMD form. */
export function writeSimdHandler(
  code: FunctionBuilder,
  dispatch: Dispatch,
  soft: SoftOperations,
  form: Form,
  simd: SimdCode,
  variant: Variant & { readonly memory: boolean },
): InterpreterBuilder {
  const base = new InterpreterBuilder(code, dispatch, variant);
  const builder = new InterpreterSimdBuilder(code, dispatch, base, soft, unitOf(simd, form, variant.memory));
  builder.begin();
  const operands = form.operands.map((spec) => operandFor(spec, variant.memory, base, code, !simd.unaligned));
  simd.emit(builder, ...operands);
  builder.end();
  base.finish(base.record.add(RECORD_SIZE));
  return base;
}
