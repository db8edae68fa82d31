/** `npm run bench`: runs the benches that the arguments choose, prints a line for each as it is done. */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { Bench } from './benches.ts';
import { imageHostMissing } from './elsewhere.ts';
import type { EngineName } from './engines.ts';
import { type Options, parseOptions, UsageError } from './options.ts';
import { evaluate, type Result } from './report.ts';
import { runBench } from './run.ts';
import { Table } from './table.ts';

const RUNS = 3;

interface Skipped {
  readonly name: string;
  readonly why: string;
}

async function measure(options: Options): Promise<{ results: Result[]; skipped: Skipped[] }> {
  const table = new Table(options.interpreter);
  const results: Result[] = [];
  const skipped: Skipped[] = [];
  console.log(table.head);
  for (const bench of options.benches) {
    const why = bench.missing?.();
    if (why !== undefined) {
      skipped.push({ name: bench.name, why });
      console.log(`${bench.name}: skipped, because ${why}.`);
      continue;
    }
    const { peers, missing } = peersOf(bench, options);
    if (missing !== undefined) {
      skipped.push(missing);
      console.log(`${bench.name}: without ${missing.name}, because ${missing.why}.`);
    }
    const engines = [bench.subject, ...peers];
    const runs = options.runs ?? (bench.once ? 1 : RUNS);
    const result = evaluate(bench, await runBench(bench, engines, runs));
    results.push(result);
    console.log(table.row(result));
  }
  return { results, skipped };
}

/** Who runs a bench beside Umbra, and who cannot here. */
function peersOf(
  { peer }: Bench,
  { peers, interpreter }: Options,
): { peers: EngineName[]; missing?: Skipped } {
  if (peer === undefined || !peers) return { peers: [] };
  if (peer === 'v86') return { peers: interpreter ? ['v86', 'v86-interpreter'] : ['v86'] };
  const why = imageHostMissing(peer);
  return why === undefined ? { peers: [peer] } : { peers: [], missing: { name: peer, why } };
}

/** @returns the exit status: 1 where an engine failed, 2 for wrong usage */
async function main(args: readonly string[]): Promise<number> {
  let options: Options | string;
  try {
    options = parseOptions(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\nAdd --help for what is possible.`);
    return 2;
  }
  if (typeof options === 'string') {
    console.log(options);
    return 0;
  }
  const measured = await measure(options);
  if (options.json !== undefined) {
    const host = { processor: cpus()[0]?.model, processors: cpus().length, node: process.version };
    writeFileSync(options.json, `${JSON.stringify({ host, ...measured }, undefined, 2)}\n`);
  }
  return measured.results.some(({ failures }) => Object.keys(failures).length > 0) ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
