import type { Engine } from './engine.ts';

/** Hosts of images: they have no engine for programs, since they are not asked to run any. */
const noPrograms = async (): Promise<Engine> => () => {
  throw new Error('This engine runs exported images only.');
};

/** Each engine in a module that is loaded only where it is wanted: v86 is not in the process that measures Umbra. */
const LOADERS = {
  umbra: async (): Promise<Engine> => (await import('./umbra.ts')).umbra,
  'umbra-l0': async (): Promise<Engine> => (await import('./umbra.ts')).umbraL0,
  v86: async (): Promise<Engine> => (await import('./v86.ts')).v86,
  'v86-interpreter': async (): Promise<Engine> => (await import('./v86.ts')).v86Interpreter,
  qemu: noPrograms,
  'qemu-kvm': noPrograms,
} as const;

/** Umbra bare, Umbra with L0 under the program, v86, v86 with its compiler off, QEMU TCG, and Linux's KVM on it. */
export type EngineName = keyof typeof LOADERS;

export const loadEngine = (name: EngineName): Promise<Engine> => LOADERS[name]();
