import { Worker } from 'bullmq';
import workerpool from 'workerpool';
import type { Host } from '../host.ts';
import { WORKER } from './pool.ts';
import type { QueuedScenario } from './queue.ts';
import { connectRedis, QUEUE_NAME } from './redis.ts';
import type { WorkerAnswer } from './scenario-worker.ts';

export interface WorkerOptions {
  /** Where Redis is. */
  readonly queue: string;
  /** Scenarios at a time, each on a thread of its own. */
  readonly jobs: number;
}

/** A scenario takes a second at most; who says nothing for so long is dead, and another worker takes over. */
const LOCK_MILLISECONDS = 10_000;
const STALLED_CHECK_MILLISECONDS = 3_000;

/**
 * Works for a queue until the user or the system ends it; what it has begun it finishes.
 * @returns the exit status
 */
export async function work({ queue, jobs }: WorkerOptions, host: Host): Promise<number> {
  const connection = await connectRedis(queue);
  // The scenarios run on threads, so that this one stays free to tell Redis that it is alive.
  const pool = workerpool.pool(WORKER, { workerType: 'thread', maxWorkers: jobs });
  const worker = new Worker<QueuedScenario, WorkerAnswer>(
    QUEUE_NAME,
    async ({ data: { task, checks } }) => await pool.exec('judge', [task, checks]),
    {
      connection,
      concurrency: jobs,
      lockDuration: LOCK_MILLISECONDS,
      stalledInterval: STALLED_CHECK_MILLISECONDS,
      maxStalledCount: 2,
    },
  );
  worker.on('error', (error) => host.stderr.write(`umbra worker: ${error.message}\n`));
  let judged = 0;
  worker.on('completed', () => judged++);
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
  host.stderr.write(`${judged} scenario${judged === 1 ? '' : 's'} judged.\n`);
  return 0;
}
