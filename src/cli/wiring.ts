import { InputError } from '../arch/input-error.ts';
import { compileScenario } from '../grid/compile.ts';
import { scenarioText } from '../grid/describe.ts';
import { type Execute, onHosts, type Work, workAbout, workName, workScenario } from '../grid/execute.ts';
import { exportScenarios } from '../grid/export/export.ts';
import { type HuntRequest, type HuntVerdict, huntOnce } from '../grid/mutants/hunt.ts';
import { INEXPRESSIBLE } from '../grid/mutants/inexpressible.ts';
import { MUTANTS, mutantNamed } from '../grid/mutants/mutants.ts';
import { randomWorkNamed } from '../grid/random/generate.ts';
import { failureAt, runRandom } from '../grid/random/run-random.ts';
import { allScenarios, replay, scenarioByName } from '../grid/replay.ts';
import { whySkipped } from '../grid/run.ts';
import { type GridPart, gridParts, runGrid } from '../grid/run-grid.ts';
import { nestsPaging, type RunHostName } from '../grid/run-host.ts';
import type { Scenario } from '../grid/scenario.ts';
import { chooseNames, firstNames, selectScenarios, withScenarios } from '../grid/select.ts';
import { parseScenarios } from '../grid/text/parse.ts';
import { umbraHosts } from '../grid/umbra-host.ts';
import { lineTrace } from '../inspect/trace-lines.ts';
import { surveyHosts } from '../vmm/host-survey.ts';
import type { HostedMachine } from '../vmm/hosted-machine.ts';
import type { GridChoice } from './grid/grid.ts';
import { reports } from './grid/reports.ts';
import type { GridSetup, ScenarioText } from './grid/scenarios.ts';
import type { Host } from './host.ts';
import { huntOnThreads } from './jobs/hunts.ts';
import { onThreads } from './jobs/pool.ts';
import { huntOnQueue, onQueue } from './jobs/queue.ts';
import { work } from './jobs/worker.ts';
import { fetchKernels } from './kernels/fetch.ts';
import type { Progress } from './progress.ts';
import { createMachine } from './run/machines.ts';
import type { Services } from './services.ts';

function execute({ jobs, queue, check, trace }: GridSetup, host: Host): Execute {
  if (trace !== undefined) return traced(check, trace);
  return queue === undefined ? onThreads({ check }, jobs) : onQueue({ check }, queue, host);
}

/** Has a machine's L0 write its trace. */
const tracing =
  (trace: (line: string) => void) =>
  (machine: HostedMachine): void => {
    machine.vm.trace = lineTrace(trace, () => machine.clock.now);
  };

/** Runs one scenario here, with L0's trace of it. */
const traced = (check: boolean, trace: (line: string) => void): Execute =>
  async function* (tasks) {
    if (tasks.length !== 1) {
      const names = tasks.map(({ work }) => workName(work));
      throw new InputError(`--trace is of one scenario, and these are ${firstNames(names)}; name one.`);
    }
    yield* onHosts(umbraHosts({ check, prepare: tracing(trace) }))(tasks);
  };

/** Runs one scenario on each of some mutants here, with L0's trace. */
async function* huntTraced(
  requests: readonly HuntRequest[],
  trace: (line: string) => void,
): AsyncGenerator<Progress, HuntVerdict[]> {
  const verdicts: HuntVerdict[] = [];
  for (const request of requests) {
    verdicts.push(huntOnce(request, tracing(trace)));
    yield { done: verdicts.length, total: requests.length, name: request.mutant };
  }
  return verdicts;
}

/** Scenarios of files, and those of the grid that patterns choose. Throws an InputError for one that cannot be. */
function chosenScenarios({ patterns, seed }: GridChoice, files: readonly ScenarioText[]): Scenario[] {
  // A host on which every random scenario falls to it.
  const parts = patterns.length === 0 ? [] : selectScenarios(gridParts(seed, ['npt/pae']), patterns);
  const scenarios = [
    ...files.flatMap(({ text, source }) => parseScenarios(text, source)),
    ...parts.flatMap((part): readonly Work[] => part.scenarios).map(workScenario),
  ];
  for (const scenario of scenarios) compileScenario(scenario);
  return scenarios;
}

/** Scenarios of files, of names, random ones among them, and of patterns. Throws an InputError for what is none of them. */
function exportable(chosen: readonly (string | ScenarioText)[]): Scenario[] {
  const files = chosen.flatMap((one) =>
    typeof one === 'string' ? [] : parseScenarios(one.text, one.source),
  );
  const patterns = chosen.filter((one) => typeof one === 'string');
  const written = allScenarios();
  const names = written.map(({ name }) => name);
  const isRandom = (name: string): boolean => randomWorkNamed(name) !== undefined;
  const found = chooseNames(
    names,
    patterns.filter((name) => !isRandom(name)),
  );
  return [
    ...written.filter(({ name }) => found.has(name)),
    ...[...new Set(patterns.filter(isRandom))].map(scenarioByName),
    ...files,
  ];
}

/**
 * Scenarios of the grid that some host can run. What a random one asks of its host shows only when it is made: those with nested
 * paging are left out where no host offers it.
 */
function runnableParts(hosts: readonly RunHostName[], seed: number): GridPart[] {
  const hostOf = umbraHosts();
  const runs = (work: Work): boolean =>
    'seed' in work || hosts.some((on) => whySkipped(work, hostOf(on)) === undefined);
  const on = hosts.find(nestsPaging) ?? hosts[0];
  return gridParts(seed, [on]).map((part) => withScenarios(part, runs));
}

/** Where the command line meets the machine, L0 and the grid. */
export const services: Services = {
  createMachine,
  runGrid: (setup, host, { patterns, seed }) =>
    runGrid(execute(setup, host), selectScenarios(gridParts(seed, setup.hosts), patterns)),
  listScenarios: ({ hosts }, { patterns, seed }) => {
    const chosen = selectScenarios(runnableParts(hosts, seed), patterns);
    return chosen
      .flatMap(({ scenarios }): readonly Work[] => scenarios)
      .map((work) => ({ name: workName(work), about: workAbout(work) }));
  },
  reports,
  showScenario: (name) => scenarioText(scenarioByName(name)),
  exportImage: (chosen) => exportScenarios(chosen === 'all' ? allScenarios() : exportable(chosen)),
  replay: (files, setup, host) => replay(files, setup.hosts, execute(setup, host)),
  random: (run, setup, host) =>
    runRandom({ ...run, hosts: setup.hosts }, execute(setup, host), umbraHosts({ check: setup.check })),
  soakBench: (setup, host) => {
    const here = umbraHosts({ check: setup.check });
    return {
      execute: execute(setup, host),
      reduce: (work, on) => failureAt(work, on, here, true),
    };
  },
  mutants: (names) => (names.length === 0 ? MUTANTS : names.map(mutantNamed)),
  inexpressible: INEXPRESSIBLE,
  scenarios: chosenScenarios,
  huntMutants: (requests, { jobs, queue, trace }, host) => {
    if (trace !== undefined) return huntTraced(requests, trace);
    return queue === undefined ? huntOnThreads(requests, jobs) : huntOnQueue(requests, queue, host);
  },
  work,
  surveyHosts,
  fetchKernels,
};
