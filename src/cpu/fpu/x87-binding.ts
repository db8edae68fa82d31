import { VECTOR } from '../../arch/exceptions.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { CR0, CR4, EFLAGS, EFLAGS_STATUS } from '../../arch/registers.ts';
import { MXCSR_MASK } from '../../isa/simd/index.ts';
import {
  executeX87,
  fxrstor,
  fxsave,
  type OperandPiece,
  operandAccess,
  softFloatOf,
  X87,
  X87_FORMS,
  type X87Core,
  type X87Form,
  type X87Model,
} from '../../isa/x87/index.ts';
import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { CS, FPU, MXCSR, XMM } from '../layout.ts';
import { segmentLinear } from '../segmentation/access.ts';
import type { Operation } from '../system/operations.ts';

const FLAG_MASK = EFLAGS.ZF | EFLAGS.PF | EFLAGS.CF;
const FXSAVE_BYTES = 512;
const FXSAVE_MXCSR = 24;
const FXSAVE_XMM = 160;
const XMM_BYTES_32 = 8 * 16;

/** Intel and AMD differ in when FXSAVE keeps the pointers. */
const modelOf = (cpu: Cpu): X87Model => ({
  fxsavePointersOnlyOnError: cpu.model.vendor === 'AuthenticAMD',
  // CPUID 8000_0008:EBX[2] (RstrFpErrPtrs) came with Zen 2.
  fxrstorPointersOnlyOnError: cpu.model.vendor === 'AuthenticAMD' && cpu.model.family < 23,
  segmentsDeprecated: false,
  dataPointerOnlyOnException: false,
});

/** The x87 unit of a processor: what `isa/x87` asks of the processor around it, and the checks before. */
export class X87Binding implements X87Core {
  readonly fpu: X87;
  readonly #cpu: Cpu;
  #form: X87Form = X87_FORMS[0] as X87Form;

  constructor(cpu: Cpu, exports: Readonly<Record<string, unknown>>) {
    this.#cpu = cpu;
    this.fpu = new X87(cpu.state.u8.buffer, FPU, softFloatOf(exports), modelOf(cpu));
  }

  /** The operation for form number `index` of X87_FORMS. */
  operation(index: number): Operation {
    const form = X87_FORMS[index] as X87Form;
    const wait = form.opcode === 0x9b;
    return (_cpu, instruction) => {
      this.#checkAvailable(wait);
      this.#form = form;
      executeX87(form, this.fpu, this, instruction.modrm & 7);
    };
  }

  /** CR0.EM or TS: #NM; FWAIT only with MP and TS (SDM vol. 3A table 9-3). */
  #checkAvailable(wait: boolean): void {
    const { cr0 } = this.#cpu.state;
    const stop = wait ? (cr0 & (CR0.MP | CR0.TS)) === (CR0.MP | CR0.TS) : (cr0 & (CR0.EM | CR0.TS)) !== 0;
    if (stop) this.#cpu.raise(VECTOR.NM);
  }

  get #instruction(): Instruction {
    return this.#cpu.instruction;
  }
  get instructionPointer(): number {
    return this.#cpu.instructionEip;
  }
  get codeSegment(): number {
    return this.#cpu.state.selector(CS);
  }
  get dataPointer(): number {
    return this.#instruction.effectiveAddress;
  }
  get dataSegment(): number {
    return this.#cpu.state.selector(this.#instruction.segment);
  }
  get opcode(): number {
    return ((this.#form.opcode & 7) << 8) | this.#instruction.modrm;
  }
  get operandBits(): 16 | 32 {
    return this.#instruction.operandSize === 2 ? 16 : 32;
  }
  get realFormat(): boolean {
    return !this.#cpu.isProtected;
  }
  readFlags(): number {
    return this.#cpu.state.eflags;
  }
  writeComparison(flags: number): void {
    const { state } = this.#cpu;
    state.eflags = (state.eflags & ~EFLAGS_STATUS) | (flags & FLAG_MASK);
  }
  writeAx(value: number): void {
    this.#cpu.state.setGpr16(0, value & 0xffff);
  }

  readOperand(bytes: number): boolean {
    const { probes, pieces } = operandAccess(bytes);
    for (const piece of probes) this.#check(piece, 0);
    for (const piece of pieces) {
      copyIn(this.#cpu, this.#pieceLinear(piece, false), this.fpu.operand + piece.offset, piece.bytes);
    }
    return true;
  }
  probeOperand(bytes: number): boolean {
    const { probes, pieces } = operandAccess(bytes);
    for (const piece of probes) this.#check(piece, ACCESS.WRITE);
    for (const piece of pieces) this.#check(piece, ACCESS.WRITE);
    return true;
  }
  writeOperand(bytes: number): void {
    for (const piece of operandAccess(bytes).pieces) {
      copyOut(this.#cpu, this.#pieceLinear(piece, true), this.fpu.operand + piece.offset, piece.bytes);
    }
  }

  /** CR0.NE clear: FERR# would raise IRQ 13 through the chipset; the PC that Umbra is has no such wire (SDM vol. 1 8.7). */
  pendingException(): void {
    this.#cpu.raise(VECTOR.MF);
  }

  #check(piece: OperandPiece, write: number): void {
    const linear = this.#pieceLinear(piece, write !== 0);
    this.#cpu.memory.check(linear, piece.bytes, this.#cpu.dataAccess | write);
  }

  #pieceLinear({ offset, bytes }: OperandPiece, write: boolean): number {
    const { segment, effectiveAddress, addressMask } = this.#instruction;
    return segmentLinear(this.#cpu, segment, ((effectiveAddress + offset) & addressMask) >>> 0, bytes, write);
  }

  #linear(bytes: number, write: boolean): number {
    return segmentLinear(
      this.#cpu,
      this.#instruction.segment,
      this.#instruction.effectiveAddress,
      bytes,
      write,
    );
  }

  /** FXSAVE (SDM vol. 2A): the XMM part only with CR4.OSFXSR is left to the processor; this one always has it. */
  readonly fxsave: Operation = (cpu) => {
    this.#checkAvailable(false);
    const linear = this.#aligned(true);
    const out = this.fpu.operandView;
    fxsave(this.fpu);
    out.setUint32(FXSAVE_MXCSR, cpu.state.u32[MXCSR >> 2] as number, true);
    out.setUint32(FXSAVE_MXCSR + 4, cpu.hasFeature('sse') ? MXCSR_MASK : 0, true);
    copyOut(cpu, linear, this.fpu.operand, FXSAVE_XMM);
    if (!this.#savesXmm()) return;
    copyOut(cpu, linear + FXSAVE_XMM, XMM, XMM_BYTES_32);
  };

  /** FXRSTOR: reserved bits of MXCSR are #GP(0) before anything is loaded. */
  readonly fxrstor: Operation = (cpu) => {
    this.#checkAvailable(false);
    const linear = this.#aligned(false);
    copyIn(cpu, linear, this.fpu.operand, FXSAVE_XMM + XMM_BYTES_32);
    const mxcsr = this.fpu.operandView.getUint32(FXSAVE_MXCSR, true);
    if (this.#savesXmm() && (mxcsr & ~MXCSR_MASK) !== 0) cpu.raiseGeneralProtection();
    fxrstor(this.fpu);
    if (!this.#savesXmm()) return;
    cpu.state.u32[MXCSR >> 2] = mxcsr;
    cpu.state.u8.copyWithin(XMM, this.fpu.operand + FXSAVE_XMM, this.fpu.operand + FXSAVE_XMM + XMM_BYTES_32);
  };

  #savesXmm(): boolean {
    return this.#cpu.hasFeature('sse') && (this.#cpu.state.cr4 & CR4.OSFXSR) !== 0;
  }

  /** The whole image is checked, its last byte first, as AMD's processors do; FXRSTOR needs less of it. */
  #aligned(write: boolean): number {
    const { memory, dataAccess } = this.#cpu;
    const linear = this.#linear(FXSAVE_BYTES, write);
    if ((linear & 15) !== 0) this.#cpu.raiseGeneralProtection();
    const access = dataAccess | (write ? ACCESS.WRITE : ACCESS.READ);
    memory.check((linear + FXSAVE_BYTES - 1) >>> 0, 1, access);
    memory.check(linear, FXSAVE_BYTES, access);
    return linear;
  }
}

/** Copies bytes from linear memory to the processor's own memory; all of them are checked first. */
export function copyIn(cpu: Cpu, linear: number, to: number, bytes: number): void {
  cpu.memory.check(linear, bytes, cpu.dataAccess);
  for (let byte = 0; byte < bytes; ) {
    const size = bytes - byte >= 4 ? 4 : bytes - byte >= 2 ? 2 : 1;
    const value = cpu.memory.read((linear + byte) >>> 0, size, cpu.dataAccess);
    for (let n = 0; n < size; n++) cpu.state.u8[to + byte + n] = value >>> (n * 8);
    byte += size;
  }
}

/** The counterpart; the caller has checked the bytes for writing. */
export function copyOut(cpu: Cpu, linear: number, from: number, bytes: number): void {
  for (let byte = 0; byte < bytes; ) {
    const size = bytes - byte >= 4 ? 4 : bytes - byte >= 2 ? 2 : 1;
    let value = 0;
    for (let n = 0; n < size; n++) value |= (cpu.state.u8[from + byte + n] as number) << (n * 8);
    cpu.memory.write((linear + byte) >>> 0, size, value >>> 0, cpu.dataAccess);
    byte += size;
  }
}
