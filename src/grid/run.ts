import { InputError } from '../arch/input-error.ts';
import { AGENT_EXIT } from '../guest/agent-layout.ts';
import { compileScenario } from './compile.ts';
import type { ProcessorFacts } from './expect.ts';
import { judgeScenario, type MachineEnd, type ScenarioVerdict } from './judge.ts';
import { type MatrixCell, matrix } from './matrix/matrix.ts';
import { SCENARIO_MEMORY } from './placement.ts';
import type { CpuFeature, PagingMode, Scenario } from './scenario.ts';

/** What a host is asked to run. */
export interface MachineRequest {
  /** A multiboot 1 image. */
  readonly image: Uint8Array<ArrayBuffer>;
  /** Features that the processor must have beside SVM. */
  readonly features: readonly CpuFeature[];
  /** Features that the guest's processor must not have. */
  readonly absent: readonly CpuFeature[];
  /** Bytes of RAM, at least. */
  readonly memory: number;
  /** Stop after so many instructions: a scenario that needs them hangs. */
  readonly maxInstructions: number;
}

/** Something that runs images: Umbra bare, Umbra under its L0, or a machine that is not ours. */
export interface ScenarioHost {
  /** For reports: `umbra, L0 with a shadow MMU`. */
  readonly name: string;
  /** The processor that its guests see, for the oracle. */
  readonly processor: ProcessorFacts;
  /** Its memory cannot be read afterwards: the agents print their log on COM1. */
  readonly needsDump?: boolean;
  run(request: MachineRequest): MachineEnd;
}

/** A step takes a few hundred instructions at most, under L0 a few thousand host instructions that do not count here. */
const INSTRUCTIONS_PER_STEP = 20_000;
const INSTRUCTIONS_TO_BOOT = 1_000_000;

/** Compiles a scenario, runs it on a host and judges what came of it. Throws an InputError if the host has no SVM. */
export function runScenario(scenario: Scenario, host: ScenarioHost): ScenarioVerdict {
  const compiled = compileScenario(scenario, { dump: host.needsDump ?? false });
  const end = host.run({
    image: compiled.image,
    features: scenario.features,
    absent: scenario.absent ?? [],
    memory: SCENARIO_MEMORY,
    maxInstructions: INSTRUCTIONS_TO_BOOT + scenario.steps.length * INSTRUCTIONS_PER_STEP,
  });
  if (end.exitCode === AGENT_EXIT.NO_SVM) {
    throw new InputError(`The processor of ${host.name} has no SVM, which every scenario needs.`);
  }
  return judgeScenario(compiled, end, withoutFeatures(host.processor, scenario.absent ?? []));
}

/** The processor without some features, for the oracle. */
function withoutFeatures(processor: ProcessorFacts, absent: readonly CpuFeature[]): ProcessorFacts {
  const missing = Object.fromEntries(absent.map((feature) => [feature, false]));
  return { ...processor, features: { ...processor.features, ...missing } };
}

/** How far a run of the grid is, in scenarios. */
export interface GridProgress {
  readonly done: number;
  readonly total: number;
}

/** What the scenarios of one cell found. */
export interface CellVerdict {
  readonly l1: PagingMode;
  readonly l2: PagingMode;
  readonly scenarios: number;
  readonly probes: number;
  readonly mismatches: number;
  /** The story of each of the first mismatches, scenario by scenario. */
  readonly details: readonly string[];
}

/** Stories kept of each scenario: later ones are often consequences of the first. */
const DETAILS_PER_SCENARIO = 3;

/**
 * Runs the grid on a host, yielding after each scenario. The order and the answer are the same every time. Throws an
 * InputError if the host has no SVM.
 * @param cells what to run; the whole matrix by default
 */
export function* runMatrix(
  host: ScenarioHost,
  cells: readonly MatrixCell[] = matrix(),
): Generator<GridProgress, CellVerdict[]> {
  const total = cells.reduce((sum, { scenarios }) => sum + scenarios.length, 0);
  const verdicts: CellVerdict[] = [];
  let done = 0;
  for (const { l1, l2, scenarios } of cells) {
    let probes = 0;
    let mismatches = 0;
    const details: string[] = [];
    for (const scenario of scenarios) {
      const verdict = runScenario(scenario, host);
      probes += verdict.probes;
      mismatches += verdict.mismatches.length;
      details.push(...verdict.mismatches.slice(0, DETAILS_PER_SCENARIO).map(({ text }) => text));
      yield { done: ++done, total };
    }
    verdicts.push({ l1, l2, scenarios: scenarios.length, probes, mismatches, details });
  }
  return verdicts;
}
