import { InputError } from '../arch/input-error.ts';
import { InvariantBroken } from '../l0/check.ts';
import type { ScenarioVerdict } from './judge.ts';
import { RANDOM_ABOUT, RANDOM_NESTED_ABOUT } from './random/arbitrary.ts';
import { type RandomWork, randomScenario, randomScenarioName } from './random/generate.ts';
import { type ScenarioHost, ScenarioRun } from './run.ts';
import type { RunHostName } from './run-host.ts';
import type { Scenario } from './scenario.ts';

/** A scenario to run: itself, or which random one. Plain data, as it travels between threads. */
export type Work = Scenario | RandomWork;

/** A scenario and what to run it on. Plain data too. */
export interface Task {
  readonly work: Work;
  readonly on: RunHostName;
}

/** The name of the scenario. */
export const workName = (work: Work): string => ('seed' in work ? randomScenarioName(work) : work.name);

/** What the scenario is about, a sentence. */
export function workAbout(work: Work): string {
  if (!('seed' in work)) return work.about;
  return work.nested ? RANDOM_NESTED_ABOUT : RANDOM_ABOUT;
}

/** The scenario. */
export const workScenario = (work: Work): Scenario => ('seed' in work ? randomScenario(work) : work);

/** A scenario to run on one host after another, with what goes wrong on the way. */
export class WorkRun {
  readonly #work: Work;
  readonly #scenario: Scenario;
  readonly #run: ScenarioRun;

  constructor(work: Work) {
    this.#work = work;
    this.#scenario = workScenario(work);
    this.#run = new ScenarioRun(this.#scenario);
  }

  /**
   * Runs it on a host and judges it. A broken invariant of L0 is a mismatch. Throws an InputError for a scenario that cannot
   * be; a random one that cannot be is a mismatch, for making it was our part.
   */
  on(host: ScenarioHost): ScenarioVerdict {
    const { name } = this.#scenario;
    try {
      return this.#run.on(host);
    } catch (error) {
      const ours = error instanceof InvariantBroken || (error instanceof InputError && 'seed' in this.#work);
      if (!ours) throw error;
      const what = error instanceof InputError ? 'should never have been made' : 'broke an invariant of L0';
      const text = `Scenario ${name} ${what}: ${error.message}`;
      return { probes: 0, switches: 0, mismatches: [{ scenario: name, index: -1, text }] };
    }
  }
}

/** Runs a scenario on one host and judges it; see `WorkRun`. */
export const judgeWork = (work: Work, host: ScenarioHost): ScenarioVerdict => new WorkRun(work).on(host);

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

/** A scenario that tasks have in common, and where each of them runs it. */
export interface SharedWork {
  readonly work: Work;
  /** `index`: the task's place in the list. */
  readonly places: readonly { readonly index: number; readonly on: RunHostName }[];
}

/** Tasks whose scenario is one object, in the order of the first of each: what is alike on several hosts is done once. */
export function byWork(tasks: readonly Task[]): SharedWork[] {
  const groups = new Map<Work, { index: number; on: RunHostName }[]>();
  for (const [index, { work, on }] of tasks.entries()) {
    const places = groups.get(work) ?? [];
    places.push({ index, on });
    groups.set(work, places);
  }
  return [...groups].map(([work, places]) => ({ work, places }));
}

/** Runs scenarios one after another in this thread, each on the host that `hostOf` gives for its task. */
export const onHosts = (hostOf: (on: RunHostName) => ScenarioHost): Execute =>
  async function* (tasks) {
    for (const { work, places } of byWork(tasks)) {
      const run = new WorkRun(work);
      for (const { index, on } of places) yield { index, verdict: run.on(hostOf(on)) };
    }
  };

/** Runs scenarios one after another on one host in this thread, whatever their tasks say. */
export const onHost = (host: ScenarioHost): Execute => onHosts(() => host);
