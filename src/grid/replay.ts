import { InputError } from '../arch/input-error.ts';
import { scenarioText } from './describe.ts';
import type { Execute } from './execute.ts';
import type { ScenarioVerdict } from './judge.ts';
import { randomScenario } from './random/generate.ts';
import { type GridProgress, writtenParts } from './run-grid.ts';
import type { Scenario } from './scenario.ts';
import { parseScenarios } from './text/parse.ts';

/** A scenario that did not go as the oracle says. */
export interface ScenarioFailure {
  readonly name: string;
  /** The story of each mismatch. */
  readonly mismatches: readonly string[];
  /** The scenario as a file to replay. */
  readonly text: string;
}

/** What a run of scenarios came to. */
export interface ScenarioReport {
  readonly scenarios: number;
  readonly probes: number;
  readonly failures: readonly ScenarioFailure[];
}

/** The failure that a verdict is; undefined if all was right. */
export function failureOf(scenario: Scenario, { mismatches }: ScenarioVerdict): ScenarioFailure | undefined {
  if (mismatches.length === 0) return undefined;
  return {
    name: scenario.name,
    mismatches: mismatches.map(({ text }) => text),
    text: scenarioText(scenario),
  };
}

/**
 * Runs all scenarios of texts; failures come in the order of the texts. Throws an InputError for a text that is no scenario
 * file, and for a scenario that cannot be or that the host cannot run.
 */
export async function* replay(
  files: readonly { readonly text: string; readonly source: string }[],
  execute: Execute,
): AsyncGenerator<GridProgress, ScenarioReport> {
  const scenarios = files.flatMap(({ text, source }) => parseScenarios(text, source));
  const failures = new Array<ScenarioFailure | undefined>(scenarios.length);
  let probes = 0;
  let done = 0;
  for await (const { index, verdict } of execute(scenarios)) {
    const scenario = scenarios[index];
    if (verdict.skipped !== undefined)
      throw new InputError(`Scenario "${scenario.name}" cannot run: ${verdict.skipped}.`);
    probes += verdict.probes;
    failures[index] = failureOf(scenario, verdict);
    yield { done: ++done, total: scenarios.length, name: scenario.name };
  }
  return {
    scenarios: scenarios.length,
    probes,
    failures: failures.filter((failure) => failure !== undefined),
  };
}

/** Every scenario of the grid that is not a random one, in its order. */
export const allScenarios = (): Scenario[] =>
  writtenParts().flatMap((part): readonly Scenario[] => part.scenarios);

const RANDOM_NAME = /^random\/(\d{1,10})\/(\d{1,10})$/;

/** The scenario of the grid that has a name, random ones of any seed included. Throws an InputError if there is none. */
export function scenarioByName(name: string): Scenario {
  const random = RANDOM_NAME.exec(name);
  if (random !== null) return randomScenario(Number(random[1]), Number(random[2]));
  const scenarios = allScenarios();
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found !== undefined) return found;
  const [last] = name.split('/').slice(-1);
  const alike = scenarios.map((scenario) => scenario.name).filter((other) => other.endsWith(`/${last}`));
  const names = alike.length > 0 ? alike : scenarios.slice(0, 5).map((scenario) => scenario.name);
  throw new InputError(
    `There is no scenario "${name}" among the ${scenarios.length}; there are ${names.join(', ')}${alike.length > 0 ? '' : ', ...'}.`,
  );
}
