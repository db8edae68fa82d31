import type { Int, IntLike } from '../wasm/expression.ts';

/** Operand sizes in bits. */
export type Bits = 8 | 16 | 32 | 64;

/** General registers in encoding order (SDM vol. 2A table 2-1). */
export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

/**
 * One operand of an instruction form. Values are unsigned: zero-extended to i32 for 8, 16 and 32 bits, i64 for 64.
 */
export interface Operand {
  readonly bits: Bits;
  /** Reads it; a memory operand may fault here, and then nothing of the instruction happens. */
  read(): Int;
  /** Reads a destination that `write` is going to replace: a memory operand is checked for writing first. */
  modify(): Int;
  /** Replaces it; only the low `bits` bits of `value` count. */
  write(value: Int): void;
}

/** The sixteen conditions of Jcc, SETcc and CMOVcc (SDM vol. 1 appendix B), by encoding. */
export type Condition = number;

/** The arithmetic flags: CF, PF, AF, ZF, SF, OF. `result` and operands are `bits` wide; higher bits are ignored. */
export interface Flags {
  /** After `result = x + y (+ carry in)`. */
  add(bits: Bits, x: Int, y: Int, result: Int): void;
  /** After `result = x - y (- borrow in)`. */
  sub(bits: Bits, x: Int, y: Int, result: Int): void;
  /** As `add` and `sub`, leaving CF alone (INC, DEC). */
  addKeepingCarry(bits: Bits, x: Int, y: Int, result: Int): void;
  subKeepingCarry(bits: Bits, x: Int, y: Int, result: Int): void;
  /** CF = OF = AF = 0; SF, ZF, PF from `result`. */
  logic(bits: Bits, result: Int): void;
  /** SF, ZF, PF from `result`; CF and OF as given (i32, 0 or 1); AF, which is undefined, is 1 as AMD's processors have it. */
  shift(bits: Bits, result: Int, carry: Int, overflow: Int): void;
  /** Only CF and OF change (i32, 0 or 1). */
  rotate(carry: Int, overflow: Int): void;
  /** Only CF changes (i32, 0 or 1). */
  setCarry(carry: Int): void;
  /** Only ZF changes (i32, 0 or 1). */
  setZero(zero: Int): void;
  /** CF as an i32, 0 or 1. */
  carry(): Int;
  overflow(): Int;
  /** The six flags in their EFLAGS positions, as an i32. */
  read(): Int;
  /** Replaces all six flags by those bits of `value`. */
  write(value: Int): void;
  /** A condition as an i32, 0 or 1. */
  test(condition: Condition): Int;
}

/**
 * What the semantics of an instruction are written in: they call these operations, and whoever implements them makes
 * code of it. The interpreter's implementation fetches operands from the decoded record at run time; a compiler's
 * knows them. Semantics must make every check that can fault before the first `write` (SDM vol. 3A 6.6: faults
 * leave the state as it was).
 */
export interface Builder {
  /** Operand size of the form under construction: 16, 32 (or 64). */
  readonly bits: Bits;
  /** Address size of the form under construction. */
  readonly addressBits: 16 | 32 | 64;
  readonly flags: Flags;

  /** A constant of the type that holds `bits` bits. */
  constant(bits: Bits, value: number | bigint): Int;
  /** The low `bits` bits, zero-extended. */
  truncate(value: Int, bits: Bits): Int;
  /** Computes a value now, to be used any number of times. */
  let(value: Int): Int;
  if(condition: Int, then: () => void, otherwise?: () => void): void;
  /** A mutable variable. */
  variable(initial: Int): Variable;
  loop(body: (control: { again(condition: Int): void; leave(condition: Int): void }) => void): void;

  /** A general register by number, e.g. `register(RAX, 16)` is AX; 8 bits gives AL, CL, DL, BL. */
  register(number: number, bits: Bits): Operand;
  /** AH. */
  highByte(number: number): Operand;

  push(bits: Bits, value: Int): void;
  /** Reads the top of the stack without moving the stack pointer, then `commit()` moves it. */
  pop(bits: Bits): { value: Int; commit(): void };

  /** RET imm16: gives back `bytes` bytes of stack. */
  releaseStack(bytes: Int): void;
  /** XLAT's byte at register + index, in the segment of the instruction. */
  tableByte(register: number, index: Int): Int;
  /** LEAVE: the frame pointer becomes the stack pointer and is popped. */
  leaveFrame(): void;

  /** The effective address of the memory operand (without segment base), truncated to the address size. */
  effectiveAddress(): Int;
  /** The memory operand moved by a byte displacement (BT with a register offset). */
  memoryAt(displacement: Int, bits: Bits): Operand;

  /** Checks that a branch target lies within the code segment, before anything else of the branch happens. */
  checkTarget(target: Int): void;
  /** EIP of the next instruction. */
  nextInstruction(): Int;
  /** Ends the instruction at the relative target of its J operand. */
  jumpRelative(): void;
  jumpRelativeIf(condition: Int): void;
  /** Ends the instruction at `target` (EIP, truncated to the operand size). */
  jumpTo(target: Int): void;
  callRelative(): void;

  /** Raises an exception without error code, as a fault, and ends the instruction. */
  raise(vector: number): void;
}

export interface Variable {
  get(): Int;
  set(value: Int): void;
}

export type { IntLike };
