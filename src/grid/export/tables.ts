import { RECORD_STATUS } from '../../guest/agent-layout.ts';
import { COMPARED_SHIFT, MASKED_SHIFT } from '../../guest/suite/format.ts';
import type { ExpectedRecord } from '../records.ts';
import type { Alternative } from '../step-expectation.ts';

/** One field of a record: what it has to be, in the bits of `mask` (32 bits). Absent: not looked at. */
interface Field {
  readonly value: number;
  readonly mask: number;
}
type Fields = readonly (Field | undefined)[];

const ALL = 0xffff_ffff;
const SELECTOR = 0xffff;

/** The alternatives of a step as dwords (see format.ts), each once. A field with several values makes several. */
export function alternativeWords(alternatives: readonly Alternative[]): number[][] {
  const distinct = new Map<string, number[]>();
  for (const { records } of alternatives) {
    const written = records.flatMap(logRecords);
    for (const words of combinations(written.map(recordWords))) {
      const body = words.flat();
      const length = (body.length + 1) * 4;
      distinct.set(body.join(), [(length << 16) | written.length, ...body]);
    }
  }
  return [...distinct.values()];
}

/** Every way to take one of each list. */
function combinations(lists: readonly (readonly number[][])[]): number[][][] {
  return lists.reduce<number[][][]>(
    (taken, list) => taken.flatMap((before) => list.map((next) => [...before, next])),
    [[]],
  );
}

/** One record of the log: its status, and what its fields may be, a list for each combination of values. */
interface LogRecord {
  readonly status: number;
  readonly choices: readonly Fields[];
}

/** The dwords that a record may be: one list for each combination of values. */
function recordWords({ status, choices }: LogRecord): number[][] {
  return choices.map((fields) => {
    let header = status;
    const values: number[] = [];
    fields.forEach((field, index) => {
      if (field === undefined) return;
      header |= 1 << (COMPARED_SHIFT + index);
      values.push(field.value);
      if (field.mask === ALL) return;
      header |= 1 << (MASKED_SHIFT + index);
      values.push(field.mask);
    });
    return [header, ...values];
  });
}

/** What the agents write for a record: a second one for the high halves of an exit. */
function logRecords(record: ExpectedRecord): LogRecord[] {
  const status = (code: number): number => (record.level << 8) | code;
  const first = { status: status(statusOf(record)), choices: fieldChoices(record) };
  if (record.kind !== 'exit' || record.high === undefined) return [first];
  const { info1, info2 } = record.high;
  return [first, { status: status(RECORD_STATUS.EXIT_HIGH), choices: [[whole(info1), whole(info2)]] }];
}

function statusOf({ kind }: ExpectedRecord): number {
  if (kind === 'fault') return RECORD_STATUS.FAULT;
  return kind === 'exit' ? RECORD_STATUS.EXIT : RECORD_STATUS.DONE;
}

const whole = (value: number): Field => ({ value: value >>> 0, mask: ALL });
/** The choices for a field that may have any of some values; none given: not looked at. */
const choices = (values: readonly number[] | undefined): (Field | undefined)[] =>
  values === undefined || values.length === 0 ? [undefined] : values.map(whole);

function fieldChoices(record: ExpectedRecord): Fields[] {
  switch (record.kind) {
    case 'value':
      return [
        [
          { value: record.lo, mask: ~record.unknownLo >>> 0 },
          { value: record.hi, mask: ~record.unknownHi >>> 0 },
        ],
      ];
    case 'registers':
      return [[record.cr0, record.cr3, record.cr4, record.efer].map(whole)];
    case 'fault': {
      const cs = record.cs === undefined ? undefined : { value: record.cs, mask: SELECTOR };
      return choices(record.cr2).flatMap((cr2) =>
        choices(record.eip).map((eip) => [whole(record.vector), whole(record.errorCode), cr2, eip, cs]),
      );
    }
    case 'exit': {
      return choices(record.info1).flatMap((info1) =>
        choices(record.info2).flatMap((info2) =>
          choices(record.eip).map((eip) => [whole(record.code), info1, info2, eip]),
        ),
      );
    }
  }
}
