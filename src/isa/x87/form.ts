import { FSW } from './control.ts';
import { environmentBytes, stateBytes, type X87Core } from './core.ts';
import type { Handler } from './instructions/handler.ts';
import type { X87 } from './state.ts';

/** Size of a memory operand in bytes, or one of the formats that depend on the operand size. */
type OperandBytes = number | 'environment' | 'state';

export interface X87FormOptions {
  /** What of the memory operand is read before the instruction runs, and what it may write. */
  readonly reads?: OperandBytes;
  readonly writes?: OperandBytes;
  /** Goes ahead although an unmasked exception is pending (FNxxx). */
  readonly noWait?: true;
  /** A control instruction: leaves FOP, FIP, FCS, FDP and FDS alone (SDM vol. 1 8.1.8). */
  readonly control?: true;
  /** Feature that CPUID must announce beside FPU. */
  readonly feature?: 'cmov' | 'sse3';
}

/** One instruction form of the x87. */
export interface X87Form extends X87FormOptions {
  readonly name: string;
  /** As in the SDM: `'D8 /0 m32fp'`, `'D8 C0+i'`, `'D9 E0'`, `'9B'`. */
  readonly encoding: string;
  /** First opcode byte. */
  readonly opcode: number;
  /** ModRM reg digit of a memory form, -1 for others. */
  readonly digit: number;
  /** ModRM byte of a register form (the first of eight where `usesRegister`), -1 for others. */
  readonly modrm: number;
  /** The ModRM r/m field is i of ST(i). */
  readonly usesRegister: boolean;
  readonly execute: Handler;
}

export function x87Form(
  name: string,
  encoding: string,
  execute: Handler,
  options: X87FormOptions = {},
): X87Form {
  const match = /^([0-9A-F]{2})(?: \/([0-7]) [a-z0-9/]+| ([C-F][08])\+i| ([C-F][0-9A-F]))?$/.exec(encoding);
  if (!match) throw new Error(`x87 encoding ${encoding} is not of the table's notation`);
  const [, opcode, digit, range, fixed] = match;
  return {
    name,
    encoding,
    opcode: Number.parseInt(opcode!, 16),
    digit: digit === undefined ? -1 : Number(digit),
    modrm: Number.parseInt(range ?? fixed ?? '-1', 16),
    usesRegister: range !== undefined,
    execute,
    ...options,
  };
}

const bytesOf = (size: OperandBytes, operandBits: 16 | 32): number => {
  if (typeof size === 'number') return size;
  return size === 'environment' ? environmentBytes(operandBits) : stateBytes(operandBits);
};

/**
 * Carries out one instruction. The processor has seen to #NM, #UD and the address of the operand; what may stop it
 * here comes in the order of the manual (SDM vol. 3A 6.9): a pending exception, a fault of the memory operand, then
 * the instruction's own floating-point exceptions, which are left pending for the next waiting instruction.
 *
 * @param register ModRM r/m: i of ST(i) in register forms
 */
export function executeX87(form: X87Form, fpu: X87, core: X87Core, register = 0): void {
  if (form.noWait === undefined && (fpu.status & FSW.ES) !== 0) {
    core.pendingException();
    return;
  }
  const { reads, writes } = form;
  if (reads !== undefined && !core.readOperand(bytesOf(reads, core.operandBits))) return;
  if (writes !== undefined && !core.probeOperand(bytesOf(writes, core.operandBits))) return;
  if (form.control) {
    form.execute(fpu, core, register);
    return;
  }
  fpu.recordInstruction(core);
  const touchesMemory = form.digit >= 0;
  const late = fpu.model.dataPointerOnlyOnException;
  if (touchesMemory && !late) fpu.recordOperand(core);
  form.execute(fpu, core, register);
  if (touchesMemory && late && (fpu.status & FSW.ES) !== 0) fpu.recordOperand(core);
}
