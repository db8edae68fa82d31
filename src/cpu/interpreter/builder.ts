import {
  type Bits,
  type Builder,
  type Flags,
  type Operand,
  RBP,
  RSP,
  type Variable,
} from '../../isa/builder.ts';
import { Int } from '../../wasm/expression.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import {
  BUDGET,
  CS,
  EIP,
  EIP_BASE,
  RECORD,
  REGISTERS,
  SEGMENT,
  SS,
  STACK_MASK,
  segmentAddress,
} from '../layout.ts';
import { type Dispatch, field8, field16, field32, loadState, storeState } from './dispatch.ts';
import { FlagWords } from './flags.ts';
import { MemoryAccess } from './memory.ts';
import { fixedRegister, memoryOperand } from './operands.ts';

/** What distinguishes the handlers of one form. */
export interface Variant {
  readonly operandBits: 16 | 32;
  readonly addressBits: 16 | 32;
  /** Base 0 and no limit in the segments of memory operands and stack, 32-bit addresses: nothing to check or add. */
  readonly flat: boolean;
}

/** Makes the interpreter's code of an instruction form: operands come from the decoded record. */
export class InterpreterBuilder implements Builder {
  readonly flags: Flags;
  readonly memory: MemoryAccess;
  readonly record: Int;
  /** What of the variant the semantics asked for; handlers that differ in nothing asked for are shared. */
  readonly asked = { operandBits: false, addressBits: false, flat: false };
  readonly #code: FunctionBuilder;
  readonly #dispatch: Dispatch;
  readonly #variant: Variant;
  #ended = false;

  constructor(code: FunctionBuilder, dispatch: Dispatch, variant: Variant) {
    this.#code = code;
    this.#dispatch = dispatch;
    this.#variant = variant;
    this.record = code.parameter(0);
    this.flags = new FlagWords(code);
    this.memory = new MemoryAccess(code, dispatch, this.record);
  }

  get bits(): 16 | 32 {
    this.asked.operandBits = true;
    return this.#variant.operandBits;
  }

  get addressBits(): 16 | 32 {
    this.asked.addressBits = true;
    return this.#variant.addressBits;
  }

  get #flat(): boolean {
    this.asked.flat = true;
    return this.#variant.flat;
  }

  constant(bits: Bits, value: number | bigint): Int {
    return Int.const(bits === 64 ? 'i64' : 'i32', value);
  }

  truncate(value: Int, bits: Bits): Int {
    return bits >= 32 ? value : value.and((1 << bits) - 1);
  }

  let(value: Int): Int {
    return this.#code.let(value);
  }

  if(condition: Int, then: () => void, otherwise?: () => void): void {
    this.#code.if(condition, then, otherwise);
  }

  variable(initial: Int): Variable {
    const local = this.#code.local(initial.type);
    this.#code.set(local, initial);
    return { get: () => this.#code.get(local), set: (value) => this.#code.set(local, value) };
  }

  loop(body: (control: { again(condition: Int): void; leave(condition: Int): void }) => void): void {
    const code = this.#code;
    code.block((exit) =>
      code.loop((start) =>
        body({
          again: (condition) => code.branch(start, condition),
          leave: (condition) => code.branch(exit, condition),
        }),
      ),
    );
  }

  register(number: number, bits: Bits): Operand {
    return fixedRegister(this.#code, number, bits);
  }

  highByte(number: number): Operand {
    return fixedRegister(this.#code, number, 8, 1);
  }

  effectiveAddress(): Int {
    const base = Int.load('i32', 32, field16(this.record, RECORD.BASE));
    const index = Int.load('i32', 32, field16(this.record, RECORD.INDEX));
    const address = base
      .add(index.shl(field8(this.record, RECORD.SCALE)))
      .add(field32(this.record, RECORD.DISPLACEMENT));
    return this.#code.let(this.#flat ? address : address.and(this.#addressMask()));
  }

  memoryOperand(bits: Bits): Operand {
    return this.#memoryAt(() => this.effectiveAddress(), bits);
  }

  /** Makes the linear address of a memory operand of `bits` bits, checked for reading or for writing. */
  memoryLinear(bits: Bits | 128): (write: boolean) => Int {
    return this.#linearOf(() => this.effectiveAddress(), bits);
  }

  /** The same for one that a register points to, in the segment of the instruction. */
  registerLinear(register: number, bits: Bits | 128): (write: boolean) => Int {
    return this.#linearOf(() => this.#wrap(readGeneral(register)), bits);
  }

  memoryAt(displacement: Int, bits: Bits): Operand {
    return this.#memoryAt(() => this.#wrap(this.effectiveAddress().add(displacement)), bits);
  }

  tableByte(register: number, index: Int): Int {
    const base = readGeneral(register);
    return this.#memoryAt(() => this.#wrap(base.add(index)), 8).read();
  }

  push(bits: Bits, value: Int): void {
    const shared = this.#code.let(value);
    if (this.#flat) {
      const top = this.#code.let(readGeneral(RSP).sub(bits / 8));
      this.memory.write(top, bits, shared);
      this.#setStackPointer(top);
      return;
    }
    const top = this.#code.let(
      readGeneral(RSP)
        .sub(bits / 8)
        .and(loadState(STACK_MASK)),
    );
    this.memory.write(this.#stackLinear(top, bits, true), bits, shared);
    this.#moveMaskedStackPointer(top);
  }

  pop(bits: Bits): { value: Int; commit(): void } {
    if (this.#flat) {
      const top = this.#code.let(readGeneral(RSP));
      const value = this.memory.read(top, bits);
      return { value, commit: () => this.#setStackPointer(top.add(bits / 8)) };
    }
    const top = this.#code.let(readGeneral(RSP).and(loadState(STACK_MASK)));
    const value = this.memory.read(this.#stackLinear(top, bits, false), bits);
    return { value, commit: () => this.#moveMaskedStackPointer(top.add(bits / 8)) };
  }

  releaseStack(bytes: Int): void {
    const moved = readGeneral(RSP).add(bytes);
    if (this.#flat) this.#setStackPointer(moved);
    else this.#moveMaskedStackPointer(moved);
  }

  leaveFrame(): void {
    const bits = this.bits;
    const frame = this.register(RBP, bits);
    if (this.#flat) {
      const top = this.#code.let(readGeneral(RBP));
      const value = this.memory.read(top, bits);
      this.#setStackPointer(top.add(bits / 8));
      frame.write(value);
      return;
    }
    const top = this.#code.let(readGeneral(RBP).and(loadState(STACK_MASK)));
    const value = this.memory.read(this.#stackLinear(top, bits, false), bits);
    this.#moveMaskedStackPointer(top.add(bits / 8));
    frame.write(value);
  }

  checkTarget(target: Int): void {
    if (this.#flat) return;
    const limit = Int.load('i32', 32, Int.const32(segmentAddress(CS)), SEGMENT.LIMIT);
    this.#code.if(this.#truncateEip(target).gtU(limit), () => {
      this.#code.call(this.#dispatch.imports.segmentFault, this.record, Int.const32(segmentAddress(CS)));
      this.#code.returnCall(this.#dispatch.lookup);
    });
  }

  nextInstruction(): Int {
    const offset = field16(this.record, RECORD.OFFSET).add(field8(this.record, RECORD.LENGTH));
    return this.#truncateEip(loadState(EIP_BASE).add(offset));
  }

  jumpRelative(): void {
    this.#ended = true;
    this.checkTarget(this.#relativeTarget());
    this.#dispatch.branch(this.#code, this.record);
  }

  jumpRelativeIf(condition: Int): void {
    this.#code.if(condition, () => {
      this.checkTarget(this.#relativeTarget());
      // The block was paid for as if it ran to its end.
      const unused = field8(this.record, RECORD.REMAINING).sub(1);
      storeState(this.#code, BUDGET, loadState(BUDGET).add(unused));
      this.#dispatch.branch(this.#code, this.record);
    });
  }

  jumpTo(target: Int): void {
    this.#ended = true;
    storeState(this.#code, EIP, this.#truncateEip(target));
    this.#code.returnCall(this.#dispatch.lookup);
  }

  callRelative(): void {
    this.checkTarget(this.#relativeTarget());
    this.push(this.bits, this.nextInstruction());
    this.jumpRelative();
  }

  raise(vector: number): void {
    this.#code.call(this.#dispatch.imports.raise, this.record, Int.const32(vector));
    this.#code.returnCall(this.#dispatch.lookup);
  }

  generalProtection(): void {
    this.#code.call(this.#dispatch.imports.generalProtection, this.record);
    this.#code.returnCall(this.#dispatch.lookup);
  }

  /** Goes on with the next instruction, unless the semantics went elsewhere. */
  finish(next: Int): void {
    if (this.#ended) return;
    const elsewhere = this.memory.next;
    if (elsewhere) this.#code.if(elsewhere, () => this.#dispatch.goto(this.#code, elsewhere));
    this.#dispatch.goto(this.#code, next);
  }

  #memoryAt(offset: () => Int, bits: Bits): Operand {
    return memoryOperand(this.memory, bits, this.#linearOf(offset, bits));
  }

  #linearOf(offset: () => Int, bits: Bits | 128): (write: boolean) => Int {
    return (write) => {
      const address = offset();
      if (this.#flat) return address;
      const segment = this.#code.let(field16(this.record, RECORD.SEGMENT));
      return this.memory.checkedLinear(segment, address, bits, write);
    };
  }

  #relativeTarget(): Int {
    return loadState(EIP_BASE).add(field32(this.record, RECORD.IMMEDIATE));
  }

  #addressMask(): Int {
    return field32(this.record, RECORD.LINK);
  }

  #wrap(address: Int): Int {
    return this.#code.let(this.#flat ? address : address.and(this.#addressMask()));
  }

  #truncateEip(eip: Int): Int {
    return this.bits === 16 ? eip.and(0xffff) : eip;
  }

  #stackLinear(offset: Int, bits: Bits, write: boolean): Int {
    return this.memory.checkedLinear(Int.const32(segmentAddress(SS)), offset, bits, write);
  }

  #setStackPointer(value: Int): void {
    this.register(RSP, 32).write(value);
  }

  /** With a 16-bit stack only SP moves. */
  #moveMaskedStackPointer(value: Int): void {
    const mask = this.#code.let(loadState(STACK_MASK));
    this.#setStackPointer(this.#code.let(value.and(mask).or(readGeneral(RSP).and(mask.not()))));
  }
}

const readGeneral = (number: number): Int => Int.load('i32', 32, Int.const32(0), REGISTERS + number * 8);
