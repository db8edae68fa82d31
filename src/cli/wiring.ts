import { runMatrix } from '../grid/run.ts';
import { umbraHost } from '../grid/umbra-host.ts';
import { fetchKernels } from './kernels/fetch.ts';
import { createMachine } from './run/machines.ts';
import type { Services } from './services.ts';

/** Where the command line meets the machine, L0 and the grid. */
export const services: Services = {
  createMachine,
  runGrid: () => runMatrix(umbraHost({ l0: 'shadow' })),
  fetchKernels,
};
