/** The largest number in memory: extended precision or packed BCD. */
const LARGEST_NUMBER = 10;

/** Bytes of the environment (SDM vol. 1 figures 8-9 to 8-12), and of the state that FSAVE writes. */
export const environmentBytes = (operandBits: 16 | 32): number => (operandBits === 32 ? 28 : 14);
export const stateBytes = (operandBits: 16 | 32): number =>
  environmentBytes(operandBits) + 8 * LARGEST_NUMBER;

/** A part of a memory operand: its place from the operand's start, and its size: 1, 2, 4 or 8 bytes. */
export interface OperandPiece {
  readonly offset: number;
  readonly bytes: number;
}

/**
 * How processors access a memory operand. Every piece has an offset of its own, which wraps at 64 KiB with 16-bit
 * addresses, and asks for alignment to its size where #AC is on. The order is seen in CR2 where an operand reaches
 * into a missing page.
 */
export interface OperandAccess {
  /** Checked before all else: environment and state images at their first field and last byte. */
  readonly probes: readonly OperandPiece[];
  /** What then is read or written, covering the operand once: numbers of ten bytes in two pieces, images by fields. */
  readonly pieces: readonly OperandPiece[];
}

function imageAccess(bytes: number, field: 2 | 4): OperandAccess {
  const pieces = Array.from({ length: bytes / field }, (_, n) => ({ offset: n * field, bytes: field }));
  return {
    probes: [
      { offset: 0, bytes: field },
      { offset: bytes - 1, bytes: 1 },
    ],
    pieces,
  };
}

const numberAccess = (...sizes: readonly number[]): OperandAccess => ({
  probes: [],
  pieces: sizes.map((bytes, n) => ({ offset: n * 8, bytes })),
});

const ACCESSES: ReadonlyMap<number, OperandAccess> = new Map([
  [2, numberAccess(2)],
  [4, numberAccess(4)],
  [8, numberAccess(8)],
  [LARGEST_NUMBER, numberAccess(8, 2)],
  [environmentBytes(16), imageAccess(environmentBytes(16), 2)],
  [environmentBytes(32), imageAccess(environmentBytes(32), 4)],
  [stateBytes(16), imageAccess(stateBytes(16), 2)],
  [stateBytes(32), imageAccess(stateBytes(32), 4)],
]);

/** The accesses of a memory operand of as many bytes as some x87 instruction has. */
export function operandAccess(bytes: number): OperandAccess {
  const access = ACCESSES.get(bytes);
  if (!access) throw new RangeError(`no x87 memory operand has ${bytes} bytes`);
  return access;
}

/** What the FPU asks of the processor around it while an instruction runs. */
export interface X87Core {
  /** Offset of the instruction (of its first prefix) in its code segment, 32 bits unsigned, and the selector in CS. */
  readonly instructionPointer: number;
  readonly codeSegment: number;
  /** Offset of the memory operand in its segment, 32 bits unsigned, and that segment's selector. */
  readonly dataPointer: number;
  readonly dataSegment: number;
  /** FOP: the low three bits of the opcode byte, then the ModRM byte. */
  readonly opcode: number;
  /** Operand size in bits: picks the format of FSTENV, FSAVE and their counterparts. */
  readonly operandBits: 16 | 32;
  /** Real-address or virtual-8086 mode: the other choice of that format. */
  readonly realFormat: boolean;
  /** EFLAGS, for FCMOVcc. */
  readFlags(): number;
  /** Replaces ZF, PF and CF by those bits of `flags` and clears OF, SF and AF (SDM vol. 2A "FCOMI"). */
  writeComparison(flags: number): void;
  writeAx(value: number): void;
  /**
   * Checks a memory operand of `bytes` bytes in the order of `operandAccess` and copies it to the operand buffer (`X87_LAYOUT.OPERAND`). False: it faulted, the
   * processor has seen to that, and the FPU must leave everything as it is.
   */
  readOperand(bytes: number): boolean;
  /** Checks in the same order that such an operand can be written; false as above. */
  probeOperand(bytes: number): boolean;
  /** Copies `bytes` bytes of the operand buffer to the memory operand, which was probed just before. */
  writeOperand(bytes: number): void;
  /** A waiting instruction met a pending unmasked exception: #MF or FERR#, by CR0.NE. The instruction did nothing. */
  pendingException(): void;
}

/** What a CPU model says about the pointers to the last instruction and its operand. */
export interface X87Model {
  /** FXSAVE writes FOP, FIP and FDP only where FSW.ES is set, zeros otherwise (AMD; APM vol. 2 11.4.4). */
  readonly fxsavePointersOnlyOnError: boolean;
  /** FXRSTOR loads them only where FSW.ES is set (AMD before CPUID 8000_0008:EBX[2], RstrFpErrPtrs). */
  readonly fxrstorPointersOnlyOnError: boolean;
  /** FCS and FDS are always zero (CPUID.7.0:EBX[13]). */
  readonly segmentsDeprecated: boolean;
  /** FDP changes only when an instruction raises an unmasked exception (CPUID.7.0:EBX[6]). */
  readonly dataPointerOnlyOnException: boolean;
}

export const PLAIN_MODEL: X87Model = {
  fxsavePointersOnlyOnError: false,
  fxrstorPointersOnlyOnError: false,
  segmentsDeprecated: false,
  dataPointerOnlyOnException: false,
};
