import type { Int } from '../../wasm/expression.ts';
import type { Float } from '../../wasm/float.ts';
import type { V128 } from '../../wasm/vector.ts';
import type { Flags } from '../builder.ts';
import type { ScalarName, VectorName } from './soft/names.ts';

/**
 * An operand of a SIMD instruction: an MMX, XMM or general register, memory, or an immediate. An XMM register of less
 * than 128 bits is its low end.
 */
export interface SimdOperand {
  readonly bits: 8 | 16 | 32 | 64 | 128;
  /** Reads up to 64 bits: i64 for 64, else zero-extended to i32. A memory operand may fault here. */
  read(): Int;
  /** Replaces up to 64 bits; the rest of an XMM register stays as it was. */
  write(value: Int): void;
  /** Reads it with zeros above. */
  vector(): V128;
  /** Replaces its `bits` bits by the lowest of a vector. */
  setVector(value: V128): void;
}

/** Whose state an instruction depends on (SDM vol. 3A tables 2-2, 12-1, 13-1): decides the checks before it. */
export type SimdUnit = 'mmx' | 'sse' | 'both' | 'none';

export type SimdSemantics = (op: SimdBuilder, ...operands: SimdOperand[]) => void;

/** The code of a SIMD form. */
export interface SimdCode {
  readonly emit: SimdSemantics;
  readonly unit: SimdUnit;
  /** The 128-bit memory operand need not be aligned: MOVUPS and its kin (SDM vol. 1 10.4.1.1). */
  readonly unaligned: boolean;
}

/**
 * What the semantics of SIMD instructions are written in, as those of the others are in `Builder`. Floating-point
 * results come from two sources: WebAssembly's own instructions where they are certain to give the same bits and to
 * leave MXCSR as it is, the functions in `soft/` otherwise.
 */
export interface SimdBuilder {
  readonly flags: Flags;

  /** Compute a value now, to be used any number of times. */
  let(value: Int): Int;
  letVector(value: V128): V128;
  letFloat(value: Float): Float;
  if(condition: Int, then: () => void): void;

  /** MXCSR, as an i32. */
  control(): Int;
  setControl(value: Int): void;
  /**
   * i32 1 if MXCSR rounds to nearest, masks every exception and has PE set already: then an operation whose only
   * possible exception is #P changes nothing but its destination.
   */
  roundsQuietly(): Int;

  /** `fast` where `condition` (i32) holds, else what the vector operation `soft` makes of `x` and `y`; it may raise #XM. */
  chooseVector(condition: Int, fast: V128, soft: VectorName, x: V128, y: V128, extra?: Int): V128;
  /** The same for one lane: an i32 or i64, as `fast` is. */
  chooseScalar(condition: Int, fast: Int, soft: ScalarName, x: Int, y: Int, extra?: Int): Int;
  /** What the one-lane operation makes of `x` and `y`, as an integer of `bits` bits. */
  softScalar(soft: ScalarName, bits: 32 | 64, x: Int, y: Int, extra?: Int): Int;

  /** Stores those bytes of `data` at DS:EDI whose counterpart in `mask` has its top bit set. */
  storeMasked(bits: 64 | 128, data: V128, mask: V128): void;

  /** EMMS: all x87 registers become empty. */
  emptyRegisters(): void;

  /** Raises #GP(0) and ends the instruction. */
  generalProtection(): void;
}
