import { Code, Encoder, Instruction, OpKind, Register } from 'iced-x86';
import type { Fixup } from './code-buffer.ts';
import { type InstructionForm, immediateKind, matchingForms } from './instruction-forms.ts';
import { address, type LabelAddress, type MemoryOperandSpec, type Operand } from './operands.ts';

/** One encoded instruction. Offsets of the fixups count from its first byte. */
export interface Encoded {
  readonly bytes: Uint8Array;
  readonly fixups: readonly Fixup[];
}

/** Displacement and immediate stand-in for a label: it needs a full-width field. */
const PLACEHOLDER = { 16: 0x7fff, 32: 0x7fff_ffff } as const;

const show = (operand: Operand): string => {
  if (typeof operand === 'number') return `0x${operand.toString(16)}`;
  if (operand.kind === 'register') return operand.name;
  if (operand.kind === 'address') return operand.label;
  return operand.size === 0 ? 'memory' : `${operand.size} bits of memory`;
};

/**
 * Encodes an instruction in the shortest form that takes these operands, in 16- or 32-bit code.
 * Throws with the operands in words where the instruction set has no such form.
 */
export function encode(mnemonic: string, operands: readonly Operand[], bits: 16 | 32, lock = false): Encoded {
  let best: Encoded | undefined;
  for (const form of matchingForms(mnemonic, operands, bits)) {
    const encoded = encodeForm(form, operands, bits, lock);
    if (best === undefined || encoded.bytes.length < best.bytes.length) best = encoded;
  }
  if (best === undefined) {
    throw new Error(`No form of ${mnemonic} takes (${operands.map(show).join(', ')}) in ${bits}-bit code.`);
  }
  return best;
}

/** Encodes a near (or, where `short`, an 8-bit) branch to a label. */
export function encodeBranch(mnemonic: string, label: string, bits: 16 | 32, short = false): Encoded {
  const suffix = short ? `rel8_${bits}` : bits === 16 ? 'rel16' : 'rel32_32';
  const counted = mnemonic.startsWith('Loop') ? (bits === 16 ? '_CX' : '_ECX') : '';
  const code = Code[`${mnemonic}_${suffix}${counted}` as keyof typeof Code];
  if (code === undefined) throw new Error(`There is no ${short ? 'short' : 'near'} branch "${mnemonic}".`);
  const instruction = Instruction.createBranch(code, 0n);
  return finish(instruction, bits, (at, size) => ({ at, size, kind: 'relative', target: address(label) }));
}

function encodeForm(
  form: InstructionForm,
  operands: readonly Operand[],
  bits: 16 | 32,
  lock: boolean,
): Encoded {
  const instruction = Instruction.create(form.code);
  let immediate: LabelAddress | undefined;
  let displacement: LabelAddress | undefined;
  operands.forEach((operand, index) => {
    if (typeof operand === 'number' || operand.kind === 'address') {
      const value = typeof operand === 'number' ? operand : PLACEHOLDER[bits];
      if (typeof operand !== 'number') immediate = operand;
      instruction.setOpKind(index, immediateKind(form.operands[index]));
      if (value > 0x7fff_ffff) instruction.setImmediateU32(index, value);
      else instruction.setImmediateI32(index, value);
    } else if (operand.kind === 'register') {
      instruction.setOpKind(index, OpKind.Register);
      instruction.setOpRegister(index, operand.register);
    } else {
      instruction.setOpKind(index, OpKind.Memory);
      setMemory(instruction, operand, bits);
      if (typeof operand.displacement !== 'number') displacement = operand.displacement;
    }
  });
  instruction.hasLockPrefix = lock;
  return finish(instruction, bits, (at, size, field) => {
    const target = field === 'displacement' ? displacement : immediate;
    return target && { at, size, kind: 'absolute', target };
  });
}

function setMemory(instruction: Instruction, operand: MemoryOperandSpec, bits: 16 | 32): void {
  const isLabel = typeof operand.displacement !== 'number';
  const value = typeof operand.displacement === 'number' ? operand.displacement : PLACEHOLDER[bits];
  const addressBits = operand.base?.size ?? operand.index?.size ?? bits;
  const absolute = operand.base === undefined && operand.index === undefined;
  instruction.memoryBase = operand.base?.register ?? Register.None;
  instruction.memoryIndex = operand.index?.register ?? Register.None;
  instruction.memoryIndexScale = operand.scale;
  instruction.memoryDisplacement = BigInt(addressBits === 16 ? value & 0xffff : value >>> 0);
  // iced-x86: 0 is no displacement, 1 lets it choose 8 bits where they suffice, 2 and 4 fix the width in bytes.
  instruction.memoryDisplSize = absolute || isLabel ? addressBits / 8 : value === 0 ? 0 : 1;
  instruction.segmentPrefix = operand.segment?.register ?? Register.None;
}

type FixupOf = (at: number, size: 1 | 2 | 4, field: 'displacement' | 'immediate') => Fixup | undefined;

/** Encodes and frees the instruction; the wasm heap is not garbage collected. */
function finish(instruction: Instruction, bits: 16 | 32, fixupOf: FixupOf): Encoded {
  const encoder = new Encoder(bits);
  try {
    encoder.encode(instruction, 0n);
    const bytes = encoder.takeBuffer();
    const offsets = encoder.getConstantOffsets();
    const fixups: Fixup[] = [];
    const note = (at: number, size: number, field: 'displacement' | 'immediate'): void => {
      const fixup = fixupOf(at, size as 1 | 2 | 4, field);
      if (fixup !== undefined) fixups.push(fixup);
    };
    if (offsets.hasDisplacement) note(offsets.displacementOffset, offsets.displacementSize, 'displacement');
    if (offsets.hasImmediate) note(offsets.immediateOffset, offsets.immediateSize, 'immediate');
    offsets.free();
    return { bytes, fixups };
  } finally {
    encoder.free();
    instruction.free();
  }
}
