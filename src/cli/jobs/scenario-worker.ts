/** What runs on each thread of the pool: scenarios, one at a time. */
import workerpool from 'workerpool';
import { InputError } from '../../arch/input-error.ts';
import type { ScenarioVerdict } from '../../grid/judge.ts';
import { runScenario } from '../../grid/run.ts';
import type { Scenario } from '../../grid/scenario.ts';
import { type UmbraHostOptions, umbraHost } from '../../grid/umbra-host.ts';

/** A verdict, or the sentence of an InputError: errors lose their class between threads. */
export type WorkerAnswer = { readonly verdict: ScenarioVerdict } | { readonly inputError: string };

/** Runs a scenario on Umbra and has the oracle judge it. */
function judge(scenario: Scenario, host: UmbraHostOptions): WorkerAnswer {
  try {
    return { verdict: runScenario(scenario, umbraHost(host)) };
  } catch (error) {
    if (error instanceof InputError) return { inputError: error.message };
    throw error;
  }
}

export type ScenarioWorker = { readonly judge: typeof judge };

workerpool.worker({ judge });
