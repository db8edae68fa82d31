import { Failure } from './failure.ts';
import { fetchKernels } from './kernels/fetch.ts';
import { createBareMachine } from './run/bare-machine.ts';
import type { Services } from './services.ts';

/** Where the command line meets the machine, L0 and the grid. */
export const services: Services = {
  createMachine: (config) => {
    if (config.l0 !== 'none') throw new Failure('This build has no L0 yet.');
    return createBareMachine(config);
  },
  // biome-ignore lint/correctness/useYield: nothing to run yet
  runGrid: function* () {
    throw new Failure('This build has no grid yet.');
  },
  fetchKernels,
};
