import { scenarioText } from '../grid/describe.ts';
import type { Execute } from '../grid/execute.ts';
import { exportScenarios } from '../grid/export/export.ts';
import { runRandom } from '../grid/random/run-random.ts';
import { allScenarios, replay, scenarioByName } from '../grid/replay.ts';
import { runMatrix } from '../grid/run-matrix.ts';
import type { Scenario } from '../grid/scenario.ts';
import { parseScenarios } from '../grid/text/parse.ts';
import { umbraHost } from '../grid/umbra-host.ts';
import type { Host } from './host.ts';
import { onThreads } from './jobs/pool.ts';
import { onQueue } from './jobs/queue.ts';
import { work } from './jobs/worker.ts';
import { fetchKernels } from './kernels/fetch.ts';
import { reports } from './reports.ts';
import { createMachine } from './run/machines.ts';
import type { GridSetup, ScenarioText } from './scenarios.ts';
import type { Services } from './services.ts';

const execute = ({ jobs, queue, l0, check }: GridSetup, host: Host): Execute =>
  queue === undefined ? onThreads({ l0, check }, jobs) : onQueue({ l0, check }, queue, host);

const scenariosOf = (chosen: string | ScenarioText): readonly Scenario[] =>
  typeof chosen === 'string' ? [scenarioByName(chosen)] : parseScenarios(chosen.text, chosen.source);

/** Where the command line meets the machine, L0 and the grid. */
export const services: Services = {
  createMachine,
  runGrid: (setup, host) => runMatrix(execute(setup, host)),
  reports,
  showScenario: (name) => scenarioText(scenarioByName(name)),
  exportImage: (chosen) => exportScenarios(chosen === 'all' ? allScenarios() : chosen.flatMap(scenariosOf)),
  replay: (files, setup, host) => replay(files, execute(setup, host)),
  random: (run, setup, host) => runRandom(run, execute(setup, host), umbraHost(setup)),
  work,
  fetchKernels,
};
