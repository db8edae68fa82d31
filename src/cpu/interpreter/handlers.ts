import type { Operand } from '../../isa/builder.ts';
import { bitsOf, type Form, type OperandSpec } from '../../isa/form.ts';
import type { SoftOperations } from '../../isa/simd/index.ts';
import { Int } from '../../wasm/expression.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import { RECORD, RECORD_SIZE } from '../layout.ts';
import { InterpreterBuilder, type Variant } from './builder.ts';
import { type Dispatch, field16, field32, HANDLER } from './dispatch.ts';
import { constantOperand, fixedRegister, registerOperand } from './operands.ts';
import { writeSimdHandler } from './simd/handler.ts';

/** Which of the handlers of a form an instruction needs. */
export interface HandlerKey extends Variant {
  readonly form: number;
  /** Its E operand is memory. */
  readonly memory: boolean;
}

const keyIndex = (key: HandlerKey): number =>
  key.form * 16 +
  (key.operandBits === 32 ? 8 : 0) +
  (key.memory ? 4 : 0) +
  (key.flat ? 2 : 0) +
  (key.addressBits === 32 ? 1 : 0);

/** Finds the table slot of a handler by form and variant. */
export class HandlerTable {
  readonly #slots: Int32Array;

  constructor(forms: number) {
    this.#slots = new Int32Array(forms * 16).fill(-1);
  }

  get(key: HandlerKey): number {
    return this.#slots[keyIndex(key)] as number;
  }

  set(key: HandlerKey, slot: number): void {
    this.#slots[keyIndex(key)] = slot;
  }
}

/** Field A holds the r/m register, field B the one of ModRM reg or of the opcode. */
function operandFor(
  spec: OperandSpec,
  key: HandlerKey,
  builder: InterpreterBuilder,
  code: FunctionBuilder,
): Operand {
  if (spec.size === 'v' || spec.size === 'z') void builder.bits;
  const bits = bitsOf(spec.size, key.operandBits);
  const record = builder.record;
  switch (spec.kind) {
    case 'E':
    case 'M':
      if (key.memory) return builder.memoryOperand(bits);
      return registerOperand(code, field16(record, RECORD.A), bits);
    case 'O':
      return builder.memoryOperand(bits);
    case 'R':
      return registerOperand(code, field16(record, RECORD.A), bits);
    case 'G':
    case 'Z':
      return registerOperand(code, field16(record, RECORD.B), bits);
    case 'I': {
      // The decoder has sign-extended it to 32 bits; values are unsigned.
      const signedBits = spec.signed ? key.operandBits : bits;
      if (spec.signed) void builder.bits;
      return constantOperand(builder.truncate(field32(record, RECORD.IMMEDIATE), signedBits), signedBits);
    }
    case 'one':
      return constantOperand(Int.const32(1), 8);
    case 'fixed':
      return fixedRegister(code, spec.register, bits);
    default:
      return constantOperand(field32(record, RECORD.IMMEDIATE), bits);
  }
}

function writeHandler(
  code: FunctionBuilder,
  dispatch: Dispatch,
  soft: SoftOperations,
  form: Form,
  key: HandlerKey,
): InterpreterBuilder {
  const { semantics } = form;
  if (typeof semantics === 'string') throw new TypeError(`${form.name} is carried out by ${semantics}`);
  if (typeof semantics === 'object') return writeSimdHandler(code, dispatch, soft, form, semantics, key);
  const builder = new InterpreterBuilder(code, dispatch, key);
  const operands = form.operands.map((spec) => operandFor(spec, key, builder, code));
  semantics(builder, ...operands);
  builder.finish(builder.record.add(RECORD_SIZE));
  return builder;
}

const hasMemoryForm = (form: Form): boolean =>
  form.operands.some(({ kind }) => kind === 'E' || kind === 'M' || kind === 'Q' || kind === 'W');
const hasRegisterForm = (form: Form): boolean => !form.operands.some((spec) => spec.kind === 'M');

const SIZES = [32, 16] as const;

/** Emits every handler of a form; variants in which nothing differs share one. */
function emitForm(
  module: ModuleBuilder,
  dispatch: Dispatch,
  soft: SoftOperations,
  form: Form,
  index: number,
  table: HandlerTable,
): void {
  for (const memory of [false, true]) {
    if (memory ? !hasMemoryForm(form) : !hasRegisterForm(form)) continue;
    for (const operandBits of SIZES) {
      for (const addressBits of SIZES) {
        for (const flat of [true, false]) {
          const key: HandlerKey = { form: index, memory, operandBits, addressBits, flat };
          if (table.get(key) >= 0 || (flat && addressBits === 16)) continue;
          let asked: InterpreterBuilder['asked'] | undefined;
          const made = module.function(HANDLER, (code) => {
            asked = writeHandler(code, dispatch, soft, form, key).asked;
          });
          share(table, key, module.tableSlot(made), asked as InterpreterBuilder['asked']);
        }
      }
    }
  }
}

function share(table: HandlerTable, key: HandlerKey, slot: number, asked: InterpreterBuilder['asked']): void {
  for (const operandBits of asked.operandBits ? [key.operandBits] : SIZES) {
    for (const addressBits of asked.addressBits ? [key.addressBits] : SIZES) {
      for (const flat of asked.flat ? [key.flat] : [true, false]) {
        table.set({ ...key, operandBits, addressBits, flat }, slot);
      }
    }
  }
}

export function emitHandlers(
  module: ModuleBuilder,
  dispatch: Dispatch,
  soft: SoftOperations,
  forms: readonly Form[],
): HandlerTable {
  const table = new HandlerTable(forms.length);
  forms.forEach((form, index) => {
    if (typeof form.semantics !== 'string') emitForm(module, dispatch, soft, form, index, table);
  });
  return table;
}
