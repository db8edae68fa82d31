/** A part of a memory operand: bytes from the operand's start, and how many. */
export interface OperandPiece {
  readonly offset: number;
  readonly bytes: number;
}

/** The largest number in memory: extended precision or packed BCD. */
const LARGEST_NUMBER = 10;

/** Bytes of the environment (SDM vol. 1 figures 8-9 to 8-12), and of the state that FSAVE writes. */
export const environmentBytes = (operandBits: 16 | 32): number => (operandBits === 32 ? 28 : 14);
export const stateBytes = (operandBits: 16 | 32): number =>
  environmentBytes(operandBits) + 8 * LARGEST_NUMBER;

const TEN: readonly OperandPiece[] = [
  { offset: 0, bytes: 8 },
  { offset: 8, bytes: 2 },
];

/**
 * The parts in which processors check an operand, in their order; each part has an offset of its own, which wraps at
 * 64 KiB with 16-bit addresses. Seen in CR2 where an operand reaches into a missing page: numbers of ten bytes are
 * two accesses, and environment and state images are probed at their first field and last byte before all else.
 */
export function operandPieces(bytes: number): readonly OperandPiece[] {
  if (bytes < LARGEST_NUMBER) return [{ offset: 0, bytes }];
  if (bytes === LARGEST_NUMBER) return TEN;
  const field = bytes === environmentBytes(16) || bytes === stateBytes(16) ? 2 : 4;
  return [
    { offset: 0, bytes: field },
    { offset: bytes - 1, bytes: 1 },
    { offset: 0, bytes },
  ];
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
   * Checks the pieces of a memory operand of `bytes` bytes (`operandPieces`) and copies it to the operand buffer (`X87_LAYOUT.OPERAND`). False: it faulted, the
   * processor has seen to that, and the FPU must leave everything as it is.
   */
  readOperand(bytes: number): boolean;
  /** Checks that the pieces of such an operand can be written; false as above. */
  probeOperand(bytes: number): boolean;
  /** Copies `bytes` bytes of the operand buffer to the memory operand, which was probed just before. */
  writeOperand(bytes: number): void;
  /** A waiting instruction met a pending unmasked exception: #MF or FERR#, by CR0.NE. The instruction did nothing. */
  pendingException(): void;
}

/** What a CPU model says about the pointers to the last instruction and its operand. */
export interface X87Model {
  /** FXSAVE writes, and FXRSTOR loads, FOP, FIP and FDP only where FSW.ES is set (APM vol. 2 11.4.4.3). */
  readonly fxsavePointersOnlyOnError: boolean;
  /** FCS and FDS are always zero (CPUID.7.0:EBX[13]). */
  readonly segmentsDeprecated: boolean;
  /** FDP changes only when an instruction raises an unmasked exception (CPUID.7.0:EBX[6]). */
  readonly dataPointerOnlyOnException: boolean;
}

export const PLAIN_MODEL: X87Model = {
  fxsavePointersOnlyOnError: false,
  segmentsDeprecated: false,
  dataPointerOnlyOnException: false,
};
