import { randomUUID } from 'node:crypto';
import { Queue, QueueEvents } from 'bullmq';
import { InputError } from '../../arch/input-error.ts';
import { type Execute, type Judged, type Task, workName } from '../../grid/execute.ts';
import type { ScenarioVerdict } from '../../grid/judge.ts';
import { Failure } from '../failure.ts';
import type { Host } from '../host.ts';
import { connectRedis, QUEUE_NAME } from './redis.ts';
import type { HostChecks, WorkerAnswer } from './scenario-worker.ts';

/** What a worker is asked to do. */
export interface QueuedScenario {
  readonly task: Task;
  readonly checks: HostChecks;
}

/** A worker that dies is one attempt of its scenarios; three deaths over one scenario are its own fault. */
const ATTEMPTS = 3;

/**
 * Runs scenarios on the workers of a queue, wherever they are. A scenario whose worker dies goes to another one; its
 * verdict counts once, whoever gives it. A Redis that comes back without its memory is asked again.
 * Interrupted, it takes back what no worker has begun. Throws a Failure where there is no Redis, or where no worker
 * outlives a scenario.
 * @param url where Redis is
 */
export const onQueue = (checks: HostChecks, url: string, host: Host): Execute =>
  async function* (tasks) {
    const connection = await connectRedis(url);
    const queue = new Queue<QueuedScenario, WorkerAnswer>(QUEUE_NAME, { connection });
    const events = new QueueEvents(QUEUE_NAME, { connection: connection.duplicate() });
    const run = new QueueRun(randomUUID(), tasks.length);
    const stopListening = host.onSignal((signal) => run.arrive(new Failure(`Ended by ${signal}.`)));
    try {
      await events.waitUntilReady();
      events.on('completed', ({ jobId, returnvalue }) =>
        run.completed(jobId, returnvalue as unknown as Parameters<QueueRun['completed']>[1]),
      );
      events.on('failed', ({ jobId, failedReason }) => run.failed(jobId, failedReason));
      // Redis knows a job by its name: what it has already is not added twice.
      const ask = () =>
        queue.addBulk(run.missing().map((index) => run.job({ task: tasks[index], checks }, index)));
      await ask();
      connection.on('ready', () => {
        // Whoever loses the connection again comes here again.
        ask().catch(() => {});
      });
      if ((await queue.getWorkersCount()) === 0) {
        host.stderr.write(`No worker is at ${url} yet; start some with: umbra worker --queue ${url}\n`);
      }
      yield* run.judged();
    } finally {
      stopListening();
      await Promise.allSettled(run.missing().map((index) => queue.remove(run.jobId(index))));
      await Promise.allSettled([events.close(), queue.close()]);
      connection.disconnect();
    }
  };

function isVerdict(value: unknown): value is ScenarioVerdict {
  const { probes, switches, mismatches } = (value ?? {}) as Partial<ScenarioVerdict>;
  return Number.isSafeInteger(probes) && Number.isSafeInteger(switches) && Array.isArray(mismatches);
}

type Bulk = Parameters<Queue<QueuedScenario, WorkerAnswer>['addBulk']>[0][number];

/** One run among those that share a queue: which of its scenarios are done. */
class QueueRun {
  readonly #id: string;
  readonly #missing: Set<number>;
  /** Verdicts and failures that nobody has taken yet. */
  readonly #arrived: (Judged | Error)[] = [];
  #wake: () => void = () => {};

  constructor(id: string, scenarios: number) {
    this.#id = id;
    this.#missing = new Set(Array(scenarios).keys());
  }

  job(data: QueuedScenario, index: number): Bulk {
    const opts = {
      jobId: this.jobId(index),
      attempts: ATTEMPTS,
      removeOnComplete: true,
      removeOnFail: true,
    };
    return { name: workName(data.task.work), data, opts };
  }

  jobId(index: number): string {
    return `${this.#id}-${index}`;
  }

  /** Places of the scenarios whose verdicts have not come. */
  missing(): number[] {
    return [...this.#missing];
  }

  /** @param answer what somebody on the queue gave: a worker of this Umbra, or whoever else is there */
  completed(jobId: string, answer: Partial<Record<'inputError' | 'verdict', unknown>> | null): void {
    const index = this.#indexOf(jobId);
    // A worker that was taken for dead may come back with a verdict that is there already.
    if (index === undefined || !this.#missing.delete(index)) return;
    const { inputError, verdict } = answer ?? {};
    if (typeof inputError === 'string') this.arrive(new InputError(inputError));
    else if (isVerdict(verdict)) this.arrive({ index, verdict });
    else this.arrive(new Failure(`Scenario ${index + 1} came back from the queue without a verdict.`));
  }

  failed(jobId: string, reason: string): void {
    const index = this.#indexOf(jobId);
    if (index === undefined || !this.#missing.delete(index)) return;
    this.arrive(new Failure(`Scenario ${index + 1} failed ${ATTEMPTS} times on the queue: ${reason}.`));
  }

  /** Hands over a verdict, or what ends the run. */
  arrive(what: Judged | Error): void {
    this.#arrived.push(what);
    this.#wake();
  }

  async *judged(): AsyncGenerator<Judged> {
    while (this.#missing.size > 0 || this.#arrived.length > 0) {
      const next = this.#arrived.shift();
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else if (next instanceof Error) throw next;
      else yield next;
    }
  }

  #indexOf(jobId: string): number | undefined {
    const [run, index] = [jobId.slice(0, this.#id.length), jobId.slice(this.#id.length + 1)];
    return run === this.#id ? Number(index) : undefined;
  }
}
