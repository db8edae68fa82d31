import { InvariantBroken } from '../../l0/check.ts';
import type { HostedMachine } from '../../vmm/hosted-machine.ts';
import { directedScenarios } from '../directed/directed.ts';
import { matrix } from '../matrix/matrix.ts';
import { runScenario, type ScenarioHost } from '../run.ts';
import { runHost } from '../run-host.ts';
import type { Scenario } from '../scenario.ts';
import { currentStep, machineMemory, umbraHost, type Watch } from '../umbra-host.ts';
import { homeOf, type Mutant } from './mutant.ts';

/** What the grid found of a mutant. */
export type Finding =
  | {
      readonly caught: 'by a probe' | 'by --check';
      readonly scenario: string;
      /** The step that went wrong, from 1; absent where it was none of them. */
      readonly step?: number;
      readonly story: string;
    }
  | { readonly caught: 'never' };

/** A mutant, what was found of it, and how much it took. */
export interface HuntVerdict {
  readonly mutant: string;
  readonly finding: Finding;
  /** Scenarios run. */
  readonly scenarios: number;
  /** As its entry says: caught, and no worse than that; or, where it is proved to be no bug, not caught. */
  readonly asExpected: boolean;
}

/** Of the matrix, this many scenarios apart are run on mutants that no guest is expected to see. */
const MATRIX_STRIDE = 12;

/**
 * Runs the grid on a mutant, the scenario that should catch it first, and stops at the first that does. Whether a guest can
 * see it is asked before `--check` is.
 */
export function hunt(mutant: Mutant): HuntVerdict {
  const { name, fate } = mutant;
  const expected = fate.caught === 'never' ? undefined : fate.scenario;
  const directed = directedScenarios();
  const first = directed.filter((scenario) => scenario.name === expected);
  const others = directed.filter((scenario) => scenario.name !== expected);
  const home = runHost(homeOf(mutant));
  const way = home.l0 === 'npt' ? 'npt' : 'shadow';
  // Where L0 has no nested paging to offer there is nothing to be seen of it.
  const cells = [
    ...matrix().filter((cell) => cell.way === way),
    ...(way === 'npt' ? matrix().filter((cell) => cell.way !== way) : []),
  ];
  const all = cells.flatMap((cell) => cell.scenarios);
  const some = all.filter((_, index) => index % MATRIX_STRIDE === 0);
  const visible =
    fate.caught === 'by a probe' ? [...first, ...others, ...all] : [...first, ...others, ...some];
  let scenarios = 0;
  const search = (list: readonly Scenario[], check: boolean): Finding => {
    const host = mutantHost(mutant, check);
    for (const scenario of list) {
      scenarios += 1;
      const finding = catchWith(scenario, host);
      if (finding.caught !== 'never') return finding;
    }
    return { caught: 'never' };
  };
  let finding = search(visible, false);
  if (finding.caught === 'never') finding = search([...first, ...others], true);
  return { mutant: name, finding, scenarios, asExpected: finding.caught === fate.caught };
}

/** L0 as a mutant of itself. */
export interface MutantHost extends ScenarioHost {
  /** Number of the step that the last scenario got to, from 1; 0 before the first. */
  readonly step?: () => number;
}

/** Runs one scenario. Whatever L0 does to itself, it is a finding and no error. */
export function catchWith(scenario: Scenario, host: MutantHost): Finding {
  const found = (caught: 'by a probe' | 'by --check', story: string, wrong = -1): Finding => {
    const step = wrong >= 0 ? wrong + 1 : host.step?.();
    return { caught, scenario: scenario.name, ...(step && { step }), story };
  };
  try {
    const [mismatch] = runScenario(scenario, host).mismatches;
    return mismatch === undefined ? { caught: 'never' } : found('by a probe', mismatch.text, mismatch.index);
  } catch (error) {
    if (error instanceof InvariantBroken) return found('by --check', error.message);
    const message = error instanceof Error ? error.message : String(error);
    return found('by a probe', `Scenario ${scenario.name}: L0 came to harm: ${message}`);
  }
}

let memory: ReturnType<typeof machineMemory> | undefined;

/**
 * L0 as a mutant of itself on the host where that lives, its invariants checked or not. All mutants of a thread share one memory.
 * @param watch looks at its machines at each step
 */
export function mutantHost(mutant: Mutant, check: boolean, watch?: Watch): MutantHost {
  memory ??= machineMemory('shadow');
  let machine: HostedMachine | undefined;
  const prepare = (made: HostedMachine): void => {
    machine = made;
  };
  const home = runHost(homeOf(mutant));
  const options = { ...home, mutant: mutant.name, check, prepare, ...(watch && { watch }) } as const;
  const step = (): number => (machine === undefined ? 0 : currentStep(machine));
  return { ...withLowLimits(umbraHost(options, memory)), step };
}

/** A guest in a loop of page faults, which L0 never ends, ends at the limit: on a mutant it can be lower than elsewhere. */
const withLowLimits = (host: ScenarioHost): ScenarioHost => ({
  ...host,
  run: (request) => host.run({ ...request, maxInstructions: request.maxInstructions / 20 }),
});
