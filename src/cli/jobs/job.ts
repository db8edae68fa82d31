import { InputError } from '../../arch/input-error.ts';
import { scenarioText } from '../../grid/describe.ts';
import type { Task, Work } from '../../grid/execute.ts';
import type { HuntRequest } from '../../grid/mutants/hunt.ts';
import type { HostWithL0 } from '../../grid/mutants/mutant.ts';
import { mutantNamed } from '../../grid/mutants/mutants.ts';
import { type RandomWork, randomWork } from '../../grid/random/generate.ts';
import { MOST_SEED, SEED_RULE } from '../../grid/random/seed.ts';
import { RUN_HOST_NAMES, type RunHostName } from '../../grid/run-host.ts';
import { parseScenarios } from '../../grid/text/parse.ts';
import type { HostChecks } from './scenario-worker.ts';

/** What a worker can be asked for. */
export type Job = { readonly task: Task; readonly checks: HostChecks } | { readonly hunt: HuntRequest };

/** A job as it lies in a queue: plain data, scenarios in their text form. */
export interface QueuedJob {
  readonly judge?: string | RandomWork;
  readonly on?: RunHostName;
  readonly check?: boolean;
  readonly hunt?: QueuedHunt;
}

/** A hunt as it lies in a queue: the scenarios are one text. */
interface QueuedHunt extends Omit<HuntRequest, 'scenarios'> {
  readonly scenarios?: string;
}

/** A job for a queue. */
export function queuedJob(job: Job): QueuedJob {
  if ('hunt' in job) return { hunt: queuedHunt(job.hunt) };
  const { work, on } = job.task;
  return { judge: 'seed' in work ? work : scenarioText(work), on, check: job.checks.check };
}

/**
 * The job that came out of a queue, whoever put it there.
 * @throws InputError that says what is no job about it
 */
export function readJob(data: unknown): Job {
  const { judge, on, check, hunt, ...others } = fields(data, 'A job');
  const [other] = Object.keys(others);
  if (other !== undefined)
    throw new InputError(`A job has no "${other}"; it has judge, on and check, or hunt.`);
  if (hunt !== undefined) {
    if (judge !== undefined || on !== undefined || check !== undefined)
      throw new InputError('A job with hunt has nothing else.');
    return { hunt: readHunt(hunt) };
  }
  const known = RUN_HOST_NAMES.find((name) => name === on);
  if (known === undefined) throw new InputError(`A job runs on one of ${RUN_HOST_NAMES.join(', ')}.`);
  if (typeof check !== 'boolean') throw new InputError("A job's check is true or false.");
  return { task: { work: readWork(judge), on: known }, checks: { check } };
}

const queuedHunt = ({ scenarios, ...hunt }: HuntRequest): QueuedHunt => ({
  ...hunt,
  ...(scenarios && { scenarios: scenarios.map(scenarioText).join('\n') }),
});

function readHunt(data: unknown): HuntRequest {
  const { mutant, on, scenarios, ...others } = fields(data, 'A hunt');
  const known = RUN_HOST_NAMES.find((name): name is HostWithL0 => name === on && name !== 'bare');
  const [other] = Object.keys(others);
  if (
    other !== undefined ||
    typeof mutant !== 'string' ||
    known !== on ||
    !['string', 'undefined'].includes(typeof scenarios)
  )
    throw new InputError(
      'A hunt has the name of a mutant, and perhaps on, a host with an L0, and scenarios, their text.',
    );
  return {
    mutant: mutantNamed(mutant).name,
    ...(known && { on: known }),
    ...(typeof scenarios === 'string' && { scenarios: parseScenarios(scenarios, 'a job') }),
  };
}

function readWork(judge: unknown): Work {
  if (typeof judge === 'string') {
    const scenarios = parseScenarios(judge, 'a job');
    if (scenarios.length !== 1)
      throw new InputError(`A job has one scenario to judge, and this one has ${scenarios.length}.`);
    return scenarios[0];
  }
  const { seed, index, nested = false } = fields(judge, 'What a job has to judge');
  if (isNumber(seed) && isNumber(index) && typeof nested === 'boolean')
    return randomWork(seed, index, nested);
  throw new InputError(
    `What a job has to judge is the text of a scenario, or the seed and index of a random one, each ${SEED_RULE}.`,
  );
}

const isNumber = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MOST_SEED;

function fields(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new InputError(`${what} is an object, and here it is ${JSON.stringify(value)?.slice(0, 60)}.`);
}
