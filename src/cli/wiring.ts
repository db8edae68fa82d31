import { runMatrix } from '../grid/run.ts';
import { umbraHost } from '../grid/umbra-host.ts';
import { fetchKernels } from './kernels/fetch.ts';
import { createBareMachine } from './run/bare-machine.ts';
import { createHostedMachine } from './run/hosted-machine.ts';
import type { Services } from './services.ts';

/** Where the command line meets the machine, L0 and the grid. */
export const services: Services = {
  createMachine: (config) => (config.l0 === 'none' ? createBareMachine(config) : createHostedMachine(config)),
  runGrid: () => runMatrix(umbraHost({ l0: 'shadow' })),
  fetchKernels,
};
