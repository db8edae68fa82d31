/** What runs on each thread of the pool: scenarios, one at a time. */
import workerpool from 'workerpool';
import { InputError } from '../../arch/input-error.ts';
import { judgeWork, type Task, type Work, WorkRun } from '../../grid/execute.ts';
import type { ScenarioVerdict } from '../../grid/judge.ts';
import { huntFor } from '../../grid/mutants/hunt.ts';
import type { ScenarioHost } from '../../grid/run.ts';
import type { RunHostName } from '../../grid/run-host.ts';
import { umbraHosts } from '../../grid/umbra-host.ts';

/** A verdict, or the sentence of an InputError: errors lose their class between threads. */
export type WorkerAnswer = { readonly verdict: ScenarioVerdict } | { readonly inputError: string };

/** What all hosts of a run have in common: whether L0 checks its invariants. */
export interface HostChecks {
  readonly check: boolean;
}

/**
 * Hosts keep memory, some 100 MiB, from one scenario to the next. Only those of the last run stay: a thread that works for
 * many runs must not keep what each of them needed.
 */
let last: { readonly check: boolean; readonly hosts: ReturnType<typeof umbraHosts> } | undefined;

function hostOf(on: RunHostName, { check }: HostChecks): ScenarioHost {
  if (last?.check !== check) last = { check, hosts: umbraHosts({ check }) };
  return last.hosts(on);
}

/** Runs a scenario on Umbra and has the oracle judge it. */
function judge({ work, on }: Task, checks: HostChecks): WorkerAnswer {
  try {
    return { verdict: judgeWork(work, hostOf(on, checks)) };
  } catch (error) {
    if (error instanceof InputError) return { inputError: error.message };
    throw error;
  }
}

/** Verdicts of a scenario on each of some hosts, or the sentence of an InputError. */
export type SharedAnswer =
  | { readonly verdicts: readonly ScenarioVerdict[] }
  | { readonly inputError: string };

/** Runs a scenario on one host after another and has the oracle judge it. */
function judgeOn(work: Work, hosts: readonly RunHostName[], checks: HostChecks): SharedAnswer {
  try {
    const run = new WorkRun(work);
    return { verdicts: hosts.map((on) => run.on(hostOf(on, checks))) };
  } catch (error) {
    if (error instanceof InputError) return { inputError: error.message };
    throw error;
  }
}

workerpool.worker({ judge, judgeOn, hunt: huntFor });
