import { UnrecoverableError, Worker } from 'bullmq';
import workerpool from 'workerpool';
import { InputError } from '../../arch/input-error.ts';
import type { HuntVerdict } from '../../grid/mutants/hunt.ts';
import type { Host } from '../host.ts';
import { huntOn } from './hunts.ts';
import { readJob } from './job.ts';
import { WORKER } from './pool.ts';
import { connectRedis, QUEUE_NAME } from './redis.ts';
import type { WorkerAnswer } from './scenario-worker.ts';

export interface WorkerOptions {
  /** Where Redis is. */
  readonly queue: string;
  /** Scenarios or mutants at a time, each on a thread of its own. */
  readonly jobs: number;
}

/** What goes back to whoever asked. */
export type QueueAnswer = WorkerAnswer | { readonly hunt: HuntVerdict };

/** Who says nothing for so long is dead, and another worker takes over. */
const LOCK_MILLISECONDS = 10_000;
const STALLED_CHECK_MILLISECONDS = 3_000;

/**
 * Works for a queue until the user or the system ends it; what it has begun it finishes.
 * @returns the exit status
 */
export async function work({ queue, jobs }: WorkerOptions, host: Host): Promise<number> {
  const connection = await connectRedis(queue);
  // The jobs run on threads, so that this one stays free to tell Redis that it is alive.
  const pool = workerpool.pool(WORKER, { workerType: 'thread', maxWorkers: jobs });
  const worker = new Worker<unknown, QueueAnswer>(QUEUE_NAME, async ({ data }) => answer(pool, data), {
    connection,
    concurrency: jobs,
    lockDuration: LOCK_MILLISECONDS,
    stalledInterval: STALLED_CHECK_MILLISECONDS,
    maxStalledCount: 2,
  });
  worker.on('error', (error) => host.stderr.write(`umbra worker: ${error.message}\n`));
  let done = 0;
  worker.on('completed', () => done++);
  await worker.waitUntilReady();
  host.stderr.write(`Working for ${queue} on ${jobs} thread${jobs === 1 ? '' : 's'}; Ctrl-C ends it.\n`);
  await new Promise<void>((resolve) => {
    const stopListening = host.onSignal(() => {
      stopListening();
      resolve();
    });
  });
  await worker.close();
  await pool.terminate();
  connection.disconnect();
  host.stderr.write(`${done} job${done === 1 ? '' : 's'} done.\n`);
  return 0;
}

/** Does a job. What is no job fails at once, for the next worker would say the same. */
async function answer(pool: workerpool.Pool, data: unknown): Promise<QueueAnswer> {
  try {
    const job = readJob(data);
    return 'hunt' in job
      ? { hunt: await huntOn(pool, job.hunt) }
      : await pool.exec('judge', [job.task, job.checks]);
  } catch (error) {
    if (error instanceof InputError) throw new UnrecoverableError(error.message);
    throw error;
  }
}
