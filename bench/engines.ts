import type { Engine } from './engine.ts';

/** Each engine in a module that is loaded only where it is wanted: v86 is not in the process that measures Umbra. */
const LOADERS = {
  umbra: async (): Promise<Engine> => (await import('./umbra.ts')).umbra,
  'umbra-l0': async (): Promise<Engine> => (await import('./umbra.ts')).umbraL0,
  v86: async (): Promise<Engine> => (await import('./v86.ts')).v86,
  'v86-interpreter': async (): Promise<Engine> => (await import('./v86.ts')).v86Interpreter,
} as const;

/** Umbra bare, Umbra with L0 under the program, v86, and v86 with its compiler off. */
export type EngineName = keyof typeof LOADERS;

export const loadEngine = (name: EngineName): Promise<Engine> => LOADERS[name]();
