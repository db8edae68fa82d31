import { Code, CodeExt, OpCodeOperandKind as Kind, OpKind } from 'iced-x86';
import type { Operand, RegisterOperand } from './operands.ts';

/** One encoding of a mnemonic: its iced-x86 code and what each operand must be. */
export interface InstructionForm {
  readonly code: Code;
  readonly name: string;
  readonly mode16: boolean;
  readonly mode32: boolean;
  readonly operands: readonly Kind[];
}

const codeNames = Object.keys(Code).filter((key) => Number.isNaN(Number(key))) as (keyof typeof Code)[];
const formsByMnemonic = new Map<string, readonly InstructionForm[]>();

/** Every legacy form of a mnemonic as iced-x86 spells it ("Mov", "Invlpgad"), without the 64-bit-only ones. */
export function formsOf(mnemonic: string): readonly InstructionForm[] {
  let forms = formsByMnemonic.get(mnemonic);
  if (forms === undefined) {
    forms = codeNames
      .filter((name) => name === mnemonic || name.startsWith(`${mnemonic}_`))
      .map(describe)
      .filter((form) => form.mode16 || form.mode32);
    formsByMnemonic.set(mnemonic, forms);
  }
  return forms;
}

function describe(name: keyof typeof Code): InstructionForm {
  const code = Code[name];
  const info = CodeExt.opCode(code);
  try {
    const operands = Array.from({ length: info.opCount }, (_, index) => info.opKind(index));
    return { code, name, mode16: info.mode16, mode32: info.mode32, operands };
  } finally {
    info.free();
  }
}

const FIXED: ReadonlyMap<Kind, string> = new Map([
  [Kind.al, 'al'],
  [Kind.cl, 'cl'],
  [Kind.ax, 'ax'],
  [Kind.dx, 'dx'],
  [Kind.eax, 'eax'],
  [Kind.es, 'es'],
  [Kind.cs, 'cs'],
  [Kind.ss, 'ss'],
  [Kind.ds, 'ds'],
  [Kind.fs, 'fs'],
  [Kind.gs, 'gs'],
]);

const GENERAL: ReadonlyMap<Kind, { size: number; memory: boolean }> = new Map([
  [Kind.r8_or_mem, { size: 8, memory: true }],
  [Kind.r16_or_mem, { size: 16, memory: true }],
  [Kind.r32_or_mem, { size: 32, memory: true }],
  [Kind.r8_reg, { size: 8, memory: false }],
  [Kind.r8_opcode, { size: 8, memory: false }],
  [Kind.r16_reg, { size: 16, memory: false }],
  [Kind.r16_rm, { size: 16, memory: false }],
  [Kind.r16_opcode, { size: 16, memory: false }],
  [Kind.r32_reg, { size: 32, memory: false }],
  [Kind.r32_rm, { size: 32, memory: false }],
  [Kind.r32_opcode, { size: 32, memory: false }],
]);

const isRegisterOf = (operand: Operand, kind: RegisterOperand['class'], size?: number): boolean =>
  typeof operand !== 'number' &&
  operand.kind === 'register' &&
  operand.class === kind &&
  (size === undefined || operand.size === size);

const between = (value: Operand, low: number, high: number): boolean =>
  typeof value === 'number' && value >= low && value <= high;

/**
 * Whether `operand` may stand where a form wants `kind`. A label's address takes a whole pointer, so it fits an
 * immediate of the program's own width only.
 */
function accepts(kind: Kind, operand: Operand, bits: 16 | 32): boolean {
  const fixed = FIXED.get(kind);
  if (fixed !== undefined) {
    return typeof operand !== 'number' && operand.kind === 'register' && operand.name === fixed;
  }
  const general = GENERAL.get(kind);
  if (general !== undefined) {
    if (isRegisterOf(operand, 'general', general.size)) return true;
    return (
      general.memory &&
      typeof operand !== 'number' &&
      operand.kind === 'memory' &&
      operand.size === general.size
    );
  }
  const isLabel = typeof operand !== 'number' && operand.kind === 'address';
  switch (kind) {
    case Kind.mem:
      return typeof operand !== 'number' && operand.kind === 'memory';
    case Kind.seg_reg:
      return isRegisterOf(operand, 'segment');
    case Kind.cr_reg:
      return isRegisterOf(operand, 'control');
    case Kind.dr_reg:
      return isRegisterOf(operand, 'debug');
    case Kind.imm8_const_1:
      return operand === 1;
    case Kind.imm8:
      return between(operand, -0x80, 0xff);
    case Kind.imm8sex16:
    case Kind.imm8sex32:
      return between(operand, -0x80, 0x7f);
    case Kind.imm16:
      return between(operand, -0x8000, 0xffff) || (isLabel && bits === 16);
    case Kind.imm32:
      return between(operand, -0x8000_0000, 0xffff_ffff) || (isLabel && bits === 32);
    default:
      return false;
  }
}

/** Forms of a mnemonic that take exactly these operands in code of this width. */
export function matchingForms(
  mnemonic: string,
  operands: readonly Operand[],
  bits: 16 | 32,
): InstructionForm[] {
  return formsOf(mnemonic).filter(
    (form) =>
      (bits === 16 ? form.mode16 : form.mode32) &&
      form.operands.length === operands.length &&
      form.operands.every((kind, index) => accepts(kind, operands[index], bits)),
  );
}

/** How iced-x86 wants the immediate of a form stored; it refuses the wrong kind. */
export function immediateKind(kind: Kind): OpKind {
  switch (kind) {
    case Kind.imm8sex16:
      return OpKind.Immediate8to16;
    case Kind.imm8sex32:
      return OpKind.Immediate8to32;
    case Kind.imm16:
      return OpKind.Immediate16;
    case Kind.imm32:
      return OpKind.Immediate32;
    default:
      return OpKind.Immediate8;
  }
}
