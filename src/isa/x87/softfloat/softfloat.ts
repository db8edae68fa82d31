import type { FunctionReference } from '../../../wasm/function.ts';
import type { ModuleBuilder } from '../../../wasm/module.ts';
import { emitFromDecimal, emitToDecimal } from './decimal.ts';
import { DOUBLE, emitFromFloat, emitToFloat, emitWiden, SINGLE } from './floats.ts';
import { emitFromInteger, emitToInteger } from './integers.ts';
import { makeKit } from './kit.ts';
import { emitCompare } from './order.ts';
import { emitProduct } from './product.ts';
import { emitRemainder } from './remainder.ts';
import { emitSquareRoot } from './root.ts';
import { emitExtract, emitRoundToInteger, emitScale } from './scaling.ts';
import { emitSum } from './sum.ts';

/** (slot, slot, slot, control word) -> flags */
type Binary = (destination: number, x: number, y: number, control: number) => number;
/** (slot or address, slot or address, control word) -> flags */
type Unary = (destination: number, source: number, control: number) => number;

/**
 * The arithmetic of the x87 on numbers in memory, exact to the bit. Arguments are linear-memory addresses: of 16-byte
 * slots (see format.ts) or, for conversions, of raw operands. `control` is the FCW; bit 16 (DENORMAL_OPERAND) says
 * that an operand came from a denormal single or double. The answer is the exception flags in FSW positions, with
 * C1 for "rounded up" (or as each function says). Where an exception of the answer is unmasked and the manual keeps
 * the destination for it (#IA, #D, #Z; #O and #U for stores to memory), the destination was not written. A
 * destination may be one of the sources.
 */
export interface SoftFloat {
  readonly add: Binary;
  readonly sub: Binary;
  readonly mul: Binary;
  readonly div: Binary;
  readonly sqrt: Unary;
  /** FPREM and FPREM1: also C0, C3, C1 (quotient) and C2 (incomplete). */
  readonly remainder: Binary;
  readonly remainderNearest: Binary;
  readonly scale: Binary;
  /** (exponent slot, significand slot, source slot, control). */
  readonly extract: Binary;
  readonly roundToInteger: Unary;
  /** (x, y, control) -> flags with C3, C2, C0; `compareQuiet` accepts quiet NaNs. */
  readonly compare: Unary;
  readonly compareQuiet: Unary;
  /** Signed integers in memory -> slot; exact. */
  readonly fromI16: Unary;
  readonly fromI32: Unary;
  readonly fromI64: Unary;
  /** Slot -> signed integer in memory. */
  readonly toI16: Unary;
  readonly toI32: Unary;
  readonly toI64: Unary;
  /** (slot, address) -> DE or 0: exact, for operands of arithmetic; add `answer << 15` to their control argument. */
  readonly widenF32: (destination: number, source: number) => number;
  readonly widenF64: (destination: number, source: number) => number;
  /** (slot, address, control, scratch slot) -> flags: FLD. */
  readonly fromF32: Binary;
  readonly fromF64: Binary;
  /** Slot -> single or double in memory. */
  readonly toF32: Unary;
  readonly toF64: Unary;
  /** 10-byte packed BCD. */
  readonly fromDecimal: (destination: number, source: number) => number;
  readonly toDecimal: Unary;
  /**
   * What comes before arithmetic, for operations outside this module: (destination, x, y, control) -> IE if a NaN or
   * an unsupported encoding settled the matter, with SCREEN_DONE; otherwise DE or 0.
   */
  readonly screen: Binary;
  /**
   * (destination, sign, biased exponent, high, low, control) -> flags: rounds and stores high.low, 64 bits and what
   * follows them, `high` with its top bit set.
   */
  readonly roundPack: (
    destination: number,
    sign: number,
    exponent: number,
    high: bigint,
    low: bigint,
    control: number,
  ) => number;
}

/** The same functions inside the module under construction, for emitted code that calls them. */
export type SoftFloatFunctions = { readonly [Name in keyof SoftFloat]: FunctionReference };

/** Emits the arithmetic into a module that imports a memory, after its imports. */
export function emitSoftFloat(module: ModuleBuilder): SoftFloatFunctions {
  const kit = makeKit(module);
  const widenF32 = emitWiden(kit, SINGLE);
  const widenF64 = emitWiden(kit, DOUBLE);
  return {
    ...emitSum(kit),
    ...emitProduct(kit),
    sqrt: emitSquareRoot(kit),
    ...emitRemainder(kit),
    scale: emitScale(kit),
    extract: emitExtract(kit),
    roundToInteger: emitRoundToInteger(kit),
    ...emitCompare(kit),
    fromI16: emitFromInteger(kit, 16),
    fromI32: emitFromInteger(kit, 32),
    fromI64: emitFromInteger(kit, 64),
    toI16: emitToInteger(kit, 16),
    toI32: emitToInteger(kit, 32),
    toI64: emitToInteger(kit, 64),
    widenF32,
    widenF64,
    fromF32: emitFromFloat(kit, widenF32),
    fromF64: emitFromFloat(kit, widenF64),
    toF32: emitToFloat(kit, SINGLE),
    toF64: emitToFloat(kit, DOUBLE),
    fromDecimal: emitFromDecimal(kit),
    toDecimal: emitToDecimal(kit),
    screen: kit.screen,
    roundPack: kit.roundPack,
  };
}

/** Exports every function under `x87.` and its name. */
export function exportSoftFloat(module: ModuleBuilder, functions: SoftFloatFunctions): void {
  for (const [name, reference] of Object.entries(functions)) module.export(`x87.${name}`, reference);
}

/** Picks the functions out of an instance's exports. */
export function softFloatOf(exports: Readonly<Record<string, unknown>>): SoftFloat {
  const picked: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(exports)) {
    if (name.startsWith('x87.')) picked[name.slice(4)] = value;
  }
  return picked as unknown as SoftFloat;
}
