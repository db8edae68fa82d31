import type { FunctionReference } from '../../wasm/function.ts';
import { type ModuleBuilder, signature } from '../../wasm/module.ts';

/**
 * What the interpreter's module asks of TypeScript. `record` is the address of the running instruction's record. A
 * slow path that delivers an exception sets FAULT, leaves EIP at the handler and has undone the budget.
 */
export interface InterpreterImports {
  /** Reads 1, 2 or 4 bytes at a linear address that missed the fast TLB. */
  readSlow(record: number, linear: number, size: number): number;
  readSlow64(record: number, linear: number): bigint;
  /** As `readSlow`, after checking that the same bytes may be written. */
  modifySlow(record: number, linear: number, size: number): number;
  modifySlow64(record: number, linear: number): bigint;
  /** Writes; returns 0, or the record to go on with after this instruction. */
  writeSlow(record: number, linear: number, size: number, value: number): number;
  writeSlow64(record: number, linear: number, value: bigint): number;
  /** Reads 16 bytes into SIMD_TRANSFER; with `aligned` 1 an address that is no multiple of 16 raises #GP(0). */
  readSlow128(record: number, linear: number, aligned: number): void;
  /** Writes the 16 bytes of SIMD_TRANSFER; answers as `writeSlow`. */
  writeSlow128(record: number, linear: number, aligned: number): number;
  /** Writes those of the first `size` bytes of SIMD_TRANSFER whose byte in SIMD_MASK has its top bit set. */
  writeMaskedSlow(record: number, linear: number, size: number): number;
  /** Raises what keeps an MMX instruction from running or, with `sse` 1, an SSE instruction. */
  simdUnavailable(record: number, sse: number): void;
  /** Raises the exception for an unmasked SIMD floating-point exception. */
  simdException(record: number): void;
  /** Raises #GP(0). */
  generalProtection(record: number): void;
  /** An access outside its segment: raises #SS(0) or #GP(0). `segment` is the segment register's address. */
  segmentFault(record: number, segment: number): void;
  /** Raises an exception without error code. */
  raise(record: number, vector: number): void;
  /** Runs a form that TypeScript carries out; returns the next record, or 0 to look EIP up. */
  external(record: number): number;
  /** Finds or decodes the block at EIP; 0 if the run must end. */
  find(): number;
  /** The target of a relative branch within its page, for its LINK field; 0 if EIP must be looked up. */
  link(record: number): number;
  /** The budget does not cover this block: a copy that ends with the slice, or 0 if that is now. */
  shorten(record: number): number;
}

type Imported = { readonly [Name in keyof InterpreterImports]: FunctionReference };

export function declareImports(module: ModuleBuilder): Imported {
  const declare = (name: keyof InterpreterImports, parameters: string, result: string): FunctionReference => {
    const types = (letters: string) => [...letters].map((letter) => (letter === 'L' ? 'i64' : 'i32'));
    return module.importFunction(
      'cpu',
      name,
      signature(types(parameters) as ('i32' | 'i64')[], types(result) as ('i32' | 'i64')[]),
    );
  };
  return {
    readSlow: declare('readSlow', 'iii', 'i'),
    readSlow64: declare('readSlow64', 'ii', 'L'),
    modifySlow: declare('modifySlow', 'iii', 'i'),
    modifySlow64: declare('modifySlow64', 'ii', 'L'),
    writeSlow: declare('writeSlow', 'iiii', 'i'),
    writeSlow64: declare('writeSlow64', 'iiL', 'i'),
    readSlow128: declare('readSlow128', 'iii', ''),
    writeSlow128: declare('writeSlow128', 'iii', 'i'),
    writeMaskedSlow: declare('writeMaskedSlow', 'iii', 'i'),
    simdUnavailable: declare('simdUnavailable', 'ii', ''),
    simdException: declare('simdException', 'i', ''),
    generalProtection: declare('generalProtection', 'i', ''),
    segmentFault: declare('segmentFault', 'ii', ''),
    raise: declare('raise', 'ii', ''),
    external: declare('external', 'i', 'i'),
    find: declare('find', '', 'i'),
    link: declare('link', 'i', 'i'),
    shorten: declare('shorten', 'i', 'i'),
  };
}
