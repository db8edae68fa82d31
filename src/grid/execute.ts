import type { ScenarioVerdict } from './judge.ts';
import { runScenario, type ScenarioHost } from './run.ts';
import type { Scenario } from './scenario.ts';

/** One scenario's verdict, with the scenario's place in the list that was asked for. */
export interface Judged {
  readonly index: number;
  readonly verdict: ScenarioVerdict;
}

/**
 * A way to run scenarios: here, on threads, on other computers. Gives each verdict as soon as it is there, in whatever
 * order; a verdict depends on its scenario alone, so that the way changes nothing but the time. Throws an InputError
 * where the host cannot run a scenario.
 */
export type Execute = (scenarios: readonly Scenario[]) => AsyncIterable<Judged>;

/** Runs scenarios one after another on a host in this thread. */
export const onHost = (host: ScenarioHost): Execute =>
  async function* (scenarios) {
    for (const [index, scenario] of scenarios.entries())
      yield { index, verdict: runScenario(scenario, host) };
  };
