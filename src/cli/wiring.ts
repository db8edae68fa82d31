import { runMatrix } from '../grid/run-matrix.ts';
import { onThreads } from './jobs/pool.ts';
import { fetchKernels } from './kernels/fetch.ts';
import { createMachine } from './run/machines.ts';
import type { Services } from './services.ts';

/** Where the command line meets the machine, L0 and the grid. */
export const services: Services = {
  createMachine,
  runGrid: (jobs) => runMatrix(onThreads({ l0: 'shadow' }, jobs)),
  fetchKernels,
};
