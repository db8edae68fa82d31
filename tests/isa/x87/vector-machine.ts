/**
 * The least processor that can run the x87 vectors: prefixes, ModRM addresses, segment bases and limits, page rights
 * and alignment checks, and nothing else of the instruction set.
 */
import { operandAccess, type X87Core } from '../../../src/isa/x87/core.ts';
import { executeX87 } from '../../../src/isa/x87/form.ts';
import { findX87Form, X87_FORMS } from '../../../src/isa/x87/forms.ts';
import type { VectorEnvironment, VectorFault } from '../../vectors/format.ts';
import type { VectorDriver } from '../../vectors/harness.ts';
import { VectorState } from '../../vectors/state.ts';
import { makeUnit } from './unit.ts';

const PAGE = 4096;
const [UNDEFINED_OPCODE, STACK_FAULT, GENERAL_PROTECTION, PAGE_FAULT, FPU_ERROR, ALIGNMENT_CHECK] = [
  6, 12, 13, 14, 16, 17,
];
const EFLAGS_AC = 0x40000;
const COMPARISON_FLAGS = 0x8d5;
const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const SS = 2;
const DS = 3;
const pageOf = (linear: number): number => (linear & -PAGE) >>> 0;
const FWAIT = X87_FORMS.find((form) => form.name === 'FWAIT')!;

interface Segment {
  readonly base: number;
  /** Lowest and highest valid offset. */
  readonly first: number;
  readonly last: number;
  readonly wide: boolean;
  readonly writable: boolean;
}

/** SDM vol. 3A 3.4.5. */
function parseDescriptor(low: number, high: number): Segment {
  const raw = (low & 0xffff) | (high & 0xf0000);
  const limit = (high & 0x800000 ? raw * PAGE + PAGE - 1 : raw) >>> 0;
  const wide = (high & 0x400000) !== 0;
  const expandDown = (high & 0xc00) === 0x400;
  const base = ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000)) >>> 0;
  const top = wide ? 0xffffffff : 0xffff;
  const writable = (high & 0xa00) === 0x200;
  return expandDown
    ? { base, first: limit + 1, last: top, wide, writable }
    : { base, first: 0, last: limit, wide, writable };
}

export class VectorMachine implements VectorDriver, X87Core {
  readonly #unit = makeUnit();
  readonly #state = new VectorState();
  readonly #pages = new Map<number, Uint8Array>();
  readonly #access = new Map<number, string>();
  readonly #segments = new Map<number, Segment>();
  #fault: VectorFault | null = null;
  #segment = DS;
  #wideAddress = true;

  instructionPointer = 0;
  codeSegment = 0;
  dataPointer = 0;
  dataSegment = 0;
  opcode = 0;
  operandBits: 16 | 32 = 32;
  readonly realFormat = false;

  open(environment: VectorEnvironment): void {
    for (const { selector, low, high } of [...environment.gdt, ...environment.ldt]) {
      this.#segments.set(selector, parseDescriptor(low, high));
    }
    for (const { address, size, access } of environment.pages) {
      for (let page = address; page < address + size; page += PAGE) {
        this.#pages.set(page, new Uint8Array(PAGE));
        this.#access.set(page, access);
      }
    }
  }

  writeMemory(linear: number, bytes: Uint8Array): void {
    bytes.forEach((byte, n) => {
      const page = this.#pages.get(pageOf(linear + n));
      if (page) page[(linear + n) & (PAGE - 1)] = byte;
    });
  }

  readPage(linear: number): Uint8Array {
    return this.#pages.get(pageOf(linear))!;
  }

  setState(state: VectorState): void {
    this.#state.copyFrom(state);
    const { fpu } = this.#unit;
    fpu.control = state.get('fcw');
    fpu.status = state.get('fsw');
    fpu.valid = state.get('ftw');
    fpu.setPointers(state.get('fop'), state.get('fip'), 0, state.get('fdp'), 0);
    for (let n = 0; n < 8; n++) this.#unit.bytes.set(state.x87(n), fpu.physical(n));
  }

  readState(into: VectorState): void {
    const { fpu, bytes } = this.#unit;
    into.copyFrom(this.#state);
    into.set('fcw', fpu.control);
    into.set('fsw', fpu.status);
    into.set('ftw', fpu.valid);
    into.set('fop', fpu.opcode);
    into.set('fip', fpu.instructionPointer);
    into.set('fdp', fpu.dataPointer);
    for (let n = 0; n < 8; n++) into.x87(n).set(bytes.subarray(fpu.physical(n), fpu.physical(n) + 10));
  }

  run(steps: number): VectorFault | null {
    this.#fault = null;
    for (let n = 0; n < steps && !this.#fault; n++) this.#step();
    return this.#fault;
  }

  #step(): void {
    const state = this.#state;
    const code = this.#segments.get(state.get('cs') & ~3)!;
    const start = state.get('eip');
    let at = start;
    const byte = (): number => this.#byte(code.base + at++);
    this.operandBits = code.wide ? 32 : 16;
    this.#wideAddress = code.wide;
    let override = -1;
    let opcode = byte();
    for (; ; opcode = byte()) {
      if (opcode === 0x66) this.operandBits = code.wide ? 16 : 32;
      else if (opcode === 0x67) this.#wideAddress = !code.wide;
      else if (SEGMENT_PREFIXES.includes(opcode)) override = SEGMENT_PREFIXES.indexOf(opcode);
      else break;
    }
    this.instructionPointer = start;
    this.codeSegment = state.get('cs');
    if (opcode === 0x9b) {
      executeX87(FWAIT, this.#unit.fpu, this);
    } else {
      const modrm = byte();
      const form = findX87Form(opcode, modrm);
      if (!form) {
        this.#raise(UNDEFINED_OPCODE);
        return;
      }
      if (modrm < 0xc0) at += this.#address(modrm, code.base + at, override);
      this.opcode = ((opcode & 7) << 8) | modrm;
      executeX87(form, this.#unit.fpu, this, modrm & 7);
    }
    if (!this.#fault) state.set('eip', at);
  }

  /** Offset and segment of a ModRM operand; answers how many bytes of SIB and displacement there are. */
  #address(modrm: number, linear: number, override: number): number {
    const wide = this.#wideAddress;
    const [mod, rm] = [modrm >> 6, modrm & 7];
    const { offset, length, stack } = wide
      ? this.#address32(mod, rm, linear)
      : this.#address16(mod, rm, linear);
    this.#segment = override >= 0 ? override : stack ? SS : DS;
    this.dataPointer = wide ? offset >>> 0 : offset & 0xffff;
    this.dataSegment = this.#state.segment(this.#segment);
    return length;
  }

  #address16(mod: number, rm: number, linear: number): { offset: number; length: number; stack: boolean } {
    const gpr = (n: number): number => this.#state.gpr(n);
    if (mod === 0 && rm === 6) return { offset: this.#number(linear, 2), length: 2, stack: false };
    const [bx, bp, si, di] = [gpr(3), gpr(5), gpr(6), gpr(7)];
    const sum = [bx + si, bx + di, bp + si, bp + di, si, di, bp, bx][rm]!;
    const stack = rm === 2 || rm === 3 || rm === 6;
    return { offset: sum + this.#displacement(linear, mod, 2), length: mod === 2 ? 2 : mod, stack };
  }

  #address32(mod: number, rm: number, linear: number): { offset: number; length: number; stack: boolean } {
    const gpr = (n: number): number => this.#state.gpr(n);
    if (mod === 0 && rm === 5) return { offset: this.#number(linear, 4), length: 4, stack: false };
    if (rm !== 4) {
      return {
        offset: gpr(rm) + this.#displacement(linear, mod, 4),
        length: mod === 2 ? 4 : mod,
        stack: rm === 5,
      };
    }
    const sib = this.#byte(linear);
    const [scale, index, base] = [sib >> 6, (sib >> 3) & 7, sib & 7];
    const scaled = index === 4 ? 0 : gpr(index) * (1 << scale);
    if (mod === 0 && base === 5)
      return { offset: scaled + this.#number(linear + 1, 4), length: 5, stack: false };
    const offset = scaled + gpr(base) + this.#displacement(linear + 1, mod, 4);
    return { offset, length: 1 + (mod === 2 ? 4 : mod), stack: base === 4 || base === 5 };
  }

  #displacement(linear: number, mod: number, full: number): number {
    if (mod === 0) return 0;
    return mod === 1 ? (this.#byte(linear) << 24) >> 24 : this.#number(linear, full);
  }

  #number(linear: number, bytes: number): number {
    let value = 0;
    for (let n = bytes - 1; n >= 0; n--) value = (value << 8) | this.#byte(linear + n);
    return value;
  }

  #byte(linear: number): number {
    return this.readPage(linear)[linear & (PAGE - 1)]!;
  }

  #raise(vector: number, errorCode = 0, cr2 = 0): void {
    this.#fault ??= { vector, errorCode, cr2 };
  }

  /** Segment limit, alignment and page rights of the whole operand. */
  #checkOperand(bytes: number, write: boolean): boolean {
    const { probes, pieces } = operandAccess(bytes);
    return [...probes, ...pieces].every((piece) =>
      this.#checkPiece(this.#offset(piece.offset), piece.bytes, write),
    );
  }

  #offset(within: number): number {
    const offset = this.dataPointer + within;
    return this.#wideAddress ? offset >>> 0 : offset & 0xffff;
  }

  #checkPiece(offset: number, bytes: number, write: boolean): boolean {
    const segment = this.#segments.get(this.#state.segment(this.#segment) & ~3);
    const inside = segment && offset >= segment.first && offset + bytes - 1 <= segment.last;
    if (!inside || (write && !segment.writable)) {
      this.#raise(segment && this.#segment === SS ? STACK_FAULT : GENERAL_PROTECTION);
      return false;
    }
    const linear = (segment.base + offset) >>> 0;
    if (this.#state.get('eflags') & EFLAGS_AC && linear % bytes !== 0) {
      this.#raise(ALIGNMENT_CHECK);
      return false;
    }
    for (let at = linear; at < linear + bytes; at = pageOf(at) + PAGE) {
      const access = this.#access.get(pageOf(at));
      if (access && (!write || access === 'rw')) continue;
      this.#raise(PAGE_FAULT, 4 | (write ? 2 : 0) | (access ? 1 : 0), at);
      return false;
    }
    return true;
  }

  /** Linear address of a place in the operand, which was checked. */
  #linear(within: number): number {
    return (this.#segments.get(this.dataSegment & ~3)!.base + this.#offset(within)) >>> 0;
  }

  /** Every byte of the operand: its place in the operand buffer and its linear address. */
  *#places(size: number): Generator<readonly [at: number, linear: number]> {
    for (const { offset, bytes } of operandAccess(size).pieces) {
      const linear = this.#linear(offset);
      for (let n = 0; n < bytes; n++) yield [this.#unit.fpu.operand + offset + n, linear + n];
    }
  }

  readFlags(): number {
    return this.#state.get('eflags');
  }
  writeComparison(flags: number): void {
    this.#state.set('eflags', (this.readFlags() & ~COMPARISON_FLAGS) | flags);
  }
  writeAx(value: number): void {
    this.#state.set('eax', (this.#state.get('eax') & 0xffff0000) | value);
  }
  pendingException(): void {
    this.#raise(FPU_ERROR);
  }

  readOperand(bytes: number): boolean {
    if (!this.#checkOperand(bytes, false)) return false;
    for (const [at, linear] of this.#places(bytes)) this.#unit.bytes[at] = this.#byte(linear);
    return true;
  }
  probeOperand(bytes: number): boolean {
    return this.#checkOperand(bytes, true);
  }
  writeOperand(bytes: number): void {
    for (const [at, linear] of this.#places(bytes))
      this.writeMemory(linear, this.#unit.bytes.slice(at, at + 1));
  }
}
