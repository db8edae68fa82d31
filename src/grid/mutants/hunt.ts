import { InputError } from '../../arch/input-error.ts';
import { InvariantBroken } from '../../l0/check.ts';
import type { HostedMachine } from '../../vmm/hosted-machine.ts';
import { directedScenarios } from '../directed/directed.ts';
import { matrix } from '../matrix/matrix.ts';
import { runScenario, type ScenarioHost } from '../run.ts';
import { type RunHostName, runHost } from '../run-host.ts';
import type { Scenario } from '../scenario.ts';
import { firstNames } from '../select.ts';
import { currentStep, machineMemory, umbraHost, type Watch } from '../umbra-host.ts';
import { type HostWithL0, homeOf, type Mutant } from './mutant.ts';
import { mutantNamed } from './mutants.ts';

/** What the grid found of a mutant. */
export type Finding =
  | {
      readonly caught: 'by a probe' | 'by --check';
      readonly scenario: string;
      /** The step that went wrong, from 1; absent where it was none of them. */
      readonly step?: number;
      readonly story: string;
    }
  | { readonly caught: 'never' }
  /** Nothing was run, and why. */
  | { readonly caught: 'not run'; readonly why: string };

/** Where a mutant is hunted and with what. */
export interface HuntChoice {
  /** The host; the one where the mutant lives unless given. */
  readonly on?: HostWithL0;
  /** Scenarios that can be compiled; those of the grid unless given. */
  readonly scenarios?: readonly Scenario[];
}

/** A hunt to be done: plain data, as it travels between threads. */
export interface HuntRequest extends HuntChoice {
  readonly mutant: string;
}

/** A mutant, what was found of it, and how much it took. */
export interface HuntVerdict {
  readonly mutant: string;
  /** Where it was hunted. */
  readonly on: HostWithL0;
  readonly finding: Finding;
  /** Scenarios run. */
  readonly scenarios: number;
  /**
   * As its entry says: caught, and no worse than that; or, where it is proved to be no bug, not caught. Of hosts where it does
   * not live the entry says nothing.
   */
  readonly asExpected: boolean;
}

/** Of the matrix, this many scenarios apart are run on mutants that no guest is expected to see. */
const MATRIX_STRIDE = 12;

/**
 * The host among some on which to hunt a mutant: where it lives, else one whose L0 has the same paging. Another one if there is
 * none: a hunt there says that it has no meaning.
 */
export function huntingGround(mutant: Mutant, hosts: readonly HostWithL0[]): HostWithL0 {
  const home = homeOf(mutant);
  return hosts.find((on) => on === home) ?? hosts.find((on) => samePaging(on, home)) ?? hosts[0];
}

const samePaging = (one: RunHostName, other: RunHostName): boolean => runHost(one).l0 === runHost(other).l0;

/**
 * Runs scenarios on a mutant, of the grid the one that should catch it first, and stops at the first that does. Whether a guest
 * can see it is asked before `--check` is.
 */
export function hunt(
  mutant: Mutant,
  { on = homeOf(mutant), scenarios: chosen }: HuntChoice = {},
): HuntVerdict {
  const { name } = mutant;
  const home = homeOf(mutant);
  if (!samePaging(on, home)) {
    const finding: Finding = { caught: 'not run', why: `it lives on ${home}` };
    return { mutant: name, on, finding, scenarios: 0, asExpected: true };
  }
  const { visible, checked } = chosen ? { visible: chosen, checked: chosen } : scenariosFor(mutant);
  let scenarios = 0;
  let skip: string | undefined;
  const search = (list: readonly Scenario[], check: boolean): Finding => {
    const host = mutantHost(mutant, check, { on });
    for (const scenario of list) {
      const finding = catchWith(scenario, host);
      if (finding.caught === 'not run') skip = `${scenario.name}: ${finding.why}`;
      else scenarios += 1;
      if (finding.caught !== 'never' && finding.caught !== 'not run') return finding;
    }
    return { caught: 'never' };
  };
  let finding = search(visible, false);
  if (finding.caught === 'never') finding = search(checked, true);
  if (scenarios === 0) finding = { caught: 'not run', why: skip ?? 'there is no scenario' };
  return { mutant: name, on, finding, scenarios, asExpected: isExpected(mutant, on, finding, chosen) };
}

/** Does a hunt. Throws an InputError for a name that no mutant has. */
export const huntFor = ({ mutant, ...choice }: HuntRequest): HuntVerdict => hunt(mutantNamed(mutant), choice);

/**
 * Runs one scenario on a mutant: the one that the request has, else the one that catches it. L0's invariants are checked where
 * only that catches it. Throws an InputError where there is no such scenario, or more than one.
 * @param prepare called with its machine before it starts
 */
export function huntOnce(request: HuntRequest, prepare: MutantSetup['prepare'] & {}): HuntVerdict {
  const mutant = mutantNamed(request.mutant);
  const { on = homeOf(mutant), scenarios: chosen } = request;
  const { name, fate } = mutant;
  if (fate.caught === 'never' && chosen === undefined)
    throw new InputError(`No scenario catches ${name}, which is no bug; name one with --only.`);
  const [scenario, ...others] = chosen ?? scenariosFor(mutant).checked.slice(0, 1);
  if (others.length > 0) {
    const names = firstNames([scenario, ...others].map((one) => one.name));
    throw new InputError(`--trace is of one scenario, and these are ${names}; name one.`);
  }
  if (!samePaging(on, homeOf(mutant))) return hunt(mutant, request);
  const finding = catchWith(scenario, mutantHost(mutant, fate.caught === 'by --check', { on, prepare }));
  const scenarios = finding.caught === 'not run' ? 0 : 1;
  return { mutant: name, on, finding, scenarios, asExpected: isExpected(mutant, on, finding, chosen) };
}

/** Scenarios of the grid for a mutant: those to find it by a probe, then those to find it by `--check`. */
function scenariosFor(mutant: Mutant): { visible: readonly Scenario[]; checked: readonly Scenario[] } {
  const { fate } = mutant;
  const expected = fate.caught === 'never' ? undefined : fate.scenario;
  const directed = directedScenarios();
  const first = directed.filter((scenario) => scenario.name === expected);
  const others = directed.filter((scenario) => scenario.name !== expected);
  const way = runHost(homeOf(mutant)).l0 === 'npt' ? 'npt' : 'shadow';
  // Where L0 has no nested paging to offer there is nothing to be seen of it.
  const cells = [
    ...matrix().filter((cell) => cell.way === way),
    ...(way === 'npt' ? matrix().filter((cell) => cell.way !== way) : []),
  ];
  const all = cells.flatMap((cell) => cell.scenarios);
  const some = all.filter((_, index) => index % MATRIX_STRIDE === 0);
  const checked = [...first, ...others];
  return { visible: [...checked, ...(fate.caught === 'by a probe' ? all : some)], checked };
}

/** Whether a finding is what the mutant's entry says, as far as it says anything of that host and those scenarios. */
function isExpected(
  mutant: Mutant,
  on: HostWithL0,
  { caught }: Finding,
  chosen: readonly Scenario[] | undefined,
): boolean {
  const { fate } = mutant;
  if (caught === 'not run' || caught === fate.caught || on !== homeOf(mutant)) return true;
  return chosen !== undefined && caught === 'by --check' && fate.caught === 'by a probe';
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
    const { mismatches, skipped } = runScenario(scenario, host);
    if (skipped !== undefined) return { caught: 'not run', why: skipped };
    const [mismatch] = mismatches;
    return mismatch === undefined ? { caught: 'never' } : found('by a probe', mismatch.text, mismatch.index);
  } catch (error) {
    if (error instanceof InvariantBroken) return found('by --check', error.message);
    const message = error instanceof Error ? error.message : String(error);
    return found('by a probe', `Scenario ${scenario.name}: L0 came to harm: ${message}`);
  }
}

let memory: ReturnType<typeof machineMemory> | undefined;

/** How a mutant runs. */
export interface MutantSetup {
  /** The host; the one where the mutant lives unless given. */
  readonly on?: HostWithL0;
  /** Looks at its machines at each step. */
  readonly watch?: Watch;
  /** Called with each machine before it starts. */
  readonly prepare?: (machine: HostedMachine) => void;
}

/** L0 as a mutant of itself, its invariants checked or not. All mutants of a thread share one memory. */
export function mutantHost(
  mutant: Mutant,
  check: boolean,
  { on = homeOf(mutant), watch, prepare: prepared }: MutantSetup = {},
): MutantHost {
  memory ??= machineMemory('shadow');
  let machine: HostedMachine | undefined;
  const prepare = (made: HostedMachine): void => {
    machine = made;
    prepared?.(made);
  };
  const options = { ...runHost(on), mutant: mutant.name, check, prepare, ...(watch && { watch }) } as const;
  const step = (): number => (machine === undefined ? 0 : currentStep(machine));
  return { ...withLowLimits(umbraHost(options, memory)), step };
}

/** A guest in a loop of page faults, which L0 never ends, ends at the limit: on a mutant it can be lower than elsewhere. */
const withLowLimits = (host: ScenarioHost): ScenarioHost => ({
  ...host,
  run: (request) => host.run({ ...request, maxInstructions: request.maxInstructions / 20 }),
});
