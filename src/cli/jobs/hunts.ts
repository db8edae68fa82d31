import workerpool from 'workerpool';
import { type HuntVerdict, hunt } from '../../grid/mutants/hunt.ts';
import type { Mutant } from '../../grid/mutants/mutant.ts';
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
  mutants: readonly Mutant[],
  jobs: number,
): AsyncGenerator<Progress, HuntVerdict[]> {
  const verdicts: HuntVerdict[] = [];
  const progress = (index: number, verdict: HuntVerdict): Progress => {
    verdicts[index] = verdict;
    done += 1;
    return { done, total: mutants.length, name: verdict.mutant };
  };
  let done = 0;
  if (jobs === 1 || !CAN_POOL) {
    for (const [index, mutant] of mutants.entries()) yield progress(index, hunt(mutant));
    return verdicts;
  }
  const pool = workerpool.pool(WORKER, { workerType: 'thread', maxWorkers: Math.min(jobs, mutants.length) });
  try {
    const hunts = mutants.map(async (mutant, index) => ({ index, verdict: await huntOn(pool, mutant.name) }));
    for await (const { index, verdict } of asCompleted(hunts)) yield progress(index, verdict);
    return verdicts;
  } finally {
    await pool.terminate(true);
  }
}

/** Hunts the mutant of a name on a thread. One that does not come back is caught: no guest of it comes to its end. */
export async function huntOn(pool: workerpool.Pool, name: string): Promise<HuntVerdict> {
  try {
    return await pool.exec('hunt', [name]).timeout(TOO_LONG_MS);
  } catch (error) {
    if (!(error instanceof workerpool.Promise.TimeoutError)) throw error;
    const story = `L0 did not come back in ${TOO_LONG_MS / 1000} s`;
    return {
      mutant: name,
      finding: { caught: 'by a probe', scenario: '-', story },
      scenarios: 0,
      asExpected: mutantNamed(name).fate.caught === 'by a probe',
    };
  }
}
