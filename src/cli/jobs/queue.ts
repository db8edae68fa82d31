import { randomUUID } from 'node:crypto';
import { Queue, QueueEvents } from 'bullmq';
import { InputError } from '../../arch/input-error.ts';
import { type Execute, workName } from '../../grid/execute.ts';
import type { ScenarioVerdict } from '../../grid/judge.ts';
import type { HuntRequest, HuntVerdict } from '../../grid/mutants/hunt.ts';
import { SIGNAL_STATUS } from '../exit-status.ts';
import { Failure } from '../failure.ts';
import type { Host } from '../host.ts';
import type { Progress } from '../progress.ts';
import { type Job, type QueuedJob, queuedJob } from './job.ts';
import { connectRedis, QUEUE_NAME } from './redis.ts';
import type { HostChecks } from './scenario-worker.ts';
import type { QueueAnswer } from './worker.ts';

/** A worker that dies is one attempt of its jobs; three deaths over one job are its own fault. */
const ATTEMPTS = 3;

/** Runs scenarios on the workers of a queue, wherever they are. Throws as `runOnQueue`. @param url where Redis is */
export const onQueue = (checks: HostChecks, url: string, host: Host): Execute =>
  async function* (tasks) {
    const jobs = tasks.map((task): Job => ({ task, checks }));
    for await (const { index, answer } of runOnQueue(jobs, url, host, 'Scenario', verdictIn))
      yield { index, verdict: answer };
  };

/** Hunts mutants on the workers of a queue. Throws as `runOnQueue`. @param url where Redis is */
export async function* huntOnQueue(
  requests: readonly HuntRequest[],
  url: string,
  host: Host,
): AsyncGenerator<Progress, HuntVerdict[]> {
  const verdicts: HuntVerdict[] = [];
  const jobs = requests.map((hunt): Job => ({ hunt }));
  let done = 0;
  for await (const { index, answer } of runOnQueue(jobs, url, host, 'Mutant', huntIn)) {
    verdicts[index] = answer;
    yield { done: ++done, total: requests.length, name: answer.mutant };
  }
  return verdicts;
}

/**
 * Has jobs done by the workers of a queue. A job whose worker dies goes to another one; its answer counts once, whoever
 * gives it. A Redis that comes back without its memory is asked again. Interrupted, it takes back what no worker has
 * begun. Throws a Failure where there is no Redis, or where no worker outlives a job.
 * @param what   what the jobs are of, for messages
 * @param accept the answer in what came back, from a worker of this Umbra or whoever else is there; undefined if none is
 */
async function* runOnQueue<Answer>(
  jobs: readonly Job[],
  url: string,
  host: Host,
  what: string,
  accept: (returned: Returned) => Answer | undefined,
): AsyncGenerator<Arrived<Answer>> {
  const connection = await connectRedis(url);
  const queue = new Queue<QueuedJob, QueueAnswer>(QUEUE_NAME, { connection });
  const events = new QueueEvents(QUEUE_NAME, { connection: connection.duplicate() });
  const run = new QueueRun(randomUUID(), jobs.length, what, accept);
  const stopListening = host.onSignal((signal) =>
    run.arrive(new Failure(`Ended by ${signal}.`, SIGNAL_STATUS[signal])),
  );
  try {
    await events.waitUntilReady();
    events.on('completed', ({ jobId, returnvalue }) =>
      run.completed(jobId, returnvalue as unknown as Returned | null),
    );
    events.on('failed', ({ jobId, failedReason }) => run.failed(jobId, failedReason));
    // Redis knows a job by its name: what it has already is not added twice.
    const ask = () => queue.addBulk(run.missing().map((index) => run.job(jobs[index], index)));
    await ask();
    connection.on('ready', () => {
      // Whoever loses the connection again comes here again.
      ask().catch(() => {});
    });
    if ((await queue.getWorkersCount()) === 0) {
      host.stderr.write(`No worker is at ${url} yet; start some with: umbra worker --queue ${url}\n`);
    }
    yield* run.answers();
  } finally {
    stopListening();
    await Promise.allSettled(run.missing().map((index) => queue.remove(run.jobId(index))));
    await Promise.allSettled([events.close(), queue.close()]);
    connection.disconnect();
  }
}

/** What somebody on the queue gave back. */
type Returned = Partial<Record<'inputError' | 'verdict' | 'hunt', unknown>>;

function verdictIn({ verdict }: Returned): ScenarioVerdict | undefined {
  const { probes, switches, mismatches } = (verdict ?? {}) as Partial<ScenarioVerdict>;
  const whole = Number.isSafeInteger(probes) && Number.isSafeInteger(switches) && Array.isArray(mismatches);
  return whole ? (verdict as ScenarioVerdict) : undefined;
}

function huntIn({ hunt }: Returned): HuntVerdict | undefined {
  const { mutant, on, finding, scenarios, asExpected } = (hunt ?? {}) as Partial<HuntVerdict>;
  const whole =
    typeof mutant === 'string' &&
    typeof on === 'string' &&
    typeof finding?.caught === 'string' &&
    Number.isSafeInteger(scenarios) &&
    typeof asExpected === 'boolean';
  return whole ? (hunt as HuntVerdict) : undefined;
}

type Bulk = Parameters<Queue<QueuedJob, QueueAnswer>['addBulk']>[0][number];

/** An answer, with the place of its job. */
interface Arrived<Answer> {
  readonly index: number;
  readonly answer: Answer;
}

/** One run among those that share a queue: which of its jobs are done. */
class QueueRun<Answer> {
  readonly #id: string;
  readonly #what: string;
  readonly #accept: (returned: Returned) => Answer | undefined;
  readonly #missing: Set<number>;
  /** Answers and failures that nobody has taken yet. */
  readonly #arrived: (Arrived<Answer> | Error)[] = [];
  #wake: () => void = () => {};

  constructor(id: string, jobs: number, what: string, accept: (returned: Returned) => Answer | undefined) {
    this.#id = id;
    this.#what = what;
    this.#accept = accept;
    this.#missing = new Set(Array(jobs).keys());
  }

  job(job: Job, index: number): Bulk {
    const opts = {
      jobId: this.jobId(index),
      attempts: ATTEMPTS,
      removeOnComplete: true,
      removeOnFail: true,
    };
    return { name: 'hunt' in job ? job.hunt.mutant : workName(job.task.work), data: queuedJob(job), opts };
  }

  jobId(index: number): string {
    return `${this.#id}-${index}`;
  }

  /** Places of the jobs whose answers have not come. */
  missing(): number[] {
    return [...this.#missing];
  }

  completed(jobId: string, returned: Returned | null): void {
    const index = this.#indexOf(jobId);
    // A worker that was taken for dead may come back with an answer that is there already.
    if (index === undefined || !this.#missing.delete(index)) return;
    const answer = this.#accept(returned ?? {});
    if (typeof returned?.inputError === 'string') this.arrive(new InputError(returned.inputError));
    else if (answer !== undefined) this.arrive({ index, answer });
    else this.arrive(new Failure(`${this.#what} ${index + 1} came back from the queue without a verdict.`));
  }

  failed(jobId: string, reason: string): void {
    const index = this.#indexOf(jobId);
    if (index === undefined || !this.#missing.delete(index)) return;
    this.arrive(new Failure(`${this.#what} ${index + 1} failed on the queue for good: ${reason}`));
  }

  /** Hands over an answer, or what ends the run. */
  arrive(what: Arrived<Answer> | Error): void {
    this.#arrived.push(what);
    this.#wake();
  }

  async *answers(): AsyncGenerator<Arrived<Answer>> {
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
