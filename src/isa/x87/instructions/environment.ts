import { FCW, FSW } from '../control.ts';
import { environmentBytes, stateBytes, type X87Core } from '../core.ts';
import { EXPONENT_OFFSET } from '../softfloat/format.ts';
import type { X87 } from '../state.ts';
import type { Handler } from './handler.ts';

const REGISTER_BYTES = 10;

/** Real-mode formats hold 20- or 32-bit linear addresses in place of selector and offset. */
const linear = (selector: number, offset: number): number => ((selector << 4) + offset) >>> 0;

function writeEnvironment(fpu: X87, core: X87Core): void {
  const out = fpu.operandView;
  const wide = core.operandBits === 32;
  // Upper halves of 16-bit fields are reserved and read as ones.
  const word = (place: number, value: number): void => {
    if (wide) out.setUint32(place * 4, 0xffff_0000 | value, true);
    else out.setUint16(place * 2, value, true);
  };
  word(0, fpu.control);
  word(1, fpu.status);
  word(2, fpu.tagWord);
  if (core.realFormat) {
    const ip = linear(fpu.codeSegment, fpu.instructionPointer);
    const dp = linear(fpu.dataSegment, fpu.dataPointer);
    if (wide) {
      word(3, ip & 0xffff);
      out.setUint32(16, ((ip >>> 16) << 12) | fpu.opcode, true);
      word(5, dp & 0xffff);
      out.setUint32(24, (dp >>> 16) << 12, true);
    } else {
      word(3, ip);
      word(4, ((ip >>> 4) & 0xf000) | fpu.opcode);
      word(5, dp);
      word(6, (dp >>> 4) & 0xf000);
    }
  } else if (wide) {
    out.setUint32(12, fpu.instructionPointer, true);
    out.setUint32(16, (fpu.opcode << 16) | fpu.codeSegment, true);
    out.setUint32(20, fpu.dataPointer, true);
    word(6, fpu.dataSegment);
  } else {
    word(3, fpu.instructionPointer);
    word(4, fpu.codeSegment);
    word(5, fpu.dataPointer);
    word(6, fpu.dataSegment);
  }
}

function readEnvironment(fpu: X87, core: X87Core): void {
  const from = fpu.operandView;
  const wide = core.operandBits === 32;
  const word = (place: number): number => from.getUint16(place * (wide ? 4 : 2), true);
  const long = (place: number): number => from.getUint32(place * 4, true);
  fpu.control = word(0);
  fpu.status = word(1);
  fpu.tagWord = word(2);
  if (core.realFormat && wide) {
    const ip = ((long(4) & 0x0fff_f000) << 4) | word(3);
    fpu.setPointers(long(4), ip, 0, ((long(6) & 0x0fff_f000) << 4) | word(5), 0);
  } else if (core.realFormat) {
    const ip = ((word(4) & 0xf000) << 4) | word(3);
    fpu.setPointers(word(4), ip, 0, ((word(6) & 0xf000) << 4) | word(5), 0);
  } else if (wide) {
    fpu.setPointers(long(4) >>> 16, long(3), long(4), long(5), long(6));
  } else {
    // This format has no opcode.
    fpu.setPointers(0, word(3), word(4), word(5), word(6));
  }
}

/** FNSTENV: the control word masks everything afterwards. */
export const storeEnvironment: Handler = (fpu, core) => {
  writeEnvironment(fpu, core);
  core.writeOperand(environmentBytes(core.operandBits));
  fpu.control = fpu.control | FCW.MASKS;
};

export const loadEnvironment: Handler = (fpu, core) => readEnvironment(fpu, core);

/** FNSAVE: environment, then ST(0) to ST(7); ends like FNINIT. */
export const save: Handler = (fpu, core) => {
  writeEnvironment(fpu, core);
  const first = fpu.operand + environmentBytes(core.operandBits);
  for (let i = 0; i < 8; i++) fpu.copySlot(first + i * REGISTER_BYTES, fpu.st(i));
  core.writeOperand(stateBytes(core.operandBits));
  fpu.initialize();
};

export const restore: Handler = (fpu, core) => {
  readEnvironment(fpu, core);
  const first = fpu.operand + environmentBytes(core.operandBits);
  for (let i = 0; i < 8; i++) fpu.copySlot(fpu.st(i), first + i * REGISTER_BYTES);
};

/**
 * FXSAVE (SDM vol. 2A table 3-43): writes the x87 part, bytes 0-23 and 32-159, into the operand buffer. MXCSR
 * (24-31), the XMM registers and the copy to memory are the processor's. Nothing else changes.
 */
export function fxsave(fpu: X87): void {
  const out = fpu.operandView;
  const pointers = !fpu.model.fxsavePointersOnlyOnError || (fpu.status & FSW.ES) !== 0;
  out.setUint16(0, fpu.control, true);
  out.setUint16(2, fpu.status, true);
  out.setUint16(4, fpu.valid, true);
  out.setUint16(6, pointers ? fpu.opcode : 0, true);
  out.setUint32(8, pointers ? fpu.instructionPointer : 0, true);
  out.setUint32(12, pointers ? fpu.codeSegment : 0, true);
  out.setUint32(16, pointers ? fpu.dataPointer : 0, true);
  out.setUint32(20, pointers ? fpu.dataSegment : 0, true);
  for (let i = 0; i < 8; i++) {
    const slot = 32 + i * 16;
    fpu.copySlot(fpu.operand + slot, fpu.st(i));
    out.setUint16(slot + EXPONENT_OFFSET + 2, 0, true);
    out.setUint32(slot + EXPONENT_OFFSET + 4, 0, true);
  }
}

/** FXRSTOR: takes the x87 part from the operand buffer. Its checks of MXCSR belong before this call. */
export function fxrstor(fpu: X87): void {
  const from = fpu.operandView;
  const word = (place: number): number => from.getUint16(place, true);
  fpu.control = word(0);
  fpu.status = word(2);
  fpu.valid = word(4);
  if (!fpu.model.fxrstorPointersOnlyOnError || (fpu.status & FSW.ES) !== 0) {
    fpu.setPointers(word(6), from.getUint32(8, true), word(12), from.getUint32(16, true), word(20));
  }
  for (let i = 0; i < 8; i++) fpu.copySlot(fpu.st(i), fpu.operand + 32 + i * 16);
}
