import { FCW, FCW_INITIAL, FSW, FSW_EXCEPTIONS, FSW_TOP_SHIFT } from './control.ts';
import { PLAIN_MODEL, type X87Core, type X87Model } from './core.ts';
import { X87_LAYOUT } from './layout.ts';
import { EXPONENT_OFFSET, SLOT_BYTES } from './softfloat/format.ts';
import type { SoftFloat } from './softfloat/softfloat.ts';

const CONTROL = X87_LAYOUT.CONTROL >> 2;
const STATUS = X87_LAYOUT.STATUS >> 2;
const VALID = X87_LAYOUT.VALID >> 2;
const OPCODE = X87_LAYOUT.OPCODE >> 2;
const INSTRUCTION_POINTER = X87_LAYOUT.INSTRUCTION_POINTER >> 2;
const CODE_SEGMENT = X87_LAYOUT.CODE_SEGMENT >> 2;
const DATA_POINTER = X87_LAYOUT.DATA_POINTER >> 2;
const DATA_SEGMENT = X87_LAYOUT.DATA_SEGMENT >> 2;

/** Exceptions found before the operation: unmasked, they leave everything as it was (SDM vol. 1 8.5, 4.9.2). */
const BEFORE = FSW.IE | FSW.DE | FSW.ZE;

/** Tag values (SDM vol. 1 8.1.7). */
const TAG = { VALID: 0, ZERO: 1, SPECIAL: 2, EMPTY: 3 } as const;

/** The FPU's registers in linear memory, and the stack and exception rules that all its instructions share. */
export class X87 {
  readonly soft: SoftFloat;
  readonly model: X87Model;
  /** Address of the operand buffer. */
  readonly operand: number;
  /** The operand buffer as bytes in memory order. */
  readonly operandView: DataView;
  readonly #base: number;
  readonly #registers: number;
  readonly #words: Int32Array;
  readonly #view: DataView;

  /**
   * @param buffer the linear memory, which must not grow afterwards
   * @param base   address of the state block (`X87_LAYOUT`), a multiple of 16
   */
  constructor(buffer: ArrayBufferLike, base: number, soft: SoftFloat, model: X87Model = PLAIN_MODEL) {
    if (base % SLOT_BYTES !== 0)
      throw new RangeError(`x87 state at ${base}: the address must be a multiple of 16`);
    this.soft = soft;
    this.model = model;
    this.#base = base;
    this.#registers = base + X87_LAYOUT.REGISTERS;
    this.operand = base + X87_LAYOUT.OPERAND;
    this.#words = new Int32Array(buffer, base, X87_LAYOUT.REGISTERS >> 2);
    this.#view = new DataView(buffer);
    this.operandView = new DataView(buffer, this.operand, 512);
  }

  /** FCW with its fixed bit; setting it brings ES and B up to date. */
  get control(): number {
    return this.#words[CONTROL]!;
  }
  set control(value: number) {
    this.#words[CONTROL] = (value & (FCW.MASKS | FCW.PC | FCW.RC | FCW.X)) | FCW.RESERVED_ONE;
    this.#summarize();
  }

  get status(): number {
    return this.#words[STATUS]!;
  }
  /** ES and B are computed, not taken. */
  set status(value: number) {
    this.#words[STATUS] = value & 0xffff;
    this.#summarize();
  }

  /** One bit per physical register, set where it is not empty. */
  get valid(): number {
    return this.#words[VALID]!;
  }
  set valid(value: number) {
    this.#words[VALID] = value & 0xff;
  }

  get opcode(): number {
    return this.#words[OPCODE]!;
  }
  get instructionPointer(): number {
    return this.#words[INSTRUCTION_POINTER]! >>> 0;
  }
  get codeSegment(): number {
    return this.#words[CODE_SEGMENT]!;
  }
  get dataPointer(): number {
    return this.#words[DATA_POINTER]! >>> 0;
  }
  get dataSegment(): number {
    return this.#words[DATA_SEGMENT]!;
  }

  /** Replaces the pointers to the last instruction and its operand: offsets of 32 bits, selectors of 16. */
  setPointers(opcode: number, ip: number, cs: number, dp: number, ds: number): void {
    const words = this.#words;
    words[OPCODE] = opcode & 0x7ff;
    words[INSTRUCTION_POINTER] = ip;
    words[INSTRUCTION_POINTER + 1] = 0;
    words[CODE_SEGMENT] = this.model.segmentsDeprecated ? 0 : cs & 0xffff;
    words[DATA_POINTER] = dp;
    words[DATA_POINTER + 1] = 0;
    words[DATA_SEGMENT] = this.model.segmentsDeprecated ? 0 : ds & 0xffff;
  }

  /** FNINIT (SDM vol. 2A "FINIT"); register contents stay. */
  initialize(): void {
    this.#words.fill(0, 0, DATA_SEGMENT + 1);
    this.#words[CONTROL] = FCW_INITIAL;
  }

  /** Records a non-control instruction as the last one (SDM vol. 1 8.1.8). */
  recordInstruction(core: X87Core): void {
    const words = this.#words;
    words[OPCODE] = core.opcode;
    words[INSTRUCTION_POINTER] = core.instructionPointer;
    words[INSTRUCTION_POINTER + 1] = 0;
    words[CODE_SEGMENT] = this.model.segmentsDeprecated ? 0 : core.codeSegment;
  }

  /** Records its memory operand. */
  recordOperand(core: X87Core): void {
    const words = this.#words;
    words[DATA_POINTER] = core.dataPointer;
    words[DATA_POINTER + 1] = 0;
    words[DATA_SEGMENT] = this.model.segmentsDeprecated ? 0 : core.dataSegment;
  }

  get top(): number {
    return (this.#words[STATUS]! >> FSW_TOP_SHIFT) & 7;
  }
  set top(value: number) {
    this.#words[STATUS] = (this.#words[STATUS]! & ~FSW.TOP) | ((value & 7) << FSW_TOP_SHIFT);
  }

  /** Address of the slot of ST(i). */
  st(i: number): number {
    return this.#registers + (((this.#words[STATUS]! >> FSW_TOP_SHIFT) + i) & 7) * SLOT_BYTES;
  }
  temporary(n: number): number {
    return this.#base + X87_LAYOUT.TEMPORARIES + n * SLOT_BYTES;
  }
  isEmpty(i: number): boolean {
    return ((this.#words[VALID]! >> (((this.#words[STATUS]! >> FSW_TOP_SHIFT) + i) & 7)) & 1) === 0;
  }
  markValid(i: number): void {
    this.#words[VALID]! |= 1 << ((this.top + i) & 7);
  }
  markEmpty(i: number): void {
    this.#words[VALID]! &= ~(1 << ((this.top + i) & 7));
  }
  /** Moves TOP down; the new ST(0) counts as filled. */
  push(): void {
    this.top = this.top - 1;
    this.markValid(0);
  }
  pop(): void {
    this.markEmpty(0);
    this.top = this.top + 1;
  }

  /** Ends an operation: C1 and the flags (FSW positions) replace and join the status; unmasked ones set ES and B. */
  complete(flags: number): void {
    const words = this.#words;
    let status = (words[STATUS]! & ~FSW.C1) | flags;
    if ((flags & ~words[CONTROL]! & FSW_EXCEPTIONS) !== 0) status |= FSW.ES | FSW.B;
    words[STATUS] = status;
  }
  /** The same where C1 stays as it is. */
  join(flags: number): void {
    const conditions = this.#words[STATUS]! & FSW.C1;
    this.complete(flags);
    this.#words[STATUS]! |= conditions;
  }
  /** Replaces the FSW bits in `mask`, C0-C3, by those of `conditions`. */
  setConditions(conditions: number, mask: number): void {
    this.#words[STATUS] = (this.#words[STATUS]! & ~mask) | (conditions & mask);
  }
  /** The same for operations that report in C0, C2 and C3 as well. */
  completeWithConditions(flags: number): void {
    this.#words[STATUS]! &= ~(FSW.C0 | FSW.C2 | FSW.C3);
    this.complete(flags);
  }

  /** Whether these flags include an unmasked exception that keeps the operation from happening. */
  stopped(flags: number, exceptions: number = BEFORE): boolean {
    return (flags & ~this.#words[CONTROL]! & exceptions) !== 0;
  }
  get invalidMasked(): boolean {
    return (this.#words[CONTROL]! & FSW.IE) !== 0;
  }

  /** An empty source: IE and SF with C1 clear (SDM vol. 1 8.5.1.1). Answers whether the masked response is due. */
  underflow(): boolean {
    this.complete(FSW.IE | FSW.SF);
    return this.invalidMasked;
  }
  /** A push on a full stack: C1 set. */
  overflow(): boolean {
    this.complete(FSW.IE | FSW.SF | FSW.C1);
    return this.invalidMasked;
  }

  /** Writes a slot from 32-bit halves of the significand and the sign-and-exponent word. */
  setSlot(slot: number, high: number, low: number, signExponent: number): void {
    const view = this.#view;
    view.setInt32(slot, low, true);
    view.setInt32(slot + 4, high, true);
    view.setUint16(slot + EXPONENT_OFFSET, signExponent, true);
  }
  setIndefinite(slot: number): void {
    this.setSlot(slot, 0xc000_0000, 0, 0xffff);
  }
  copySlot(to: number, from: number): void {
    const view = this.#view;
    this.setSlot(to, view.getInt32(from + 4, true), view.getInt32(from, true), this.signExponent(from));
  }
  significandHigh(slot: number): number {
    return this.#view.getInt32(slot + 4, true);
  }
  significandLow(slot: number): number {
    return this.#view.getInt32(slot, true);
  }
  signExponent(slot: number): number {
    return this.#view.getUint16(slot + EXPONENT_OFFSET, true);
  }
  setSignExponent(slot: number, value: number): void {
    this.#view.setUint16(slot + EXPONENT_OFFSET, value, true);
  }
  /** The 64-bit significand. */
  significand(slot: number): bigint {
    return this.#view.getBigUint64(slot, true);
  }
  setNumber(slot: number, significand: bigint, signExponent: number): void {
    this.#view.setBigUint64(slot, significand, true);
    this.#view.setUint16(slot + EXPONENT_OFFSET, signExponent, true);
  }
  /** Address of physical register n's slot. */
  physical(n: number): number {
    return this.#registers + n * SLOT_BYTES;
  }

  /** The 16-bit tag word, told from the registers' contents (SDM vol. 1 figure 8-7). */
  get tagWord(): number {
    let tags = 0;
    for (let n = 7; n >= 0; n--) tags = (tags << 2) | this.#tag(n);
    return tags;
  }
  /** Only "empty" (11B) counts in a tag word that is loaded; the rest is told from the contents. */
  set tagWord(tags: number) {
    let valid = 0;
    for (let n = 0; n < 8; n++) if (((tags >> (2 * n)) & 3) !== TAG.EMPTY) valid |= 1 << n;
    this.valid = valid;
  }

  #tag(n: number): number {
    if (((this.valid >> n) & 1) === 0) return TAG.EMPTY;
    const slot = this.physical(n);
    const exponent = this.signExponent(slot) & 0x7fff;
    const high = this.significandHigh(slot);
    if (exponent === 0) return high === 0 && this.significandLow(slot) === 0 ? TAG.ZERO : TAG.SPECIAL;
    return exponent === 0x7fff || high >= 0 ? TAG.SPECIAL : TAG.VALID;
  }

  #summarize(): void {
    const words = this.#words;
    const pending = (words[STATUS]! & ~words[CONTROL]! & FSW_EXCEPTIONS) !== 0;
    words[STATUS] = pending ? words[STATUS]! | FSW.ES | FSW.B : words[STATUS]! & ~(FSW.ES | FSW.B);
  }
}
