import type { SeenRecord } from '../../src/grid/records.ts';
import type { ProcessorFacts } from '../../src/grid/step-expectation.ts';

/** A step that was otherwise than expected. */
export interface ReportedMismatch {
  /** From 1. */
  readonly step: number;
  readonly seen: readonly SeenRecord[];
}

export interface Result {
  readonly number: number;
  readonly name: string;
  readonly verdict: 'ok' | 'not ok' | 'skipped' | 'died';
  /** Why it was skipped, or how the machine ended. */
  readonly reason: string;
  readonly mismatches: readonly ReportedMismatch[];
}

/** What an exported image printed, as far as it came. */
export interface Transcript {
  /** Undefined where the image did not run at all: no SVM. */
  readonly processor: ProcessorFacts | undefined;
  readonly planned: number;
  /** Why the image ran nothing at all, if it said so. */
  readonly skip: string | undefined;
  readonly results: readonly Result[];
  /** The last scenario that began, where it did not end. */
  readonly died: { readonly number: number; readonly name: string } | undefined;
}

/** Reads the TAP of an exported image. */
export function parseTranscript(text: string): Transcript {
  const lines = text.split(/\r?\n/);
  const results: Result[] = [];
  let processor: ProcessorFacts | undefined;
  let planned = 0;
  let skip: string | undefined;
  let running: string | undefined;
  lines.forEach((line, index) => {
    const about = /^# processor:.*MAXPHYADDR (\d+), PDPTEs (.*)$/.exec(line);
    if (about !== null) {
      processor = { maxPhyAddr: Number(about[1]), pdptes: pdptesOf(about[2]) };
    }
    planned = Number(/^1\.\.(\d+)/.exec(line)?.[1] ?? planned);
    skip = /^1\.\.0 # SKIP:? (.*)$/.exec(line)?.[1] ?? skip;
    running = /^# run (.*)$/.exec(line)?.[1] ?? running;
    const result = /^(ok|not ok) (\d+) - (.*?)(?: # SKIP (.*))?$/.exec(line);
    if (result === null) return;
    running = undefined;
    const [, verdict, number, name, skipped] = result;
    results.push({
      number: Number(number),
      name,
      verdict: skipped === undefined ? (verdict as 'ok' | 'not ok') : 'skipped',
      reason: skipped ?? '',
      mismatches: verdict === 'ok' ? [] : parseMismatches(lines.slice(index + 1)),
    });
  });
  const died = running === undefined ? undefined : { number: results.length + 1, name: running };
  return { processor, planned, skip, results, died };
}

/** Where PDPTEs are, from how the image says it: `read from memory on use`. */
function pdptesOf(text: string): ProcessorFacts['pdptes'] {
  if (!text.startsWith('read')) return 'registers';
  return text.endsWith('checked by VMRUN') ? 'memory, checked by VMRUN' : 'memory';
}

function parseMismatches(lines: readonly string[]): ReportedMismatch[] {
  const found: { step: number; seen: SeenRecord[] }[] = [];
  for (const line of lines) {
    if (line === '  ...') break;
    const step = /^ +step: (\d+)$/.exec(line);
    if (step !== null) found.push({ step: Number(step[1]), seen: [] });
    const record = /^ +- \{(level: \d, .*)\}$/.exec(line);
    if (record !== null) addRecord(found.at(-1)?.seen ?? [], fieldsOf(record[1]));
  }
  return found;
}

/** `level: 2, fault: 0x0000000e, error-code: ...` */
const fieldsOf = (text: string): Map<string, string> =>
  new Map(text.split(', ').map((field) => field.split(': ') as [string, string]));

/** Adds what a line says: a record, or the high halves of the exit before it. */
function addRecord(seen: SeenRecord[], fields: ReadonlyMap<string, string>): void {
  const last = seen.at(-1);
  if (!fields.has('exitinfo1-high') || last?.kind !== 'exit') {
    seen.push(parseRecord(fields));
    return;
  }
  const high = { info1: Number(fields.get('exitinfo1-high')), info2: Number(fields.get('exitinfo2-high')) };
  seen[seen.length - 1] = { ...last, high };
}

function parseRecord(fields: ReadonlyMap<string, string>): SeenRecord {
  const value = (name: string): number => Number(fields.get(name) ?? 0);
  const level = value('level') === 2 ? 2 : 1;
  if (fields.has('value')) {
    return { kind: 'done', level, words: [value('value'), value('b'), value('c'), value('d')] };
  }
  if (fields.has('exit')) {
    return {
      kind: 'exit',
      level: 1,
      code: value('exit') | 0,
      info1: value('exitinfo1'),
      info2: value('exitinfo2'),
      eip: value('eip'),
    };
  }
  return {
    kind: 'fault',
    level,
    vector: fields.has('fault') ? value('fault') : value('unexpected-fault'),
    errorCode: value('error-code'),
    cr2: value('cr2'),
    eip: value('eip'),
    cs: value('cs') & 0xffff,
    unexpected: fields.has('unexpected-fault'),
  };
}
