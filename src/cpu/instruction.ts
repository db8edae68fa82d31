import { RECORD, RECORD_FLAG, REGISTERS, SEGMENT_SIZE, SEGMENTS } from './layout.ts';
import type { CpuState } from './state.ts';

/** The running instruction, read from its record, for what TypeScript carries out. */
export class Instruction {
  readonly #state: CpuState;
  /** Address of the record. */
  record = 0;

  constructor(state: CpuState) {
    this.#state = state;
  }

  get #flags(): number {
    return this.#state.u8[this.record + RECORD.FLAGS] as number;
  }
  get form(): number {
    return this.#state.u16[(this.record + RECORD.FORM) >> 1] as number;
  }
  /** Bytes. */
  get length(): number {
    return this.#state.u8[this.record + RECORD.LENGTH] as number;
  }
  get pageOffset(): number {
    return this.#state.u16[(this.record + RECORD.OFFSET) >> 1] as number;
  }
  /** Instructions from here to the end of the block, this one included. */
  get remaining(): number {
    return this.#state.u8[this.record + RECORD.REMAINING] as number;
  }
  /** Operand size in bytes. */
  get operandSize(): 2 | 4 {
    return (this.#flags & RECORD_FLAG.OPERAND16) !== 0 ? 2 : 4;
  }
  get addressSize(): 2 | 4 {
    return (this.#flags & RECORD_FLAG.ADDRESS16) !== 0 ? 2 : 4;
  }
  get addressMask(): number {
    return this.addressSize === 2 ? 0xffff : 0xffff_ffff;
  }
  /** The r/m operand is memory. */
  get isMemory(): boolean {
    return (this.#flags & RECORD_FLAG.MEMORY) !== 0;
  }
  /** F3 prefix. */
  get rep(): boolean {
    return (this.#flags & RECORD_FLAG.REP) !== 0;
  }
  /** F2 prefix. */
  get repne(): boolean {
    return (this.#flags & RECORD_FLAG.REPNE) !== 0;
  }
  get lock(): boolean {
    return (this.#flags & RECORD_FLAG.LOCK) !== 0;
  }
  /** First immediate, sign-extended if the form says so; unsigned otherwise. */
  get immediate(): number {
    return this.#state.i32[(this.record + RECORD.IMMEDIATE) >> 2] as number;
  }
  /** The ModRM byte, of forms without an immediate. */
  get modrm(): number {
    return this.#state.u8[this.record + RECORD.IMMEDIATE] as number;
  }
  get secondImmediate(): number {
    return this.#state.i32[(this.record + RECORD.DISPLACEMENT) >> 2] as number;
  }
  /** Selector of a far pointer in the instruction; its offset is `immediate`. */
  get farSelector(): number {
    return (this.#state.i32[(this.record + RECORD.LINK) >> 2] as number) & 0xffff;
  }
  /** Number of the general register that is the r/m operand; not for 8-bit operands. */
  get rmRegister(): number {
    return ((this.#state.u16[(this.record + RECORD.A) >> 1] as number) - REGISTERS) >> 3;
  }
  /** Byte address of the r/m register operand in the processor's memory; for 8-bit operands, too. */
  get rmRegisterAddress(): number {
    return this.#state.u16[(this.record + RECORD.A) >> 1] as number;
  }
  /** Number of the general register in ModRM.reg (G) or in the opcode (Z). */
  get register(): number {
    return ((this.#state.u16[(this.record + RECORD.B) >> 1] as number) - REGISTERS) >> 3;
  }
  /** ModRM.reg of an S, C or D operand. */
  get regField(): number {
    return this.#state.u16[(this.record + RECORD.B) >> 1] as number;
  }
  /** Segment of the memory operand, overrides applied; DS where the instruction has none. */
  get segment(): number {
    return ((this.#state.u16[(this.record + RECORD.SEGMENT) >> 1] as number) - SEGMENTS) / SEGMENT_SIZE;
  }
  /** Offset of the memory operand in its segment, unsigned, truncated to the address size. */
  get effectiveAddress(): number {
    const { u8, u16, i32 } = this.#state;
    const base = i32[(u16[(this.record + RECORD.BASE) >> 1] as number) >> 2] as number;
    const index = i32[(u16[(this.record + RECORD.INDEX) >> 1] as number) >> 2] as number;
    const displacement = i32[(this.record + RECORD.DISPLACEMENT) >> 2] as number;
    return (
      ((base + (index << (u8[this.record + RECORD.SCALE] as number)) + displacement) & this.addressMask) >>> 0
    );
  }
}
