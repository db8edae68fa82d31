import { fileURLToPath } from 'node:url';
import workerpool from 'workerpool';
import { InputError } from '../../arch/input-error.ts';
import { byWork, type Execute, type Judged, onHosts, type Task } from '../../grid/execute.ts';
import { umbraHosts } from '../../grid/umbra-host.ts';
import { asCompleted } from './as-completed.ts';
import type { HostChecks, SharedAnswer } from './scenario-worker.ts';

export const WORKER = fileURLToPath(new URL('scenario-worker.js', import.meta.url));
/** Threads load what is built; run from its sources, Umbra has this thread only. */
export const CAN_POOL = import.meta.url.endsWith('.js');

/**
 * Runs scenarios on Umbra, side by side on threads.
 * @param jobs threads; with one, scenarios run in this thread
 */
export const onThreads = (checks: HostChecks, jobs: number): Execute =>
  jobs === 1 || !CAN_POOL ? onHosts(umbraHosts(checks)) : (tasks) => runOnPool(tasks, checks, jobs);

async function* runOnPool(tasks: readonly Task[], checks: HostChecks, jobs: number): AsyncGenerator<Judged> {
  const pool = workerpool.pool(WORKER, {
    workerType: 'thread',
    maxWorkers: Math.min(jobs, tasks.length),
  });
  try {
    const answers = byWork(tasks).map(async ({ work, places }): Promise<Judged[]> => {
      const hosts = places.map(({ on }) => on);
      const answer: SharedAnswer = await pool.exec('judgeOn', [work, hosts, checks]);
      if ('inputError' in answer) throw new InputError(answer.inputError);
      return places.map(({ index }, place) => ({ index, verdict: answer.verdicts[place] }));
    });
    for await (const judged of asCompleted(answers)) yield* judged;
  } finally {
    await pool.terminate();
  }
}
