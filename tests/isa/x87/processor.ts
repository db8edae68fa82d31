/** A processor that is nothing but an FPU and one memory operand. */
import type { X87Core, X87Model } from '../../../src/isa/x87/core.ts';
import { executeX87 } from '../../../src/isa/x87/form.ts';
import { X87_FORMS } from '../../../src/isa/x87/forms.ts';
import type { X87 } from '../../../src/isa/x87/state.ts';
import type { Extended } from './reference.ts';
import { makeUnit } from './unit.ts';

export class Processor implements X87Core {
  readonly fpu: X87;
  readonly #memory: Uint8Array;
  /** The memory operand of the next instruction. */
  readonly operand = new Uint8Array(512);
  readonly view = new DataView(this.operand.buffer);
  instructionPointer = 0x1111;
  codeSegment = 0x23;
  dataPointer = 0x2222;
  dataSegment = 0x2b;
  opcode = 0x123;
  operandBits: 16 | 32 = 32;
  realFormat = false;
  flags = 0;
  ax = 0;
  /** Makes every access to the operand fault. */
  faults = false;
  /** Waiting instructions that found an exception pending. */
  pending = 0;
  /** Bytes of the last write, 0 if none happened. */
  written = 0;

  constructor(model?: X87Model) {
    const { fpu, bytes } = makeUnit(model);
    this.fpu = fpu;
    this.#memory = bytes;
  }

  /** Runs the form with this encoding; `register` is i of ST(i). */
  run(encoding: string, register = 0): void {
    const form = X87_FORMS.find((candidate) => candidate.encoding === encoding);
    if (!form) throw new Error(`no form ${encoding}`);
    this.written = 0;
    executeX87(form, this.fpu, this, register);
  }

  push({ significand, word }: Extended): void {
    this.view.setBigUint64(0, significand, true);
    this.view.setUint16(8, word, true);
    this.run('DB /5 m80fp');
  }
  st(i: number): Extended {
    const slot = this.fpu.st(i);
    return { significand: this.fpu.significand(slot), word: this.fpu.signExponent(slot) };
  }

  readFlags(): number {
    return this.flags;
  }
  writeComparison(flags: number): void {
    this.flags = flags;
  }
  writeAx(value: number): void {
    this.ax = value;
  }
  readOperand(bytes: number): boolean {
    if (this.faults) return false;
    this.#memory.set(this.operand.subarray(0, bytes), this.fpu.operand);
    return true;
  }
  probeOperand(): boolean {
    return !this.faults;
  }
  writeOperand(bytes: number): void {
    this.written = bytes;
    this.operand.set(this.#memory.subarray(this.fpu.operand, this.fpu.operand + bytes));
  }
  pendingException(): void {
    this.pending++;
  }
}

/** A small integer as an extended number. */
export function integer(value: number): Extended {
  let significand = BigInt(Math.abs(value));
  if (significand === 0n) return { significand, word: 0 };
  let exponent = 16383 + 63;
  for (; significand >> 63n === 0n; exponent--) significand <<= 1n;
  return { significand, word: exponent | (value < 0 ? 0x8000 : 0) };
}
