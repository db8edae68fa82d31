import { InputError } from '../arch/input-error.ts';
import { scenarioText } from '../grid/describe.ts';
import { type Execute, onHosts, type Work, workAbout, workName } from '../grid/execute.ts';
import { exportScenarios } from '../grid/export/export.ts';
import { INEXPRESSIBLE } from '../grid/mutants/inexpressible.ts';
import { MUTANTS, mutantNamed } from '../grid/mutants/mutants.ts';
import { failureAt, runRandom } from '../grid/random/run-random.ts';
import { allScenarios, replay, scenarioByName } from '../grid/replay.ts';
import { gridParts, runGrid } from '../grid/run-grid.ts';
import type { Scenario } from '../grid/scenario.ts';
import { firstNames, selectScenarios } from '../grid/select.ts';
import { parseScenarios } from '../grid/text/parse.ts';
import { umbraHosts } from '../grid/umbra-host.ts';
import { lineTrace } from '../inspect/trace-lines.ts';
import { surveyHosts } from '../vmm/host-survey.ts';
import type { HostedMachine } from '../vmm/hosted-machine.ts';
import { reports } from './grid/reports.ts';
import type { GridSetup, ScenarioText } from './grid/scenarios.ts';
import type { Host } from './host.ts';
import { huntOnThreads } from './jobs/hunts.ts';
import { onThreads } from './jobs/pool.ts';
import { huntOnQueue, onQueue } from './jobs/queue.ts';
import { work } from './jobs/worker.ts';
import { fetchKernels } from './kernels/fetch.ts';
import { createMachine } from './run/machines.ts';
import type { Services } from './services.ts';

function execute({ jobs, queue, check, trace }: GridSetup, host: Host): Execute {
  if (trace !== undefined) return traced(check, trace);
  return queue === undefined ? onThreads({ check }, jobs) : onQueue({ check }, queue, host);
}

/** Runs one scenario here, with L0's trace of it. */
const traced = (check: boolean, trace: (line: string) => void): Execute =>
  async function* (tasks) {
    if (tasks.length !== 1) {
      const names = tasks.map(({ work }) => workName(work));
      throw new InputError(`--trace is of one scenario, and these are ${firstNames(names)}; name one.`);
    }
    const prepare = (machine: HostedMachine): void => {
      machine.vm.trace = lineTrace(trace, () => machine.clock.now);
    };
    yield* onHosts(umbraHosts({ check, prepare }))(tasks);
  };

const scenariosOf = (chosen: string | ScenarioText): readonly Scenario[] =>
  typeof chosen === 'string' ? [scenarioByName(chosen)] : parseScenarios(chosen.text, chosen.source);

/** Where the command line meets the machine, L0 and the grid. */
export const services: Services = {
  createMachine,
  runGrid: (setup, host, { patterns, seed }) =>
    runGrid(execute(setup, host), selectScenarios(gridParts(seed, setup.hosts), patterns)),
  listScenarios: ({ hosts }, { patterns, seed }) => {
    const chosen = selectScenarios(gridParts(seed, hosts.slice(0, 1)), patterns);
    return chosen
      .flatMap(({ scenarios }): readonly Work[] => scenarios)
      .map((work) => ({ name: workName(work), about: workAbout(work) }));
  },
  reports,
  showScenario: (name) => scenarioText(scenarioByName(name)),
  exportImage: (chosen) => exportScenarios(chosen === 'all' ? allScenarios() : chosen.flatMap(scenariosOf)),
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
  huntMutants: (requests, { jobs, queue }, host) =>
    queue === undefined ? huntOnThreads(requests, jobs) : huntOnQueue(requests, queue, host),
  work,
  surveyHosts,
  fetchKernels,
};
