import type { Inexpressible } from '../grid/mutants/inexpressible.ts';
import type { Scenario } from '../grid/scenario.ts';
import type { HostRow } from '../vmm/host-survey.ts';
import type { ExportImage } from './export.ts';
import type { GridChoice, GridReports, RunGrid } from './grid/grid.ts';
import type { ChooseMutants, HuntMutants } from './grid/mutants.ts';
import type { GridSetup, Random, Replay, ScenarioText } from './grid/scenarios.ts';
import type { Host } from './host.ts';
import type { WorkerOptions } from './jobs/worker.ts';
import type { CreateMachine } from './run/session.ts';
import type { MakeSoakBench } from './soak/soak.ts';

/** What the commands drive, given to the command line from outside so that each can be tested by itself. */
export interface Services {
  readonly createMachine: CreateMachine;
  readonly runGrid: RunGrid;
  readonly reports: GridReports;
  /** Name of each scenario that a pattern matches, or of all, and a sentence. Throws an InputError as `runGrid`. */
  readonly listScenarios: (
    setup: GridSetup,
    choice: GridChoice,
  ) => readonly { readonly name: string; readonly about: string }[];
  /** The text of a scenario of the grid by name. Throws an InputError if there is none. */
  readonly showScenario: (name: string) => string;
  readonly replay: Replay;
  readonly exportImage: ExportImage;
  readonly random: Random;
  readonly mutants: ChooseMutants;
  /** Bugs of KVM that no mutant stands for. */
  readonly inexpressible: readonly Inexpressible[];
  /** Scenarios of the grid that patterns choose, and those of files. Throws an InputError for one that cannot be. */
  readonly scenarios: (choice: GridChoice, files: readonly ScenarioText[]) => readonly Scenario[];
  readonly huntMutants: HuntMutants;
  readonly soakBench: MakeSoakBench;
  /** Works for a queue; answers the exit status. */
  readonly work: (options: WorkerOptions, host: Host) => Promise<number>;
  /** Boots every host kernel on every processor. */
  readonly surveyHosts: () => readonly HostRow[];
  readonly fetchKernels: (folder: string, host: Host) => Promise<void>;
}
