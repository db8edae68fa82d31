import type { RunGrid } from './grid.ts';
import type { CreateMachine } from './run/session.ts';

/** What the commands drive, given to the command line from outside so that each can be tested by itself. */
export interface Services {
  readonly createMachine: CreateMachine;
  readonly runGrid: RunGrid;
  readonly fetchKernels: (folder: string, say: (line: string) => void) => Promise<void>;
}
