import { Register } from 'iced-x86';

/** What a register operand may be used for. Segment, control and debug registers have their own encodings. */
export type RegisterClass = 'general' | 'segment' | 'control' | 'debug';

/** A register operand. `size` is its width in bits. */
export interface RegisterOperand {
  readonly kind: 'register';
  readonly register: Register;
  readonly class: RegisterClass;
  readonly size: 8 | 16 | 32;
  readonly name: string;
}

/** The address of a label plus `offset` bytes, known only when the program is assembled. */
export interface LabelAddress {
  readonly kind: 'address';
  readonly label: string;
  readonly offset: number;
}

/** A memory operand. `size` is the width of the access in bits; 0 where the instruction implies it. */
export interface MemoryOperandSpec {
  readonly kind: 'memory';
  readonly size: 0 | 8 | 16 | 32 | 64;
  readonly base: RegisterOperand | undefined;
  readonly index: RegisterOperand | undefined;
  readonly scale: 1 | 2 | 4 | 8;
  readonly displacement: number | LabelAddress;
  readonly segment: RegisterOperand | undefined;
}

export type Immediate = number | LabelAddress;
export type Operand = RegisterOperand | MemoryOperandSpec | Immediate;

const register =
  (kind: RegisterClass, size: 8 | 16 | 32) =>
  (name: string, register: Register): RegisterOperand => ({
    kind: 'register',
    register,
    class: kind,
    size,
    name,
  });
const byte = register('general', 8);
const word = register('general', 16);
const dword = register('general', 32);
const segment = register('segment', 16);
const control = register('control', 32);
const debug = register('debug', 32);

export const al = byte('al', Register.AL);
export const bl = byte('bl', Register.BL);
export const cl = byte('cl', Register.CL);
export const dl = byte('dl', Register.DL);
export const ah = byte('ah', Register.AH);
export const bh = byte('bh', Register.BH);
export const ch = byte('ch', Register.CH);
export const dh = byte('dh', Register.DH);

export const ax = word('ax', Register.AX);
export const bx = word('bx', Register.BX);
export const cx = word('cx', Register.CX);
export const dx = word('dx', Register.DX);
export const si = word('si', Register.SI);
export const di = word('di', Register.DI);
export const bp = word('bp', Register.BP);
export const sp = word('sp', Register.SP);

export const eax = dword('eax', Register.EAX);
export const ebx = dword('ebx', Register.EBX);
export const ecx = dword('ecx', Register.ECX);
export const edx = dword('edx', Register.EDX);
export const esi = dword('esi', Register.ESI);
export const edi = dword('edi', Register.EDI);
export const ebp = dword('ebp', Register.EBP);
export const esp = dword('esp', Register.ESP);

export const cs = segment('cs', Register.CS);
export const ds = segment('ds', Register.DS);
export const es = segment('es', Register.ES);
export const fs = segment('fs', Register.FS);
export const gs = segment('gs', Register.GS);
export const ss = segment('ss', Register.SS);

export const cr0 = control('cr0', Register.CR0);
export const cr2 = control('cr2', Register.CR2);
export const cr3 = control('cr3', Register.CR3);
export const cr4 = control('cr4', Register.CR4);

export const dr6 = debug('dr6', Register.DR6);
export const dr7 = debug('dr7', Register.DR7);

/** The address of `label` plus `offset` bytes, as an immediate or a displacement. */
export const address = (label: string, offset = 0): LabelAddress => ({ kind: 'address', label, offset });

/** Where a memory operand lies: a base register, a fixed address, or a label, plus a displacement. */
type Base = RegisterOperand | number | LabelAddress;

/** Optional parts of a memory operand. */
export interface MemoryOptions {
  readonly index?: RegisterOperand;
  readonly scale?: 1 | 2 | 4 | 8;
  readonly segment?: RegisterOperand;
}

function memory(
  size: MemoryOperandSpec['size'],
  base: Base,
  displacement: number | LabelAddress,
  options: MemoryOptions,
): MemoryOperandSpec {
  const register = typeof base !== 'number' && base.kind === 'register' ? base : undefined;
  let total = displacement;
  if (typeof base === 'number' || base.kind === 'address') {
    if (typeof displacement !== 'number') throw new TypeError('A memory operand takes one label, not two.');
    total = typeof base === 'number' ? base + displacement : address(base.label, base.offset + displacement);
  }
  return {
    kind: 'memory',
    size,
    base: register,
    index: options.index,
    scale: options.scale ?? 1,
    displacement: total,
    segment: options.segment,
  };
}

const sized =
  (size: MemoryOperandSpec['size']) =>
  (base: Base, displacement: number | LabelAddress = 0, options: MemoryOptions = {}): MemoryOperandSpec =>
    memory(size, base, displacement, options);

/** Memory whose width the instruction implies, as in LEA, LGDT, INVLPG or FXSAVE. */
export const mem = sized(0);
/** One byte of memory: `mem8(ebx, 4)` is `byte [ebx + 4]`; `mem8(address('x'))` is the byte at label x. */
export const mem8 = sized(8);
/** Two bytes of memory. */
export const mem16 = sized(16);
/** Four bytes of memory. */
export const mem32 = sized(32);
/** Eight bytes of memory. */
export const mem64 = sized(64);
