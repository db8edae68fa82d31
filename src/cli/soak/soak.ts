import type { Execute } from '../../grid/execute.ts';
import type { Mismatch } from '../../grid/judge.ts';
import { causeOf } from '../../grid/random/cause.ts';
import { type RandomWork, randomScenarioName, randomWork } from '../../grid/random/generate.ts';
import type { ScenarioFailure } from '../../grid/replay.ts';
import { dealtTo, nestsPaging, type RunHostName } from '../../grid/run-host.ts';
import type { GridSetup } from '../grid/scenarios.ts';
import type { Host } from '../host.ts';
import { printable } from '../printable.ts';
import { Corpus, type SeedProgress } from './corpus.ts';

export interface SoakOptions extends GridSetup {
  readonly hours: number;
  readonly seed: number;
  /** The corpus file. */
  readonly corpus: string;
}

/** What a soak runs on. */
export interface SoakBench {
  readonly execute: Execute;
  /** Makes the failing scenario of a seed small, and tells what is left of it. */
  readonly reduce: (work: RandomWork, on: RunHostName) => ScenarioFailure;
}

export type MakeSoakBench = (setup: GridSetup, host: Host) => SoakBench;

/** Scenarios between two saves: some seconds' worth. */
export const BATCH = 200;
const HOUR = 3_600_000;

/**
 * Runs random scenarios until the time is over or the user ends it, from where the corpus has got to.
 * @returns the exit status: 1 where the corpus has a failure
 */
export async function soak(options: SoakOptions, host: Host, makeBench: MakeSoakBench): Promise<number> {
  const { hours, seed, corpus: path, ...setup } = options;
  const corpus = await Corpus.open(path);
  const bench = makeBench(setup, host);
  let ended = false;
  const stopListening = host.onSignal(() => {
    ended = true;
  });
  try {
    const end = host.now() + hours * HOUR;
    let progress = corpus.progress(seed);
    tell(host, progress, corpus);
    while (!ended && host.now() < end) {
      progress = await runBatch(bench, corpus, { seed, hosts: setup.hosts }, progress, host);
      corpus.setProgress(seed, progress);
      corpus.save();
      tell(host, progress, corpus);
    }
  } finally {
    stopListening();
  }
  const { failures } = corpus;
  for (const { cause, count, scenario, story } of failures) {
    const times = `# ${count} time${count === 1 ? '' : 's'}: ${cause.replaceAll('\n', ' ')}`;
    // The corpus is a file, which somebody else may have written.
    host.stdout.write(printable(`${times}\n# ${story.replaceAll('\n', '\n# ')}\n${scenario}\n`));
  }
  return failures.length === 0 ? 0 : 1;
}

async function runBatch(
  { execute, reduce }: SoakBench,
  corpus: Corpus,
  { seed, hosts }: { readonly seed: number; readonly hosts: readonly RunHostName[] },
  { next, scenarios, probes }: SeedProgress,
  host: Host,
): Promise<SeedProgress> {
  const tasks = Array.from({ length: BATCH }, (_, place) => soakTask(seed, next + place, hosts));
  const failed: { readonly number: number; readonly mismatch: Mismatch }[] = [];
  let ran = 0;
  let judged = 0;
  for await (const { index, verdict } of execute(tasks)) {
    if (verdict.skipped === undefined) ran++;
    judged += verdict.probes;
    const [mismatch] = verdict.mismatches;
    if (mismatch !== undefined) failed.push({ number: next + index, mismatch });
  }
  // In the order of their numbers, so that the corpus does not depend on which thread was faster.
  failed.sort((a, b) => a.number - b.number);
  for (const { number, mismatch } of failed) {
    const cause = causeOf(mismatch);
    if (corpus.countAgain(cause)) continue;
    const { work, on } = tasks[number - next];
    host.stderr.write(`New failure in ${randomScenarioName(work)}: ${cause}\n`);
    const { text, mismatches } = reduce(work, on);
    corpus.add({ cause, seed, number, count: 1, scenario: text, story: mismatches.join('\n') });
  }
  return { next: next + BATCH, scenarios: scenarios + ran, probes: probes + judged };
}

/** Scenario `number` of a soak: they are dealt out among the hosts, every second of each with nested paging if it has that. */
function soakTask(
  seed: number,
  number: number,
  hosts: readonly RunHostName[],
): { readonly work: RandomWork; readonly on: RunHostName } {
  const on = dealtTo(hosts, number);
  const nested = nestsPaging(on) && Math.floor(number / hosts.length) % 2 === 1;
  return { work: randomWork(seed, number, nested), on };
}

function tell(host: Host, { scenarios, probes }: SeedProgress, corpus: Corpus): void {
  const causes = corpus.failures.length;
  host.stderr.write(
    `${scenarios} scenarios, ${probes} probes, ${causes} cause${causes === 1 ? '' : 's'} of failure\n`,
  );
}
