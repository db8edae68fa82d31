import { InputError } from '../arch/input-error.ts';
import { scenarioText } from './describe.ts';
import type { Execute, Task } from './execute.ts';
import type { ScenarioVerdict } from './judge.ts';
import { randomScenario, randomWorkNamed } from './random/generate.ts';
import { MOST_SEED, SEED_RULE } from './random/seed.ts';
import { type GridProgress, writtenParts } from './run-grid.ts';
import { type RunHostName, runHostText } from './run-host.ts';
import type { Scenario } from './scenario.ts';
import { nameMatcher } from './select.ts';
import { parseScenarios } from './text/parse.ts';

/** A scenario that did not go as the oracle says. */
export interface ScenarioFailure {
  readonly name: string;
  /** The story of each mismatch. */
  readonly mismatches: readonly string[];
  /** The scenario as a file to replay. */
  readonly text: string;
}

/** A scenario that a host cannot run. */
export interface SkippedScenario {
  readonly name: string;
  /** The reason, a clause that names the host. */
  readonly why: string;
}

/** What a run of scenarios came to. */
export interface ScenarioReport {
  /** How many ran, on any host. */
  readonly scenarios: number;
  readonly probes: number;
  readonly failures: readonly ScenarioFailure[];
  /** One for each scenario and host that cannot run it. */
  readonly skipped: readonly SkippedScenario[];
}

/** The scenario that a verdict says was skipped, in a list; an empty one if it ran. */
export const skipOf = (name: string, { skipped }: ScenarioVerdict): SkippedScenario[] =>
  skipped === undefined ? [] : [{ name, why: skipped }];

/** The failure that a verdict is; undefined if all was right. */
export function failureOf(
  scenario: Scenario,
  { mismatches }: ScenarioVerdict,
  on: RunHostName,
): ScenarioFailure | undefined {
  if (mismatches.length === 0) return undefined;
  return {
    name: scenario.name,
    mismatches: mismatches.map(({ text }) => `On ${runHostText(on)}: ${text}`),
    text: scenarioText(scenario),
  };
}

/**
 * Runs all scenarios of texts on each of some hosts; failures come in the order of the texts and tell the host. Throws an
 * InputError for a text that is no scenario file, and for a scenario that cannot be or that none of the hosts can run.
 */
export async function* replay(
  files: readonly { readonly text: string; readonly source: string }[],
  hosts: readonly RunHostName[],
  execute: Execute,
): AsyncGenerator<GridProgress, ScenarioReport> {
  const scenarios = files.flatMap(({ text, source }) => parseScenarios(text, source));
  const tasks = scenarios.flatMap((work) => hosts.map((on): Task & { work: Scenario } => ({ work, on })));
  const verdicts = new Array<ScenarioVerdict>(tasks.length);
  let done = 0;
  for await (const { index, verdict } of execute(tasks)) {
    verdicts[index] = verdict;
    yield { done: ++done, total: tasks.length, name: tasks[index].work.name };
  }
  scenarios.forEach(({ name }, index) => {
    const skips = verdicts
      .slice(index * hosts.length, (index + 1) * hosts.length)
      .map(({ skipped }) => skipped);
    if (skips.every((skipped) => skipped !== undefined))
      throw new InputError(`Scenario "${name}" cannot run: ${skips.join('; ')}.`);
  });
  const probes = verdicts.reduce((sum, verdict) => sum + verdict.probes, 0);
  const failures = tasks.map(({ work, on }, index) => failureOf(work, verdicts[index], on));
  return {
    scenarios: scenarios.length,
    probes,
    failures: failures.filter((failure) => failure !== undefined),
    skipped: tasks.flatMap(({ work }, index) => skipOf(work.name, verdicts[index])),
  };
}

/** Every scenario of the grid that is not a random one, in its order. */
export const allScenarios = (): Scenario[] =>
  writtenParts().flatMap((part): readonly Scenario[] => part.scenarios);

/** The scenario of the grid that has a name, random ones of any seed included. Throws an InputError if there is none. */
export function scenarioByName(name: string): Scenario {
  const random = randomWorkNamed(name);
  if (random !== undefined) {
    if (random.seed <= MOST_SEED && random.index <= MOST_SEED) return randomScenario(random);
    throw new InputError(
      `There is no scenario "${name}": the seed and the number of a random one are each ${SEED_RULE}.`,
    );
  }
  const scenarios = allScenarios();
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found !== undefined) return found;
  const names = scenarios.map((scenario) => scenario.name);
  const last = name.split('/').at(-1);
  const alike = [...names.filter(nameMatcher(name)), ...names.filter((other) => other.endsWith(`/${last}`))];
  const shown = alike.length > 0 ? [...new Set(alike)] : names;
  const some = `${shown.slice(0, 12).join(', ')}${shown.length > 12 ? ', ...' : ''}`;
  throw new InputError(`There is no scenario "${name}" among the ${names.length}; there are ${some}.`);
}
