import { Failure } from './failure.ts';
import { fetchKernels } from './kernels/fetch.ts';
import type { Services } from './services.ts';

/** Where the command line meets the machine, L0 and the grid. */
export const services: Services = {
  createMachine: () => {
    throw new Failure('This build has no machine yet.');
  },
  // biome-ignore lint/correctness/useYield: nothing to run yet
  runGrid: function* () {
    throw new Failure('This build has no grid yet.');
  },
  fetchKernels,
};
