import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Bench } from './benches.ts';
import type { Measurement } from './engine.ts';
import type { EngineName } from './engines.ts';
import type { Answer } from './worker.ts';

/** An engine's runs of one bench, or why there are none. */
export type Series = { readonly runs: readonly Measurement[] } | { readonly failure: string };

const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));

/**
 * Runs a bench so many times on each engine, engine by engine in turn, so that what else the machine does falls on all
 * of them. An engine that fails is not asked again.
 */
export async function runBench(
  bench: Bench,
  engines: readonly EngineName[],
  runs: number,
): Promise<ReadonlyMap<EngineName, Series>> {
  const workers = new Map(engines.map((engine) => [engine, fork(WORKER, [bench.name, engine])]));
  const series = new Map<EngineName, { runs: Measurement[] } | { failure: string }>(
    engines.map((engine) => [engine, { runs: [] }]),
  );
  try {
    for (let n = 0; n < runs; n++) {
      for (const [engine, worker] of workers) {
        const soFar = series.get(engine);
        if (soFar === undefined || 'failure' in soFar) continue;
        const answer = await ask(worker);
        if ('error' in answer) series.set(engine, { failure: answer.error });
        else soFar.runs.push(answer.measurement);
      }
    }
  } finally {
    for (const worker of workers.values()) if (worker.connected) worker.disconnect();
  }
  return series;
}

/** One run. A process that ends instead of answering is an answer too. */
function ask(worker: ChildProcess): Promise<Answer> {
  return new Promise((resolve) => {
    const settle = (answer: Answer): void => {
      worker.off('message', onMessage);
      worker.off('exit', onExit);
      resolve(answer);
    };
    const onMessage = (message: unknown): void => settle(message as Answer);
    const onExit = (status: number | null, signal: string | null): void =>
      settle({ error: `its process ended with ${signal ?? `status ${status}`}` });
    worker.on('message', onMessage);
    worker.on('exit', onExit);
    worker.send('run');
  });
}
