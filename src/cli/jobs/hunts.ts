import workerpool from 'workerpool';
import { type HuntRequest, type HuntVerdict, huntFor } from '../../grid/mutants/hunt.ts';
import { homeOf } from '../../grid/mutants/mutant.ts';
import { mutantNamed } from '../../grid/mutants/mutants.ts';
import type { Progress } from '../progress.ts';
import { asCompleted } from './as-completed.ts';
import { CAN_POOL, WORKER } from './pool.ts';

/** Longer than any hunt: a mutant that has taken so much goes round in circles inside L0, where no limit of its guest counts. */
const TOO_LONG_MS = 300_000;

/**
 * Hunts mutants, side by side on threads.
 * @param jobs threads; with one, all happens in this thread, and nothing ends a mutant that never comes back
 */
export async function* huntOnThreads(
  requests: readonly HuntRequest[],
  jobs: number,
): AsyncGenerator<Progress, HuntVerdict[]> {
  const verdicts: HuntVerdict[] = [];
  const progress = (index: number, verdict: HuntVerdict): Progress => {
    verdicts[index] = verdict;
    done += 1;
    return { done, total: requests.length, name: verdict.mutant };
  };
  let done = 0;
  if (jobs === 1 || !CAN_POOL) {
    for (const [index, request] of requests.entries()) yield progress(index, huntFor(request));
    return verdicts;
  }
  const pool = workerpool.pool(WORKER, { workerType: 'thread', maxWorkers: Math.min(jobs, requests.length) });
  try {
    const hunts = requests.map(async (request, index) => ({ index, verdict: await huntOn(pool, request) }));
    for await (const { index, verdict } of asCompleted(hunts)) yield progress(index, verdict);
    return verdicts;
  } finally {
    await pool.terminate(true);
  }
}

/** Hunts a mutant on a thread. One that does not come back is caught: no guest of it comes to its end. */
export async function huntOn(pool: workerpool.Pool, request: HuntRequest): Promise<HuntVerdict> {
  try {
    return await pool.exec('hunt', [request]).timeout(TOO_LONG_MS);
  } catch (error) {
    if (!(error instanceof workerpool.Promise.TimeoutError)) throw error;
    const story = `L0 did not come back in ${TOO_LONG_MS / 1000} s`;
    const mutant = mutantNamed(request.mutant);
    return {
      mutant: mutant.name,
      on: request.on ?? homeOf(mutant),
      finding: { caught: 'by a probe', scenario: '-', story },
      scenarios: 0,
      asExpected: mutant.fate.caught === 'by a probe',
    };
  }
}
