import type { Form, OperandSpec } from '../../isa/form.ts';
import { FORMS } from '../../isa/table.ts';
import { X87_LAYOUT } from '../../isa/x87/index.ts';
import type { WasmMemory } from '../../wasm/engine.ts';
import type { InterpreterCore } from '../interpreter/core.ts';
import {
  CS,
  DS,
  ES,
  FPU,
  FS,
  GS,
  RECORD,
  RECORD_FLAG,
  REGISTERS,
  SS,
  segmentAddress,
  XMM,
  ZERO_SLOT,
} from '../layout.ts';
import { type Candidate, type OpcodeEntry, type OpcodeMap, opcodeMap } from './opcode-map.ts';

/** What of the processor's mode decides how bytes decode and which handlers run them. */
export const DECODE_MODE = {
  /** CS.D: 32-bit operands and addresses by default. */
  CODE32: 1,
  /** CS, DS, ES and SS have base 0 and no limit, SS.B is set. */
  FLAT: 2,
} as const;

/** `decode` ran into `end` before the instruction was whole. */
export const INCOMPLETE = 0;

/** SDM vol. 2A 2.3.11: longer instructions raise #GP. */
const MAXIMUM_LENGTH = 15;
/** 0F 20 to 27, MOV to and from control, debug and test registers: ModRM.mod is taken for 3 (SDM vol. 2B "MOV"). */
const MOV_SYSTEM_REGISTER = 0x20;

const formNamed = (name: string): number => FORMS.findIndex((form) => form.semantics === name);
const UNDEFINED = formNamed('undefined');
const TOO_LONG = formNamed('tooLong');

/** ModRM r/m to base and index register of 16-bit addressing (SDM vol. 2A table 2-1); -1: none. */
// biome-ignore format: table
const BASES_16 = [3, 3, 5, 5, 6, 7, 5, 3];
// biome-ignore format: table
const INDEXES_16 = [6, 7, 6, 7, -1, -1, -1, -1];

const registerAddress = (number: number): number => REGISTERS + number * 8;
const mmxAddress = (number: number): number => FPU + X87_LAYOUT.REGISTERS + number * 16;
const xmmAddress = (number: number): number => XMM + number * 16;
/** AL CL DL BL AH CH DH BH */
const byteRegisterAddress = (number: number): number =>
  number < 4 ? registerAddress(number) : registerAddress(number - 4) + 1;

/** Turns bytes into records. One decoder serves one CPU model. */
export class Decoder {
  readonly #map: OpcodeMap;
  readonly #core: InterpreterCore;
  readonly #u8: Uint8Array;
  readonly #view: DataView;

  /** Set by `decode`: control does not fall through to the next record. */
  ends = false;

  #bytes: Uint8Array = new Uint8Array(0);
  #position = 0;
  #end = 0;
  #incomplete = false;

  #operand16 = false;
  #address16 = false;
  #segment = -1;
  #repeat = 0;
  #lock = false;
  #prefix66 = false;

  constructor(core: InterpreterCore, memory: WasmMemory, hasFeature: (name: string) => boolean) {
    this.#core = core;
    this.#map = opcodeMap(hasFeature);
    this.#u8 = new Uint8Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
  }

  /**
   * Decodes one instruction into the record at `record`, with REMAINING left to the caller.
   *
   * @param bytes      where the instruction lies, from `position` to `end` (exclusive)
   * @param pageOffset its offset within its page
   * @param mode       OR of DECODE_MODE
   * @returns its length in bytes, or INCOMPLETE
   */
  decode(
    bytes: Uint8Array,
    position: number,
    end: number,
    pageOffset: number,
    mode: number,
    record: number,
  ): number {
    this.#bytes = bytes;
    this.#position = position;
    this.#end = Math.min(end, position + MAXIMUM_LENGTH);
    this.#incomplete = false;
    this.#clear(record);
    this.#prefixes((mode & DECODE_MODE.CODE32) === 0);
    const form = this.#opcode(record);
    if (this.#incomplete) {
      if (end - position < MAXIMUM_LENGTH) return INCOMPLETE;
      return this.#special(record, TOO_LONG, MAXIMUM_LENGTH, pageOffset);
    }
    const length = this.#position - position;
    if (form < 0) return this.#special(record, UNDEFINED, length, pageOffset);
    this.#finish(record, form, length, pageOffset, mode);
    return length;
  }

  #clear(record: number): void {
    this.#u8.fill(0, record, record + 32);
    this.#view.setUint16(record + RECORD.BASE, ZERO_SLOT, true);
    this.#view.setUint16(record + RECORD.INDEX, ZERO_SLOT, true);
  }

  #special(record: number, form: number, length: number, pageOffset: number): number {
    this.#view.setUint16(record + RECORD.HANDLER, this.#core.special.external, true);
    this.#view.setUint16(record + RECORD.FORM, form, true);
    this.#u8[record + RECORD.LENGTH] = length;
    this.#view.setUint16(record + RECORD.OFFSET, pageOffset, true);
    this.ends = true;
    return length;
  }

  #byte(): number {
    if (this.#position >= this.#end) {
      this.#incomplete = true;
      return 0;
    }
    return this.#bytes[this.#position++] as number;
  }

  #word(): number {
    const low = this.#byte();
    return low | (this.#byte() << 8);
  }

  #doubleword(): number {
    const low = this.#word();
    return low | (this.#word() << 16);
  }

  #signedByte(): number {
    return (this.#byte() << 24) >> 24;
  }

  /** SDM vol. 2A 2.1.1. Leaves the position behind the prefixes. */
  #prefixes(code16: boolean): void {
    let address67 = false;
    this.#prefix66 = false;
    this.#segment = -1;
    this.#repeat = 0;
    this.#lock = false;
    for (;;) {
      const byte = this.#byte();
      switch (byte) {
        case 0x66:
          this.#prefix66 = true;
          continue;
        case 0x67:
          address67 = true;
          continue;
        case 0x26:
          this.#segment = ES;
          continue;
        case 0x2e:
          this.#segment = CS;
          continue;
        case 0x36:
          this.#segment = SS;
          continue;
        case 0x3e:
          this.#segment = DS;
          continue;
        case 0x64:
          this.#segment = FS;
          continue;
        case 0x65:
          this.#segment = GS;
          continue;
        case 0xf0:
          this.#lock = true;
          continue;
        case 0xf2:
        case 0xf3:
          this.#repeat = byte;
          continue;
      }
      if (!this.#incomplete) this.#position--;
      this.#operand16 = code16 !== this.#prefix66;
      this.#address16 = code16 !== address67;
      return;
    }
  }

  /** Reads opcode, ModRM and operands; the form's index, or -1 if there is none. */
  #opcode(record: number): number {
    let map = 0;
    let opcode = this.#byte();
    if (opcode === 0x0f) {
      map = 1;
      opcode = this.#byte();
      if (opcode === 0x38 || opcode === 0x3a) {
        map = opcode === 0x38 ? 2 : 3;
        opcode = this.#byte();
      }
    }
    const entry = this.#map[map * 256 + opcode];
    if (entry === undefined) return -1;
    const ignoresMod = map === 1 && (opcode & ~7) === MOV_SYSTEM_REGISTER;
    const modrm = entry.modrm ? this.#byte() | (ignoresMod ? 0xc0 : 0) : -1;
    if (this.#incomplete) return -1;
    const candidate = this.#choose(entry, modrm);
    if (candidate === undefined) return -1;
    const { form } = candidate;
    const registerMode = modrm >= 0xc0;
    if (form.encoding.modrm && !registerMode) this.#memoryOperand(record, modrm);
    this.#u8[record + RECORD.IMMEDIATE] = modrm;
    if (this.#lock && !this.#lockAllowed(form, registerMode)) return -1;
    this.#operands(record, form, opcode, modrm);
    return candidate.index;
  }

  #choose(entry: OpcodeEntry, modrm: number): Candidate | undefined {
    const prefix = this.#repeat !== 0 ? this.#repeat : this.#prefix66 ? 0x66 : 0;
    const registerMode = modrm >= 0xc0;
    const digit = (modrm >> 3) & 7;
    for (const candidate of entry.candidates) {
      const { encoding, opcodePrefix } = candidate.form;
      if (encoding.mandatoryPrefix !== 0 && encoding.mandatoryPrefix !== prefix) continue;
      if (opcodePrefix === 'none' && prefix !== 0) continue;
      if (encoding.fixedModrm >= 0 && encoding.fixedModrm !== modrm) continue;
      if (encoding.digit >= 0 && encoding.digit !== digit) continue;
      if (candidate.mod !== 'any' && (candidate.mod === 'register') !== registerMode) continue;
      return candidate;
    }
    return undefined;
  }

  /** SDM vol. 2A "LOCK": #UD unless the destination of one of the listed instructions is memory. */
  #lockAllowed(form: Form, registerMode: boolean): boolean {
    if (form.lock !== true) return false;
    return !registerMode || form.operands.some((spec) => spec.kind === 'C');
  }

  #memoryOperand(record: number, modrm: number): void {
    this.#u8[record + RECORD.FLAGS] |= RECORD_FLAG.MEMORY;
    if (this.#address16) this.#address16Form(record, modrm);
    else this.#address32Form(record, modrm);
  }

  #address16Form(record: number, modrm: number): void {
    const mod = modrm >> 6;
    const rm = modrm & 7;
    if (mod === 0 && rm === 6) {
      this.#view.setInt32(record + RECORD.DISPLACEMENT, this.#word(), true);
      return;
    }
    const base = BASES_16[rm] as number;
    const index = INDEXES_16[rm] as number;
    this.#view.setUint16(record + RECORD.BASE, registerAddress(base), true);
    if (index >= 0) this.#view.setUint16(record + RECORD.INDEX, registerAddress(index), true);
    if (base === 5 && this.#segment < 0) this.#segment = SS;
    this.#displacement(record, mod, true);
  }

  /** SDM vol. 2A tables 2-2 and 2-3. */
  #address32Form(record: number, modrm: number): void {
    const mod = modrm >> 6;
    let base = modrm & 7;
    if (base === 4) {
      const sib = this.#byte();
      const index = (sib >> 3) & 7;
      base = sib & 7;
      if (index !== 4) {
        this.#view.setUint16(record + RECORD.INDEX, registerAddress(index), true);
        this.#u8[record + RECORD.SCALE] = sib >> 6;
      }
    }
    if (base === 5 && mod === 0) {
      this.#view.setInt32(record + RECORD.DISPLACEMENT, this.#doubleword(), true);
      return;
    }
    this.#view.setUint16(record + RECORD.BASE, registerAddress(base), true);
    if ((base === 4 || base === 5) && this.#segment < 0) this.#segment = SS;
    this.#displacement(record, mod, false);
  }

  #displacement(record: number, mod: number, short: boolean): void {
    if (mod === 0) return;
    const value = mod === 1 ? this.#signedByte() : short ? (this.#word() << 16) >> 16 : this.#doubleword();
    this.#view.setInt32(record + RECORD.DISPLACEMENT, value, true);
  }

  /** Fields A (r/m register) and B (reg field or opcode register), immediates. */
  #operands(record: number, form: Form, opcode: number, modrm: number): void {
    let immediates = 0;
    for (const spec of form.operands) {
      switch (spec.kind) {
        case 'E':
        case 'R':
        case 'Q':
        case 'N':
        case 'W':
        case 'U':
          if (modrm >= 0xc0) this.#view.setUint16(record + RECORD.A, this.#register(spec, modrm & 7), true);
          break;
        case 'G':
        case 'P':
        case 'V':
          this.#view.setUint16(record + RECORD.B, this.#register(spec, (modrm >> 3) & 7), true);
          break;
        case 'Z':
          this.#view.setUint16(record + RECORD.B, this.#register(spec, opcode & 7), true);
          break;
        case 'S':
        case 'C':
        case 'D':
        case 'T':
          this.#view.setUint16(record + RECORD.B, (modrm >> 3) & 7, true);
          break;
        case 'I':
          if (immediates++ === 0) this.#view.setInt32(record + RECORD.IMMEDIATE, this.#immediate(spec), true);
          else this.#view.setInt32(record + RECORD.DISPLACEMENT, this.#immediate(spec), true);
          break;
        case 'J':
          this.#view.setInt32(
            record + RECORD.IMMEDIATE,
            spec.size === 'b'
              ? this.#signedByte()
              : this.#operand16
                ? (this.#word() << 16) >> 16
                : this.#doubleword(),
            true,
          );
          break;
        case 'A':
          this.#view.setInt32(
            record + RECORD.IMMEDIATE,
            this.#operand16 ? this.#word() : this.#doubleword(),
            true,
          );
          this.#view.setInt32(record + RECORD.LINK, this.#word(), true);
          break;
        case 'O':
          this.#u8[record + RECORD.FLAGS] |= RECORD_FLAG.MEMORY;
          this.#view.setInt32(
            record + RECORD.DISPLACEMENT,
            this.#address16 ? this.#word() : this.#doubleword(),
            true,
          );
          break;
      }
    }
  }

  #register(spec: OperandSpec, number: number): number {
    const { kind } = spec;
    if (kind === 'P' || kind === 'Q' || kind === 'N') return mmxAddress(number);
    if (kind === 'V' || kind === 'W' || kind === 'U') return xmmAddress(number);
    return spec.size === 'b' ? byteRegisterAddress(number) : registerAddress(number);
  }

  #immediate(spec: OperandSpec): number {
    if (spec.signed) return this.#signedByte();
    switch (spec.size) {
      case 'b':
        return this.#byte();
      case 'w':
        return this.#word();
      default:
        return this.#operand16 ? this.#word() : this.#doubleword();
    }
  }

  #finish(record: number, index: number, length: number, pageOffset: number, mode: number): void {
    const form = FORMS[index] as Form;
    const view = this.#view;
    const memory = (this.#u8[record + RECORD.FLAGS] as number) & RECORD_FLAG.MEMORY;
    if (this.#segment < 0) this.#segment = DS;
    view.setUint16(record + RECORD.SEGMENT, segmentAddress(this.#segment), true);
    this.#u8[record + RECORD.FLAGS] =
      memory |
      (this.#operand16 ? RECORD_FLAG.OPERAND16 : 0) |
      (this.#address16 ? RECORD_FLAG.ADDRESS16 : 0) |
      (this.#lock ? RECORD_FLAG.LOCK : 0) |
      (this.#repeat === 0xf3 ? RECORD_FLAG.REP : this.#repeat === 0xf2 ? RECORD_FLAG.REPNE : 0);
    this.#u8[record + RECORD.LENGTH] = length;
    view.setUint16(record + RECORD.OFFSET, pageOffset, true);
    view.setUint16(record + RECORD.FORM, index, true);
    this.ends = form.ends === true;
    // CS may be execute-only; FS and GS are rarely flat.
    const flat =
      (mode & DECODE_MODE.FLAT) !== 0 &&
      !this.#address16 &&
      (this.#segment === DS || this.#segment === SS || this.#segment === ES);
    this.#link(record, form, length, pageOffset, (mode & DECODE_MODE.FLAT) !== 0);
    const handler = this.#core.handlers.get({
      form: index,
      memory: memory !== 0 && !form.operands.some((spec) => spec.kind === 'O'),
      operandBits: this.#operand16 ? 16 : 32,
      addressBits: this.#address16 ? 16 : 32,
      flat,
    });
    // What has no handler is carried out in TypeScript.
    view.setUint16(record + RECORD.HANDLER, handler < 0 ? this.#core.special.external : handler, true);
  }

  /** Relative branches get their target, others the mask of their effective address. */
  #link(record: number, form: Form, length: number, pageOffset: number, flat: boolean): void {
    const kind = form.operands[0]?.kind;
    if (kind === 'A') return;
    if (kind !== 'J') {
      this.#view.setInt32(record + RECORD.LINK, this.#address16 ? 0xffff : -1, true);
      return;
    }
    const target = pageOffset + length + this.#view.getInt32(record + RECORD.IMMEDIATE, true);
    const near = flat && !this.#operand16 && target >= 0 && target < 4096;
    this.#view.setInt32(record + RECORD.IMMEDIATE, target, true);
    this.#view.setInt32(record + RECORD.LINK, near ? 0 : -1, true);
  }
}
