import { services } from '../src/cli/wiring.ts';
import { umbraEngine } from './umbra.ts';

/** Umbra's machine with L0 between it and the program. */
export const umbraL0 = umbraEngine(services.createMachine, 'shadow');
