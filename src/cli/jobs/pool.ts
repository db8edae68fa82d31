import { fileURLToPath } from 'node:url';
import workerpool from 'workerpool';
import { InputError } from '../../arch/input-error.ts';
import { type Execute, type Judged, onHost, type Work } from '../../grid/execute.ts';
import { type UmbraHostOptions, umbraHost } from '../../grid/umbra-host.ts';
import { asCompleted } from './as-completed.ts';
import type { WorkerAnswer } from './scenario-worker.ts';

export const WORKER = fileURLToPath(new URL('scenario-worker.js', import.meta.url));
/** Threads load what is built; run from its sources, Umbra has this thread only. */
export const CAN_POOL = import.meta.url.endsWith('.js');

/**
 * Runs scenarios on Umbra, side by side on threads.
 * @param jobs threads; with one, scenarios run in this thread
 */
export const onThreads = (host: UmbraHostOptions, jobs: number): Execute =>
  jobs === 1 || !CAN_POOL ? onHost(umbraHost(host)) : (scenarios) => runOnPool(scenarios, host, jobs);

async function* runOnPool(
  scenarios: readonly Work[],
  host: UmbraHostOptions,
  jobs: number,
): AsyncGenerator<Judged> {
  const pool = workerpool.pool(WORKER, {
    workerType: 'thread',
    maxWorkers: Math.min(jobs, scenarios.length),
  });
  try {
    const answers = scenarios.map(async (scenario, index) => {
      const answer: WorkerAnswer = await pool.exec('judge', [scenario, host]);
      if ('inputError' in answer) throw new InputError(answer.inputError);
      return { index, verdict: answer.verdict };
    });
    yield* asCompleted(answers);
  } finally {
    await pool.terminate();
  }
}
