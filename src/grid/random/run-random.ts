import { InputError } from '../../arch/input-error.ts';
import { type Execute, judgeWork } from '../execute.ts';
import {
  failureOf,
  type ScenarioFailure,
  type ScenarioReport,
  type SkippedScenario,
  skipOf,
} from '../replay.ts';
import type { ScenarioHost } from '../run.ts';
import type { GridProgress } from '../run-grid.ts';
import { dealtTo, type RunHostName } from '../run-host.ts';
import type { Scenario } from '../scenario.ts';
import { type RandomWork, randomScenario, randomScenarioName, randomWork } from './generate.ts';
import { reduceScenario } from './reduce.ts';

/** How many failing scenarios are made small: each takes some hundred runs. */
const REDUCED = 3;

export interface RandomRun {
  readonly count: number;
  readonly seed: number;
  /** Those in which L1 runs L2s with nested paging. */
  readonly nested?: boolean;
  /** They take turns. */
  readonly hosts: readonly RunHostName[];
}

/** The hosts of scenarios, by name. */
export type HostOf = (on: RunHostName) => ScenarioHost;

/**
 * Runs the first `count` random scenarios of a seed. The report has the first failing ones as small as they get, the
 * others as they were; scenarios that their host cannot run are counted apart.
 * @param hostOf where failing scenarios are run again and again
 */
export async function* runRandom(
  { count, seed, nested = false, hosts }: RandomRun,
  execute: Execute,
  hostOf: HostOf,
): AsyncGenerator<GridProgress, ScenarioReport> {
  if (!Number.isInteger(count) || count < 1) throw new InputError(`${count} is no number of scenarios.`);
  const tasks = Array.from({ length: count }, (_, index) => ({
    work: randomWork(seed, index, nested),
    on: dealtTo(hosts, index),
  }));
  const failed: number[] = [];
  const skips: SkippedScenario[][] = [];
  let probes = 0;
  let done = 0;
  for await (const { index, verdict } of execute(tasks)) {
    skips[index] = skipOf(randomScenarioName(tasks[index].work), verdict);
    probes += verdict.probes;
    if (verdict.mismatches.length > 0) failed.push(index);
    yield { done: ++done, total: count };
  }
  failed.sort((a, b) => a - b);
  const failures = failed.map((index, place) =>
    failureAt(tasks[index].work, tasks[index].on, hostOf, place < REDUCED),
  );
  const skipped = skips.flat();
  return { scenarios: count - skipped.length, probes, failures, skipped };
}

/** A failing random scenario, `reduced` if asked to the smallest that still fails, with what is wrong in it. */
export function failureAt(
  work: RandomWork,
  on: RunHostName,
  hostOf: HostOf,
  reduced: boolean,
): ScenarioFailure {
  const host = hostOf(on);
  const scenario = randomScenario(work);
  const smallest = reduced ? reduceScenario(scenario, (candidate) => fails(candidate, host)) : scenario;
  return failureOf(smallest, judgeWork(smallest === scenario ? work : smallest, host), on)!;
}

/** Whether a scenario, made of one that fails, fails too. One that cannot be judged any more does not. */
function fails(scenario: Scenario, host: ScenarioHost): boolean {
  try {
    return judgeWork(scenario, host).mismatches.length > 0;
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
}
