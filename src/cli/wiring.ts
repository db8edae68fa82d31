import { scenarioText } from '../grid/describe.ts';
import { replay, scenarioByName } from '../grid/replay.ts';
import { runMatrix } from '../grid/run-matrix.ts';
import { onThreads } from './jobs/pool.ts';
import { fetchKernels } from './kernels/fetch.ts';
import { createMachine } from './run/machines.ts';
import type { Services } from './services.ts';

/** Where the command line meets the machine, L0 and the grid. */
export const services: Services = {
  createMachine,
  runGrid: ({ jobs, ...host }) => runMatrix(onThreads(host, jobs)),
  showScenario: (name) => scenarioText(scenarioByName(name)),
  replay: (files, { jobs, ...host }) => replay(files, onThreads(host, jobs)),
  fetchKernels,
};
