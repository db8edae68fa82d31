import { exceptionName, VECTOR } from '../arch/exceptions.ts';
import { VMEXIT } from '../arch/svm-exits.ts';
import { AGENT_LAYOUT, RECORD, RECORD_SIZE, RECORD_STATUS } from '../guest/agent-layout.ts';

/** What an agent wrote about one step. Values are 32 bits wide, unsigned. */
export type SeenRecord =
  | {
      readonly kind: 'done';
      readonly level: 1 | 2;
      readonly words: readonly [number, number, number, number];
    }
  | SeenFault
  | SeenExit;

export interface SeenFault {
  readonly kind: 'fault';
  readonly level: 1 | 2;
  readonly vector: number;
  readonly errorCode: number;
  readonly cr2: number;
  readonly eip: number;
  readonly cs: number;
  /** The agent did not expect a fault there: the run ended with it. */
  readonly unexpected: boolean;
}

export interface SeenExit {
  readonly kind: 'exit';
  readonly level: 1;
  /** Low half of EXITCODE, signed as in VMEXIT. */
  readonly code: number;
  readonly info1: number;
  readonly info2: number;
  readonly eip: number;
  /** High halves of EXITINFO1 and EXITINFO2, of a nested page fault. */
  readonly high?: ExitHigh;
}

/** What of EXITINFO1 and EXITINFO2 is not in their low halves; 32 bits each. */
export interface ExitHigh {
  readonly info1: number;
  readonly info2: number;
}

/** A record with the number of the step that it belongs to. */
export interface LogEntry {
  readonly step: number;
  readonly record: SeenRecord;
}

/**
 * Reads the agents' log. `log` starts at AGENT_LAYOUT.LOG; `bytes` is how many of them the agents wrote.
 * Throws a RangeError if that cannot be a log.
 */
export function parseLog(log: Uint8Array, bytes: number): LogEntry[] {
  const room = AGENT_LAYOUT.LOG_LIMIT - AGENT_LAYOUT.LOG;
  if (bytes % RECORD_SIZE !== 0 || bytes < 0 || bytes > room || bytes > log.length) {
    throw new RangeError(
      `A log of ${bytes} bytes cannot be: records have ${RECORD_SIZE} bytes, the log ${room}.`,
    );
  }
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength);
  const entries: LogEntry[] = [];
  for (let at = 0; at < bytes; at += RECORD_SIZE) {
    const word = (field: number): number => view.getUint32(at + field * 4, true);
    const step = word(RECORD.STEP);
    if (statusOf(word) !== RECORD_STATUS.EXIT_HIGH) {
      entries.push({ step, record: parseRecord(word) });
      continue;
    }
    const last = entries.at(-1);
    if (last?.record.kind !== 'exit' || last.step !== step || last.record.high !== undefined)
      throw new RangeError('The log has the high halves of an exit, and no exit before them.');
    const high = { info1: word(RECORD.A), info2: word(RECORD.B) };
    entries[entries.length - 1] = { step, record: { ...last.record, high } };
  }
  return entries;
}

const statusOf = (word: (field: number) => number): number => word(RECORD.STATUS) & 0xff;

function parseRecord(word: (field: number) => number): SeenRecord {
  const status = statusOf(word);
  const level = word(RECORD.STATUS) >>> 8 === 2 ? 2 : 1;
  switch (status) {
    case RECORD_STATUS.DONE:
      return { kind: 'done', level, words: [word(RECORD.A), word(RECORD.B), word(RECORD.C), word(RECORD.D)] };
    case RECORD_STATUS.EXIT:
      return {
        kind: 'exit',
        level: 1,
        code: word(RECORD.A) | 0,
        info1: word(RECORD.B),
        info2: word(RECORD.C),
        eip: word(RECORD.D),
      };
    case RECORD_STATUS.FAULT:
    case RECORD_STATUS.UNEXPECTED:
      return {
        kind: 'fault',
        level,
        vector: word(RECORD.A),
        errorCode: word(RECORD.B),
        cr2: word(RECORD.C),
        eip: word(RECORD.D),
        cs: word(RECORD.E) & 0xffff,
        unexpected: status === RECORD_STATUS.UNEXPECTED,
      };
    default:
      throw new RangeError(`The log has a record of status ${status}, which no agent writes.`);
  }
}

/** What a record of a step may be. */
export type ExpectedRecord =
  | ExpectedValue
  | {
      readonly kind: 'registers';
      readonly level: 1 | 2;
      readonly cr0: number;
      readonly cr3: number;
      readonly cr4: number;
      readonly efer: number;
    }
  | {
      readonly kind: 'fault';
      readonly level: 1 | 2;
      readonly vector: number;
      readonly errorCode: number;
      /** CR2, any of these; empty: not looked at. */
      readonly cr2: readonly number[];
      /** EIP, any of these; empty: not looked at. */
      readonly eip: readonly number[];
      /** CS; absent: not looked at. */
      readonly cs?: number;
    }
  | {
      readonly kind: 'exit';
      readonly level: 1;
      readonly code: number;
      /** Any of these. Absent: not looked at. */
      readonly info1?: readonly number[];
      readonly info2?: readonly number[];
      readonly eip?: readonly number[];
      /** There is no second record where it is absent. */
      readonly high?: ExitHigh;
    };

export interface ExpectedValue {
  readonly kind: 'value';
  readonly level: 1 | 2;
  readonly lo: number;
  readonly hi: number;
  /** Bits that may be either way. */
  readonly unknownLo: number;
  readonly unknownHi: number;
}

/** Whether a record is what was expected. */
export function recordMatches(expected: ExpectedRecord, seen: SeenRecord): boolean {
  if (expected.level !== seen.level) return false;
  const oneOf = (values: readonly number[] | undefined, value: number): boolean =>
    values === undefined || values.length === 0 || values.includes(value);
  switch (expected.kind) {
    case 'value':
      return (
        seen.kind === 'done' &&
        ((seen.words[0] ^ expected.lo) & ~expected.unknownLo) === 0 &&
        ((seen.words[1] ^ expected.hi) & ~expected.unknownHi) === 0
      );
    case 'registers': {
      if (seen.kind !== 'done') return false;
      const [cr0, cr3, cr4, efer] = seen.words;
      return cr0 === expected.cr0 && cr3 === expected.cr3 && cr4 === expected.cr4 && efer === expected.efer;
    }
    case 'fault':
      return (
        seen.kind === 'fault' &&
        !seen.unexpected &&
        seen.vector === expected.vector &&
        seen.errorCode === expected.errorCode &&
        oneOf(expected.cr2, seen.cr2) &&
        oneOf(expected.eip, seen.eip) &&
        (expected.cs === undefined || expected.cs === seen.cs)
      );
    case 'exit':
      return (
        seen.kind === 'exit' &&
        seen.code === expected.code &&
        oneOf(expected.info1, seen.info1) &&
        oneOf(expected.info2, seen.info2) &&
        oneOf(expected.eip, seen.eip) &&
        expected.high?.info1 === seen.high?.info1 &&
        expected.high?.info2 === seen.high?.info2
      );
  }
}

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;
const orList = (values: readonly number[]): string => values.map(hex).join(' or ');
/** 64 bits, the low half any of some values. */
const wide = (high: number | undefined, low: readonly number[]): string =>
  low.map((value) => hex64(high ?? 0, value)).join(' or ');
const hex64 = (high: number, low: number): string =>
  high === 0 ? hex(low) : `${hex(high)}${(low >>> 0).toString(16).padStart(8, '0')}`;

/** What was expected, in words: `value 0x5050505`, `#PF with error code 0x5 at CR2 0x1000000`. */
export function expectedText(expected: ExpectedRecord): string {
  switch (expected.kind) {
    case 'value': {
      const value = expected.hi === 0 ? hex(expected.lo) : `${hex(expected.hi)}:${hex(expected.lo)}`;
      const doubt = (expected.unknownLo | expected.unknownHi) === 0 ? '' : ' in the bits that are certain';
      return `value ${value}${doubt}`;
    }
    case 'registers':
      return registersText(expected.cr0, expected.cr3, expected.cr4, expected.efer);
    case 'fault':
      return faultText(
        expected.level,
        expected.vector,
        expected.errorCode,
        orList(expected.cr2),
        orList(expected.eip),
      );
    case 'exit': {
      const { code, info1, info2, high } = expected;
      const first = info1 === undefined ? '' : `, EXITINFO1 ${wide(high?.info1, info1)}`;
      const second = info2 === undefined ? '' : `, EXITINFO2 ${wide(high?.info2, info2)}`;
      return `${exitName(code)} exit to L1${first}${second}`;
    }
  }
}

/** What was seen, in words. */
export function seenText(seen: SeenRecord): string {
  switch (seen.kind) {
    case 'done':
      return `value ${seen.words[1] === 0 ? '' : `${hex(seen.words[1])}:`}${hex(seen.words[0])}`;
    case 'fault': {
      const text = faultText(seen.level, seen.vector, seen.errorCode, hex(seen.cr2), hex(seen.eip));
      return seen.unexpected ? `${text}, which the agent could not survive` : text;
    }
    case 'exit': {
      const { code, info1, info2, eip, high } = seen;
      const [first, second] = [hex64(high?.info1 ?? 0, info1), hex64(high?.info2 ?? 0, info2)];
      return `${exitName(code)} exit to L1, EXITINFO1 ${first}, EXITINFO2 ${second}, EIP ${hex(eip)}`;
    }
  }
}

/** The four registers of a `registers` step, in the order of QEMU's `info registers`. */
export const registersText = (cr0: number, cr3: number, cr4: number, efer: number): string =>
  `CR0=${hex(cr0)} CR3=${hex(cr3)} CR4=${hex(cr4)} EFER=${hex(efer)}`;

function faultText(level: 1 | 2, vector: number, errorCode: number, cr2: string, eip: string): string {
  const address = vector === VECTOR.PF && cr2 !== '' ? `, CR2 ${cr2}` : '';
  const where = eip === '' ? '' : `, EIP ${eip}`;
  return `${exceptionName(vector)} in L${level} with error code ${hex(errorCode)}${address}${where}`;
}

const EXIT_NAMES = new Map(Object.entries(VMEXIT).map(([name, code]) => [code as number, name]));

/** Name of an exit code: `VMMCALL`, `EXCP14`. */
export function exitName(code: number): string {
  if (code >= VMEXIT.EXCP && code < VMEXIT.EXCP + 32) return `EXCP${code - VMEXIT.EXCP}`;
  return EXIT_NAMES.get(code) ?? `code ${hex(code)}`;
}
