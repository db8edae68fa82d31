/** What runs on each thread of the pool: scenarios, one at a time. */
import workerpool from 'workerpool';
import { InputError } from '../../arch/input-error.ts';
import { judgeWork, type Work } from '../../grid/execute.ts';
import type { ScenarioVerdict } from '../../grid/judge.ts';
import { type HuntVerdict, hunt } from '../../grid/mutants/hunt.ts';
import { mutantNamed } from '../../grid/mutants/mutants.ts';
import type { ScenarioHost } from '../../grid/run.ts';
import { type UmbraHostOptions, umbraHost } from '../../grid/umbra-host.ts';

/** A verdict, or the sentence of an InputError: errors lose their class between threads. */
export type WorkerAnswer = { readonly verdict: ScenarioVerdict } | { readonly inputError: string };

/** Hosts keep memory from one scenario to the next; a thread rarely has more than one. */
const hosts = new Map<string, ScenarioHost>();

function hostFor(options: UmbraHostOptions): ScenarioHost {
  const key = JSON.stringify(options);
  const host = hosts.get(key) ?? umbraHost(options);
  hosts.set(key, host);
  return host;
}

/** Runs a scenario on Umbra and has the oracle judge it. */
function judge(work: Work, host: UmbraHostOptions): WorkerAnswer {
  try {
    return { verdict: judgeWork(work, hostFor(host)) };
  } catch (error) {
    if (error instanceof InputError) return { inputError: error.message };
    throw error;
  }
}

/** Hunts the mutant of a name. */
const huntByName = (name: string): HuntVerdict => hunt(mutantNamed(name));

workerpool.worker({ judge, hunt: huntByName });
