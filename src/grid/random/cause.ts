import type { Mismatch } from '../judge.ts';
import type { ExpectedRecord, SeenRecord } from '../records.ts';
import { pagingModeOf } from '../registers.ts';

const code = (value: number): string => `0x${(value >>> 0).toString(16)}`;

/** EXITINFO1 of an exit, of which no half is an address. */
function infoOf({ info1, high }: Extract<ExpectedRecord | SeenRecord, { kind: 'exit' }>): string {
  if (info1 === undefined) return '';
  const which = high === undefined ? '' : `${code(high.info1)}:`;
  return ` (${which}${(typeof info1 === 'number' ? [info1] : info1).map(code).join('|')})`;
}

/** A record without addresses and values: those differ from one scenario to the next, the bug does not. */
function kindOf(record: ExpectedRecord | SeenRecord): string {
  switch (record.kind) {
    case 'fault':
      return `exception ${record.vector} (${code(record.errorCode)})`;
    case 'exit':
      return `exit ${code(record.code)}${infoOf(record)}`;
    default:
      return 'a value';
  }
}

const sequence = (records: readonly (ExpectedRecord | SeenRecord)[]): string =>
  records.length === 0 ? 'nothing' : records.map(kindOf).join(', then ');

/**
 * What is wrong, in words that are the same for every scenario in which the same thing is wrong: the step, the paging
 * mode, what had to be and what was.
 */
export function causeOf({ details, text }: Mismatch): string {
  if (details === undefined)
    return text
      .replace(/^Scenario \S+/, 'It')
      .replace(/(?<= in step )\d+, ([\w-]+).*?, because /, '#, $1, because ')
      .replace(/(?:0x)?\b[0-9a-f]*\d[0-9a-f]*\b/g, '#');
  const { step, level, registers, expected, seen } = details;
  const what = step.do === 'probe' ? `${step.form} at CPL ${step.cpl}` : step.do;
  const who = `${level === 'L1' ? 'L1' : 'L2'} in ${pagingModeOf(registers)}`;
  const must = [...new Set(expected.map(({ records }) => sequence(records)))].join(' or ');
  return `${what}, ${who}: ${must} expected, ${sequence(seen)} seen`;
}
