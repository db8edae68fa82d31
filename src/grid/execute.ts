import { InputError } from '../arch/input-error.ts';
import { InvariantBroken } from '../l0/check.ts';
import type { ScenarioVerdict } from './judge.ts';
import { RANDOM_ABOUT } from './random/arbitrary.ts';
import { randomScenario, randomScenarioName } from './random/generate.ts';
import { runScenario, type ScenarioHost } from './run.ts';
import type { RunHostName } from './run-host.ts';
import type { Scenario } from './scenario.ts';

/** A scenario to run: itself, or the seed and the number of a random one. Plain data, as it travels between threads. */
export type Work = Scenario | { readonly seed: number; readonly index: number };

/** A scenario and what to run it on. Plain data too. */
export interface Task {
  readonly work: Work;
  readonly on: RunHostName;
}

/** The name of the scenario. */
export const workName = (work: Work): string =>
  'seed' in work ? randomScenarioName(work.seed, work.index) : work.name;

/** What the scenario is about, a sentence. */
export const workAbout = (work: Work): string => ('seed' in work ? RANDOM_ABOUT : work.about);

/**
 * Runs a scenario on a host and judges it. A broken invariant of L0 is a mismatch. Throws an InputError for a scenario that
 * cannot be; a random one that cannot be is a mismatch, for making it was our part.
 */
export function judgeWork(work: Work, host: ScenarioHost): ScenarioVerdict {
  const scenario = 'seed' in work ? randomScenario(work.seed, work.index) : work;
  try {
    return runScenario(scenario, host);
  } catch (error) {
    const ours = error instanceof InvariantBroken || (error instanceof InputError && 'seed' in work);
    if (!ours) throw error;
    const what = error instanceof InputError ? 'should never have been made' : 'broke an invariant of L0';
    const text = `Scenario ${scenario.name} ${what}: ${error.message}`;
    return { probes: 0, switches: 0, mismatches: [{ scenario: scenario.name, index: -1, text }] };
  }
}

/** One task's verdict, with the task's place in the list that was asked for. */
export interface Judged {
  readonly index: number;
  readonly verdict: ScenarioVerdict;
}

/**
 * A way to run scenarios: here, on threads, on other computers. Gives each verdict as soon as it is there, in whatever
 * order; a verdict depends on its scenario alone, so that the way changes nothing but the time. Throws an InputError
 * where the host cannot run a scenario.
 */
export type Execute = (tasks: readonly Task[]) => AsyncIterable<Judged>;

/** Runs scenarios one after another in this thread, each on the host that `hostOf` gives for its task. */
export const onHosts = (hostOf: (on: RunHostName) => ScenarioHost): Execute =>
  async function* (tasks) {
    for (const [index, { work, on }] of tasks.entries())
      yield { index, verdict: judgeWork(work, hostOf(on)) };
  };

/** Runs scenarios one after another on one host in this thread, whatever their tasks say. */
export const onHost = (host: ScenarioHost): Execute => onHosts(() => host);
