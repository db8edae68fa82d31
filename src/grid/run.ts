import { InputError } from '../arch/input-error.ts';
import { AGENT_EXIT } from '../guest/agent-layout.ts';
import { type CompiledScenario, compileScenario } from './compile.ts';
import { judgeScenario, logBytes, type MachineEnd, type ScenarioVerdict } from './judge.ts';
import { SCENARIO_MEMORY } from './placement.ts';
import { type CpuFeature, type HostAbility, highestAsid, hostNeeds, type Scenario } from './scenario.ts';
import type { ProcessorFacts } from './step-expectation.ts';

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
  /** ASIDs of its processor, 0 included. */
  readonly asids: number;
  /** What it can do to the memory below L1; scenarios that ask more are skipped. */
  readonly abilities?: readonly HostAbility[];
  /** Features that a scenario needs and the guest's processor cannot have here; such a scenario is skipped. */
  readonly lacking?: (request: Pick<MachineRequest, 'features' | 'absent'>) => readonly CpuFeature[];
  run(request: MachineRequest): MachineEnd;
}

/** A step takes a few hundred instructions at most, under L0 a few thousand host instructions that do not count here. */
const INSTRUCTIONS_PER_STEP = 20_000;
const INSTRUCTIONS_TO_BOOT = 1_000_000;

/** A log that was judged, on which processor, and the verdict. */
interface JudgedLog {
  readonly processor: string;
  readonly log: Uint8Array;
  readonly verdict: ScenarioVerdict;
}

/**
 * A scenario to run on one host after another. Judging takes much longer than running: where a host leaves the same log as
 * one before it, the verdict is the same.
 */
export class ScenarioRun {
  readonly #scenario: Scenario;
  #compiled: CompiledScenario | undefined;
  readonly #judged: JudgedLog[] = [];

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
  }

  /**
   * Runs it on a host and judges what came of it. A scenario that asks of the host what it cannot do is skipped. Throws an
   * InputError if the host has no SVM.
   */
  on(host: ScenarioHost): ScenarioVerdict {
    const skipped = whySkipped(this.#scenario, host);
    if (skipped !== undefined) return { probes: 0, switches: 0, mismatches: [], skipped };
    const compiled = (this.#compiled ??= compileScenario(this.#scenario));
    const { end, processor } = runCompiled(compiled, host);
    if (end.exitCode !== AGENT_EXIT.DONE) return judgeScenario(compiled, end, processor);
    const facts = JSON.stringify(processor);
    const log = logBytes(end);
    const known = this.#judged.find((one) => one.processor === facts && sameBytes(one.log, log));
    if (known !== undefined) return known.verdict;
    const verdict = judgeScenario(compiled, end, processor);
    this.#judged.push({ processor: facts, log, verdict });
    return verdict;
  }
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, index) => byte === b[index]);

/** Runs a scenario on one host and judges it; see `ScenarioRun`. */
export const runScenario = (scenario: Scenario, host: ScenarioHost): ScenarioVerdict =>
  new ScenarioRun(scenario).on(host);

/**
 * Runs a compiled scenario on a host: how it ended, and what the oracle has to know of the processor. Throws an InputError
 * if the host has no SVM.
 */
export function runCompiled(
  compiled: CompiledScenario,
  host: ScenarioHost,
): { readonly end: MachineEnd; readonly processor: ProcessorFacts } {
  const { scenario } = compiled;
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
  return { end, processor: withoutFeatures(host.processor, scenario.absent ?? []) };
}

/** Why a host cannot run a scenario, as a clause; undefined if it can. */
export function whySkipped(
  scenario: Scenario,
  { name, asids, abilities = [], lacking = () => [] }: ScenarioHost,
): string | undefined {
  const { features, absent = [] } = scenario;
  const unavailable = lacking({ features, absent });
  if (unavailable.length > 0) return `${name} does not offer ${unavailable.join(', ')}`;
  const asid = highestAsid(scenario);
  if (asid >= asids) return `${name} has the ASIDs 0 to ${asids - 1}, and the scenario uses ${asid}`;
  const missing = hostNeeds(scenario).filter((need) => !abilities.includes(need));
  return missing.length === 0 ? undefined : `${name} cannot ${missing.join(' and ')}`;
}

/** The processor without some features, for the oracle. */
export function withoutFeatures(processor: ProcessorFacts, absent: readonly CpuFeature[]): ProcessorFacts {
  const missing = Object.fromEntries(absent.map((feature) => [feature, false]));
  return { ...processor, features: { ...processor.features, ...missing } };
}
