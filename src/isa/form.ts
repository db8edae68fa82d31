import type { Bits, Builder, Operand } from './builder.ts';
import type { SimdCode } from './simd/builder.ts';

/** Semantics as operations on a builder; operands come in the order of the form's operand list. */
export type Semantics = (op: Builder, ...operands: Operand[]) => void;

/**
 * How an operand is encoded and where it lives, in the letters of SDM vol. 2D appendix A: E (ModRM r/m), M (memory
 * only), R (register only r/m), G (ModRM reg), Z (low opcode bits), I (immediate), J (relative), O (moffs), S, C, D, T
 * (segment, control, debug, test register in ModRM reg), A (far pointer), or a fixed register. MMX registers are P (ModRM
 * reg), Q (r/m), N (r/m, register only), XMM registers V, W and U likewise.
 */
export type OperandKind =
  | 'E'
  | 'M'
  | 'R'
  | 'G'
  | 'Z'
  | 'I'
  | 'J'
  | 'O'
  | 'S'
  | 'C'
  | 'D'
  | 'T'
  | 'A'
  | 'P'
  | 'Q'
  | 'N'
  | 'V'
  | 'W'
  | 'U'
  | 'fixed'
  | 'one';

/**
 * b: byte; w: word; d: doubleword; q: quadword; dq: double quadword; v: operand size; z: operand size, at most 32; x: no
 * size (an address).
 */
export type OperandSize = 'b' | 'w' | 'd' | 'q' | 'dq' | 'v' | 'z' | 'x';

export interface OperandSpec {
  readonly kind: OperandKind;
  readonly size: OperandSize;
  /** Register number of a fixed register. */
  readonly register: number;
  /** An immediate byte that is sign-extended to the operand size. */
  readonly signed: boolean;
}

export interface FormOptions {
  /** May carry a LOCK prefix when its first operand is memory (SDM vol. 2A "LOCK"). */
  readonly lock?: true;
  /** CPU feature that must be announced, or else the form raises #UD. */
  readonly feature?: string;
  /** Ends a block: control does not simply go on behind it. */
  readonly ends?: true;
  /** Exists only for one operand size: 16 or 32 (66 prefix selects it). */
  readonly only?: 16 | 32;
  /** Exists with 66 as a mandatory prefix or not at all, so 66 does not change the operand size. */
  readonly opcodePrefix?: 0x66 | 0xf2 | 0xf3 | 'none';
}

/** One instruction form: a line of the table. */
export interface Form extends FormOptions {
  readonly name: string;
  readonly encoding: Encoding;
  readonly operands: readonly OperandSpec[];
  /** Emitted code, or the name of the processor's function that carries it out. */
  readonly semantics: Semantics | SimdCode | string;
}

export interface Encoding {
  /** 0: one byte; 1: 0F; 2: 0F 38; 3: 0F 3A. */
  readonly map: 0 | 1 | 2 | 3;
  readonly opcode: number;
  /** The low three opcode bits name a register (Z) or a condition is spelled out beforehand. */
  readonly plusRegister: boolean;
  readonly modrm: boolean;
  /** ModRM reg digit, -1 if the field is an operand. */
  readonly digit: number;
  /** ModRM as a whole byte (0F 01 D8), -1 if not fixed. */
  readonly fixedModrm: number;
  readonly mandatoryPrefix: 0 | 0x66 | 0xf2 | 0xf3;
}

const FIXED: Readonly<Record<string, readonly [OperandSize, number]>> = {
  AL: ['b', 0],
  CL: ['b', 1],
  AX: ['w', 0],
  DX: ['w', 2],
  eAX: ['v', 0],
};

function parseOperand(text: string): OperandSpec {
  const fixed = FIXED[text];
  if (fixed) return { kind: 'fixed', size: fixed[0], register: fixed[1], signed: false };
  if (text === '1') return { kind: 'one', size: 'b', register: 0, signed: false };
  const match = /^(s?)([EMRGZIJOSCDTAPQNVWU])(dq|[bwdqvzx])$/.exec(text);
  if (!match) throw new Error(`operand ${text} is not of the table's notation`);
  return {
    kind: match[2] as OperandKind,
    size: match[3] as OperandSize,
    register: 0,
    signed: match[1] === 's',
  };
}

function parseEncoding(text: string): Encoding {
  const words: string[] = text.split(' ');
  let mandatoryPrefix: Encoding['mandatoryPrefix'] = 0;
  if (/^(66|F2|F3)$/.test(words[0] ?? '') && words.length > 1) {
    mandatoryPrefix = Number.parseInt(words.shift() as string, 16) as 0x66 | 0xf2 | 0xf3;
  }
  let map: Encoding['map'] = 0;
  if (words[0] === '0F' && words.length > 1) {
    words.shift();
    map = 1;
    const second = words[0] as string;
    if ((second === '38' || second === '3A') && words.length > 1 && !(words[1] as string).startsWith('/')) {
      map = second === '38' ? 2 : 3;
      words.shift();
    }
  }
  const first = words.shift() as string;
  const plusRegister = first.endsWith('+r');
  const opcode = Number.parseInt(first, 16);
  const tail = words.shift();
  const digit = tail && /^\/[0-7]$/.test(tail) ? Number(tail[1]) : -1;
  const fixedModrm = tail && /^[0-9A-F]{2}$/.test(tail) ? Number.parseInt(tail, 16) : -1;
  if (Number.isNaN(opcode) || words.length > 0)
    throw new Error(`encoding ${text} is not of the table's notation`);
  return { map, opcode, plusRegister, modrm: tail !== undefined, digit, fixedModrm, mandatoryPrefix };
}

/**
 * A line of the instruction table.
 *
 * @param name      mnemonic as in the SDM
 * @param encoding  e.g. `'0F AF /r'`, `'F7 /4'`, `'F3 0F B8 /r'`, `'40+r'`, `'0F 01 F9'`; immediates follow from the operands
 * @param operands  e.g. `'Ev,Gv'`; `''` for none; `sIb` is a sign-extended byte
 * @param semantics the operations, or the name of the processor's function for what only TypeScript does
 */
export function form(
  name: string,
  encoding: string,
  operands: string,
  semantics: Semantics | SimdCode | string,
  options: FormOptions = {},
): Form {
  return {
    name,
    encoding: parseEncoding(encoding),
    operands: operands === '' ? [] : operands.split(',').map(parseOperand),
    semantics,
    ...options,
  };
}

/** Width in bits of an operand under an operand size, for operands that integer instructions can have. */
export function bitsOf(size: OperandSize, operandBits: 16 | 32 | 64): Bits {
  switch (size) {
    case 'b':
      return 8;
    case 'w':
      return 16;
    case 'd':
      return 32;
    case 'q':
      return 64;
    case 'z':
      return operandBits === 64 ? 32 : operandBits;
    case 'dq':
      throw new RangeError('a double quadword is an operand of SIMD instructions only');
    default:
      return operandBits;
  }
}
