import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { BENCHES, type Bench } from './benches.ts';
import type { EngineName } from './engines.ts';
import { evaluate, type Result } from './report.ts';
import { runBench } from './run.ts';
import { Table } from './table.ts';

const HELP = `npm run bench -- [--only NAME[,NAME...]] [--runs N] [--json FILE] [--interpreter] [--no-v86] [--list]

  --only NAME    benches whose name is NAME or begins with it: "rep-", "boot-686"; may be repeated
  --runs N       runs per engine; the medians count (3; boots run once unless given)
  --json FILE    write every run and the figures
  --interpreter  measure v86 with its compiler off as well
  --no-v86       measure Umbra only
  --list         the names

bench/README.md says how to read the table.`;

/** Wrong usage: a sentence for the user. */
class UsageError extends Error {}

interface Options {
  readonly benches: readonly Bench[];
  readonly runs: number | undefined;
  readonly json: string | undefined;
  readonly peers: readonly EngineName[];
}

function optionsFrom(args: readonly string[]): Options | string {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', multiple: true, default: [] },
      runs: { type: 'string' },
      json: { type: 'string' },
      interpreter: { type: 'boolean', default: false },
      'no-v86': { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return HELP;
  if (values.list) return BENCHES.map(({ name, unit }) => `${name.padEnd(22)}${unit}`).join('\n');
  const runs = values.runs === undefined ? undefined : Number(values.runs);
  if (runs !== undefined && (!Number.isInteger(runs) || runs < 1)) {
    throw new UsageError(`--runs ${values.runs}: a whole number from 1 on is wanted.`);
  }
  return {
    benches: select(values.only.flatMap((names) => names.split(','))),
    runs,
    json: values.json,
    peers: values['no-v86'] ? [] : values.interpreter ? ['v86', 'v86-interpreter'] : ['v86'],
  };
}

function select(wanted: readonly string[]): readonly Bench[] {
  for (const name of wanted) {
    if (!BENCHES.some((bench) => bench.name.startsWith(name))) {
      throw new UsageError(`--only ${name}: there is no such bench; --list shows all.`);
    }
  }
  // A whole name means that one alone, even where others begin with it.
  const matches = (bench: Bench, name: string): boolean =>
    BENCHES.some((other) => other.name === name) ? bench.name === name : bench.name.startsWith(name);
  return wanted.length === 0
    ? BENCHES
    : BENCHES.filter((bench) => wanted.some((name) => matches(bench, name)));
}

async function main(args: readonly string[]): Promise<void> {
  const options = optionsFrom(args);
  if (typeof options === 'string') {
    console.log(options);
    return;
  }
  const table = new Table(options.peers);
  const results: Result[] = [];
  const skipped: { name: string; why: string }[] = [];
  console.log(table.head);
  for (const bench of options.benches) {
    const why = bench.missing?.();
    if (why !== undefined) {
      skipped.push({ name: bench.name, why });
      console.log(`${bench.name}: skipped, because ${why}.`);
      continue;
    }
    const engines = [bench.subject, ...(bench.onV86 ? options.peers : [])];
    const result = evaluate(bench, await runBench(bench, engines, options.runs ?? (bench.once ? 1 : 3)));
    results.push(result);
    console.log(table.row(result));
  }
  if (options.json !== undefined) {
    const host = { processor: cpus()[0]?.model, processors: cpus().length, node: process.version };
    writeFileSync(options.json, `${JSON.stringify({ host, results, skipped }, undefined, 2)}\n`);
  }
  if (results.some(({ failures }) => Object.keys(failures).length > 0)) process.exitCode = 1;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  if (!isUsage) throw error;
  console.error(`${(error as Error).message}\nAdd --help for what is possible.`);
  process.exitCode = 2;
}
