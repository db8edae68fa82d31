/**
 * Exceptions: vectors, error codes, kinds, and which two of them make a double fault.
 * Sources: SDM vol. 3A 6.3.1, 6.5, 6.13, 6.15; APM vol. 2 8.2.
 */

// biome-ignore format: table
export const VECTOR = {
  DE: 0, DB: 1, NMI: 2, BP: 3, OF: 4, BR: 5, UD: 6, NM: 7, DF: 8, CSO: 9, TS: 10, NP: 11, SS: 12, GP: 13, PF: 14,
  MF: 16, AC: 17, MC: 18, XM: 19, VE: 20, CP: 21, SX: 30,
} as const;

/** How an exception relates to the instruction that raised it (SDM vol. 3A 6.5). */
export const EXCEPTION_KIND = {
  FAULT: 'fault',
  TRAP: 'trap',
  ABORT: 'abort',
  INTERRUPT: 'interrupt',
} as const;
export type ExceptionKind = (typeof EXCEPTION_KIND)[keyof typeof EXCEPTION_KIND];

/** Classes of the double-fault rule (SDM vol. 3A table 6-4, APM vol. 2 table 8-5). */
export const EXCEPTION_CLASS = { BENIGN: 0, CONTRIBUTORY: 1, PAGE_FAULT: 2 } as const;
export type ExceptionClass = (typeof EXCEPTION_CLASS)[keyof typeof EXCEPTION_CLASS];

export interface ExceptionDescription {
  readonly vector: number;
  /** The manuals' mnemonic with its number sign, as `#GP`. */
  readonly mnemonic: string;
  /**
   * #DB is a fault for instruction breakpoints and general detect, otherwise a trap; it is listed as a trap.
   */
  readonly kind: ExceptionKind;
  readonly pushesErrorCode: boolean;
  readonly class: ExceptionClass;
}

const { BENIGN, CONTRIBUTORY, PAGE_FAULT } = EXCEPTION_CLASS;

// biome-ignore format: table
const TABLE: readonly (readonly [number, string, ExceptionKind, boolean, ExceptionClass])[] = [
  [VECTOR.DE,  '#DE',  'fault',     false, CONTRIBUTORY],
  [VECTOR.DB,  '#DB',  'trap',      false, BENIGN],
  [VECTOR.NMI, 'NMI',  'interrupt', false, BENIGN],
  [VECTOR.BP,  '#BP',  'trap',      false, BENIGN],
  [VECTOR.OF,  '#OF',  'trap',      false, BENIGN],
  [VECTOR.BR,  '#BR',  'fault',     false, BENIGN],
  [VECTOR.UD,  '#UD',  'fault',     false, BENIGN],
  [VECTOR.NM,  '#NM',  'fault',     false, BENIGN],
  [VECTOR.DF,  '#DF',  'abort',     true,  BENIGN],
  [VECTOR.CSO, 'CSO',  'fault',     false, BENIGN],
  [VECTOR.TS,  '#TS',  'fault',     true,  CONTRIBUTORY],
  [VECTOR.NP,  '#NP',  'fault',     true,  CONTRIBUTORY],
  [VECTOR.SS,  '#SS',  'fault',     true,  CONTRIBUTORY],
  [VECTOR.GP,  '#GP',  'fault',     true,  CONTRIBUTORY],
  [VECTOR.PF,  '#PF',  'fault',     true,  PAGE_FAULT],
  [VECTOR.MF,  '#MF',  'fault',     false, BENIGN],
  [VECTOR.AC,  '#AC',  'fault',     true,  BENIGN],
  [VECTOR.MC,  '#MC',  'abort',     false, BENIGN],
  [VECTOR.XM,  '#XM',  'fault',     false, BENIGN],
  [VECTOR.VE,  '#VE',  'fault',     false, PAGE_FAULT],
  [VECTOR.CP,  '#CP',  'fault',     true,  CONTRIBUTORY],
  [VECTOR.SX,  '#SX',  'interrupt', true,  BENIGN],
];

const BY_VECTOR: readonly (ExceptionDescription | undefined)[] = (() => {
  const list = new Array<ExceptionDescription | undefined>(32).fill(undefined);
  for (const [vector, mnemonic, kind, pushesErrorCode, cls] of TABLE) {
    list[vector] = Object.freeze({ vector, mnemonic, kind, pushesErrorCode, class: cls });
  }
  return list;
})();

/** Description of a vector below 32, undefined for the reserved ones. */
export const exceptionOf = (vector: number): ExceptionDescription | undefined => BY_VECTOR[vector];

/** Mnemonic for messages: `#PF`, or `vector 77` where the manuals name none. */
export const exceptionName = (vector: number): string => BY_VECTOR[vector]?.mnemonic ?? `vector ${vector}`;

/** Whether delivery of the exception pushes an error code in protected mode (SDM vol. 3A 6.13). */
export const pushesErrorCode = (vector: number): boolean => BY_VECTOR[vector]?.pushesErrorCode ?? false;

export const exceptionClass = (vector: number): ExceptionClass => BY_VECTOR[vector]?.class ?? BENIGN;

/** What becomes of a second exception raised while a first is being delivered. */
export const COMBINATION = { SERIAL: 0, DOUBLE_FAULT: 1, SHUTDOWN: 2 } as const;
export type Combination = (typeof COMBINATION)[keyof typeof COMBINATION];

/**
 * The double-fault rule (SDM vol. 3A table 6-5 and 6.15 "Interrupt 8"; APM vol. 2 table 8-5). `first` is the
 * vector in delivery: pass it only if it is an exception; external interrupts, NMI and INT n are benign.
 * SERIAL: deliver the second on its own. SHUTDOWN: a fault while delivering #DF is a triple fault.
 */
export function combineExceptions(first: number, second: number): Combination {
  const secondClass = exceptionClass(second);
  if (first === VECTOR.DF) {
    return secondClass === BENIGN ? COMBINATION.SERIAL : COMBINATION.SHUTDOWN;
  }
  const firstClass = exceptionClass(first);
  if (firstClass === CONTRIBUTORY && secondClass === CONTRIBUTORY) return COMBINATION.DOUBLE_FAULT;
  if (firstClass === PAGE_FAULT && secondClass !== BENIGN) return COMBINATION.DOUBLE_FAULT;
  return COMBINATION.SERIAL;
}
