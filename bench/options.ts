import { parseArgs } from 'node:util';
import { BENCHES, type Bench } from './benches.ts';

const HELP = `npm run bench -- [--only NAME[,NAME...]] [--runs N] [--json FILE] [--interpreter] [--no-peers] [--list]

  --only NAME    the bench of that name, or all whose names begin so: "rep-", "l0-"; may be repeated
  --runs N       runs per engine; the medians count (3; boots run once unless given)
  --json FILE    write every run and the figures
  --interpreter  measure v86 with its compiler off as well
  --no-peers     measure Umbra only
  --list         the names

bench/README.md says how to read the table.`;

/** Wrong usage: a sentence for the user. */
export class UsageError extends Error {}

export interface Options {
  readonly benches: readonly Bench[];
  /** Per engine; undefined for each bench's own number. */
  readonly runs: number | undefined;
  readonly json: string | undefined;
  /** Whether to measure anybody else, and v86 with its compiler off as well. */
  readonly peers: boolean;
  readonly interpreter: boolean;
}

/** What the arguments ask for: options, or a text to show instead of measuring. @throws UsageError */
export function parseOptions(args: readonly string[]): Options | string {
  const values = valuesOf(args);
  if (values.help) return HELP;
  if (values.list) return BENCHES.map(({ name, unit }) => `${name.padEnd(22)}${unit}`).join('\n');
  const runs = values.runs === undefined ? undefined : Number(values.runs);
  if (runs !== undefined && !(Number.isInteger(runs) && runs >= 1)) {
    throw new UsageError(`--runs ${values.runs}: a whole number from 1 on is wanted.`);
  }
  return {
    benches: select(values.only.flatMap((names) => names.split(','))),
    runs,
    json: values.json,
    peers: !values['no-peers'],
    interpreter: values.interpreter,
  };
}

function valuesOf(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        only: { type: 'string', multiple: true, default: [] },
        runs: { type: 'string' },
        json: { type: 'string' },
        interpreter: { type: 'boolean', default: false },
        'no-peers': { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function select(wanted: readonly string[]): readonly Bench[] {
  if (wanted.length === 0) return BENCHES;
  const chosen = new Set<Bench>();
  for (const name of wanted) {
    // A whole name means that one alone, even where others begin with it.
    const exact = BENCHES.filter((bench) => bench.name === name);
    const found = exact.length > 0 ? exact : BENCHES.filter((bench) => bench.name.startsWith(name));
    if (found.length === 0 || name === '') {
      throw new UsageError(`--only ${name}: there is no such bench; --list shows all.`);
    }
    for (const bench of found) chosen.add(bench);
  }
  return BENCHES.filter((bench) => chosen.has(bench));
}
