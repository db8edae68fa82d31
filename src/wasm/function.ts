import { ByteWriter } from './bytes.ts';
import { type Expression, Int, ValueType, type ValueTypeName } from './expression.ts';
import { Float } from './float.ts';
import { V128 } from './vector.ts';

export interface Signature {
  readonly parameters: readonly ValueTypeName[];
  readonly results: readonly ValueTypeName[];
}

/** A function of the module under construction, by its place in the index space (core spec 5.5.5). */
export interface FunctionReference {
  readonly index: number;
  readonly signature: Signature;
}

/** A mutable local variable. */
export interface Local {
  readonly index: number;
  readonly type: ValueTypeName;
}

/** A place to branch to; made by `block` and `loop`. */
export interface Label {
  readonly depth: number;
}

const EMPTY_BLOCK = 0x40;

/** Writes the body of one function, statement by statement. */
export class FunctionBuilder {
  readonly signature: Signature;
  readonly #locals: ValueTypeName[] = [];
  readonly #code = new ByteWriter();
  #depth = 0;

  constructor(signature: Signature) {
    this.signature = signature;
  }

  parameter(index: number): Int {
    const type = this.signature.parameters[index];
    if (type !== 'i32' && type !== 'i64') throw new TypeError(`parameter ${index} is not an integer`);
    return Int.local(type, index);
  }

  vectorParameter(index: number): V128 {
    if (this.signature.parameters[index] !== 'v128')
      throw new TypeError(`parameter ${index} is not a vector`);
    return V128.local(index);
  }

  local(type: ValueTypeName): Local {
    this.#locals.push(type);
    return { index: this.signature.parameters.length + this.#locals.length - 1, type };
  }

  get(local: Local): Int {
    if (local.type !== 'i32' && local.type !== 'i64') throw new TypeError('not an integer local');
    return Int.local(local.type, local.index);
  }

  getVector(local: Local): V128 {
    if (local.type !== 'v128') throw new TypeError('not a vector local');
    return V128.local(local.index);
  }

  set(local: Local, value: Expression): void {
    if (local.type !== value.type) throw new TypeError(`a ${value.type} into a ${local.type} local`);
    value.emit(this.#code);
    this.#code.byte(0x21);
    this.#code.unsigned(local.index);
  }

  /** Computes `value` once, here, and returns it as something that may be used many times. */
  let(value: Int): Int {
    const local = this.local(value.type);
    this.set(local, value);
    return this.get(local);
  }

  letVector(value: V128): V128 {
    const local = this.local('v128');
    this.set(local, value);
    return V128.local(local.index);
  }

  letFloat(value: Float): Float {
    const local = this.local(value.type);
    this.set(local, value);
    return Float.local(value.type, local.index);
  }

  /** Stores the low `bits` bits of `value` at `address + offset`. */
  store(bits: 8 | 16 | 32 | 64, address: Int, value: Int, offset = 0): void {
    address.emit(this.#code);
    value.emit(this.#code);
    const opcode =
      value.type === 'i32'
        ? { 8: 0x3a, 16: 0x3b, 32: 0x36, 64: 0 }[bits]
        : { 8: 0x3c, 16: 0x3d, 32: 0x3e, 64: 0x37 }[bits];
    if (opcode === 0) throw new TypeError('an i32 has no 64 bits to store');
    this.#code.byte(opcode);
    this.#code.unsigned(0);
    this.#code.unsigned(offset);
  }

  /** Stores all 128 bits of a vector, or its lowest 64. */
  storeVector(bits: 64 | 128, address: Int, value: V128, offset = 0): void {
    address.emit(this.#code);
    value.emit(this.#code);
    this.#code.byte(0xfd);
    this.#code.unsigned(bits === 128 ? 0x0b : 0x5b);
    this.#code.unsigned(0);
    this.#code.unsigned(offset);
    if (bits === 64) this.#code.byte(0);
  }

  if(condition: Int, then: () => void, otherwise?: () => void): void {
    condition.emit(this.#code);
    this.#code.bytes([0x04, EMPTY_BLOCK]);
    this.#depth++;
    then();
    if (otherwise) {
      this.#code.byte(0x05);
      otherwise();
    }
    this.#depth--;
    this.#code.byte(0x0b);
  }

  /** A block: branching to its label leaves it. */
  block(body: (exit: Label) => void): void {
    this.#nested(0x02, body);
  }

  /** A loop: branching to its label starts it again; falling off its end leaves it. */
  loop(body: (again: Label) => void): void {
    this.#nested(0x03, body);
  }

  branch(label: Label, condition?: Int): void {
    condition?.emit(this.#code);
    this.#code.byte(condition ? 0x0d : 0x0c);
    this.#code.unsigned(this.#depth - label.depth);
  }

  return(...values: readonly Expression[]): void {
    for (const value of values) value.emit(this.#code);
    this.#code.byte(0x0f);
  }

  /** Calls for effect only; results are dropped. */
  call(target: FunctionReference, ...args: readonly Expression[]): void {
    this.#arguments(target.signature, args);
    this.#code.byte(0x10);
    this.#code.unsigned(target.index);
    for (const _ of target.signature.results) this.#code.byte(0x1a);
  }

  /** Calls now and returns the (single, integer) result as a shared value. */
  callFor(target: FunctionReference, ...args: readonly Expression[]): Int {
    return this.get(this.#callInto(target, args));
  }

  /** The same for a function that returns a vector. */
  callForVector(target: FunctionReference, ...args: readonly Expression[]): V128 {
    return this.getVector(this.#callInto(target, args));
  }

  #callInto(target: FunctionReference, args: readonly Expression[]): Local {
    const type = target.signature.results[0];
    if (type === undefined) throw new TypeError('the function returns nothing');
    this.#arguments(target.signature, args);
    this.#code.byte(0x10);
    this.#code.unsigned(target.index);
    const local = this.local(type);
    this.#code.byte(0x21);
    this.#code.unsigned(local.index);
    return local;
  }

  /** Leaves this function for `target` (tail call, core spec 3.4: return_call). */
  returnCall(target: FunctionReference, ...args: readonly Expression[]): void {
    this.#arguments(target.signature, args);
    this.#code.byte(0x12);
    this.#code.unsigned(target.index);
  }

  /** Leaves this function for the function at `slot` of table 0, whose type has index `typeIndex`. */
  returnCallIndirect(typeIndex: number, slot: Int, ...args: readonly Expression[]): void {
    for (const argument of args) argument.emit(this.#code);
    slot.emit(this.#code);
    this.#code.byte(0x13);
    this.#code.unsigned(typeIndex);
    this.#code.unsigned(0);
  }

  /** memory.copy (core spec 5.4.7): `length` bytes, overlapping allowed. */
  memoryCopy(destination: Int, source: Int, length: Int): void {
    for (const part of [destination, source, length]) part.emit(this.#code);
    this.#code.bytes([0xfc, 10, 0, 0]);
  }

  memoryFill(destination: Int, value: Int, length: Int): void {
    for (const part of [destination, value, length]) part.emit(this.#code);
    this.#code.bytes([0xfc, 11, 0]);
  }

  unreachable(): void {
    this.#code.byte(0x00);
  }

  /** The function's entry in the code section: size, locals, body. */
  encode(out: ByteWriter): void {
    const head = new ByteWriter();
    const runs: { type: ValueTypeName; count: number }[] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last?.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    head.unsigned(runs.length);
    for (const run of runs) {
      head.unsigned(run.count);
      head.byte(ValueType[run.type]);
    }
    out.unsigned(head.length + this.#code.length + 1);
    out.bytes(head.view);
    out.bytes(this.#code.view);
    out.byte(0x0b);
  }

  #nested(opcode: number, body: (label: Label) => void): void {
    this.#code.bytes([opcode, EMPTY_BLOCK]);
    this.#depth++;
    body({ depth: this.#depth });
    this.#depth--;
    this.#code.byte(0x0b);
  }

  #arguments(signature: Signature, args: readonly Expression[]): void {
    if (args.length !== signature.parameters.length) {
      throw new TypeError(`${signature.parameters.length} arguments expected, ${args.length} given`);
    }
    args.forEach((argument, place) => {
      if (argument.type !== signature.parameters[place])
        throw new TypeError(`argument ${place} is a ${argument.type}`);
      argument.emit(this.#code);
    });
  }
}
