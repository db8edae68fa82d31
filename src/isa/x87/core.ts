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
   * Copies `bytes` bytes of the memory operand to the operand buffer (`X87_LAYOUT.OPERAND`). False: it faulted, the
   * processor has seen to that, and the FPU must leave everything as it is.
   */
  readOperand(bytes: number): boolean;
  /** Checks that `bytes` bytes of the memory operand can be written; false as above. */
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
