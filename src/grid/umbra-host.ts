import { gpa } from '../arch/address.ts';
import { parseCpuModel } from '../arch/cpu-model-text.ts';
import type { CpuModel } from '../arch/cpu-models.ts';
import { InputError } from '../arch/input-error.ts';
import { CpuMemory } from '../cpu/cpu-memory.ts';
import { AGENT_STATE } from '../guest/agent-core.ts';
import { agents } from '../guest/agents.ts';
import { offeredModel } from '../l0/guest-cpu.ts';
import { Machine, type MachineStop } from '../machine/machine.ts';
import { GuestFailure, HostedMachine, hostMemory } from '../vmm/hosted-machine.ts';
import type { MachineEnd } from './judge.ts';
import { rulesOf } from './mutants/mutant.ts';
import { mutantNamed } from './mutants/mutants.ts';
import type { MachineRequest, ScenarioHost } from './run.ts';
import { hostText, type RunHost, type RunHostName, runHost } from './run-host.ts';
import type { CpuFeature } from './scenario.ts';

/** The processor of every scenario, less what a scenario does without. */
export const SCENARIO_CPU = 'current-amd';

export interface UmbraHostOptions extends RunHost {
  /** L0 checks its invariants after every operation. */
  readonly check?: boolean;
  readonly watch?: Watch;
  /** Called under L0 with each machine, its image loaded, before it runs. */
  readonly prepare?: (machine: HostedMachine) => void;
  /** L0 is this mutant of itself. */
  readonly mutant?: string;
}

/**
 * Called under L0 whenever the guest comes to another step, with its number (`stepNumber`), and when the machine has
 * stopped; the machine is as it is then.
 */
export type Watch = (step: number | 'end', machine: HostedMachine) => void;

/** Umbra on each of its hosts, made as they are asked for. They take turns: those under L0 share their memory. */
export function umbraHosts(
  options: Omit<UmbraHostOptions, keyof RunHost> = {},
): (on: RunHostName) => ScenarioHost {
  const hosts = new Map<RunHostName, ScenarioHost>();
  let underL0: ReusedMemory | undefined;
  return (on) => {
    const known = hosts.get(on);
    if (known !== undefined) return known;
    const { l0 } = runHost(on);
    const memory = l0 === 'none' ? machineMemory('none') : (underL0 ??= machineMemory(l0));
    const host = umbraHost({ ...runHost(on), ...options }, memory);
    hosts.set(on, host);
    return host;
  };
}

/** Memory that hosts can share, if they take turns: bare ones among themselves, and those under L0. */
export const machineMemory = (l0: UmbraHostOptions['l0']): ReusedMemory =>
  new ReusedMemory(l0 === 'none' ? (bytes) => new CpuMemory(bytes) : hostMemory);

/**
 * Umbra as a host of scenarios.
 * @param memory for its machines; its own unless given
 */
export function umbraHost(options: UmbraHostOptions, memory = machineMemory(options.l0)): ScenarioHost {
  const { maxPhysicalAddressBits, asidCount } = parseCpuModel(SCENARIO_CPU);
  return {
    name: nameOf(options),
    lacking: ({ features, absent }) => {
      const model = guestModel({ features, absent }, options);
      return features.filter((feature) => !model.features.has(feature));
    },
    asids: asidCount,
    // On the bare machine there is no host below L1 whose pages could be behind its own: every move has been made.
    abilities: options.l0 === 'none' ? ['move memory'] : ['move memory', 'remove memory'],
    // Below nested tables the processor reads a guest's PDPTEs on use (APM vol. 2 15.25.10).
    processor: {
      maxPhyAddr: maxPhysicalAddressBits,
      pdptes: options.l0 === 'npt' ? 'memory, checked by VMRUN' : 'registers',
    },
    run: (request) =>
      options.l0 === 'none' ? runBare(request, memory, options) : runHosted(request, memory, options),
  };
}

const nameOf = (options: UmbraHostOptions): string =>
  options.l0 === 'none' ? 'Umbra, bare' : `Umbra, ${hostText(options)}`;

/**
 * The guest's processor. A scenario that does not need nested paging gets none: L0 can then offer more of the rest where its
 * own nested tables cannot express all.
 */
function guestModel(
  { features, absent }: Pick<MachineRequest, 'features' | 'absent'>,
  { l0, host = 'pae' }: UmbraHostOptions,
): CpuModel {
  const without = new Set<CpuFeature>(features.includes('npt') ? absent : [...absent, 'npt']);
  const model = parseCpuModel([SCENARIO_CPU, ...[...without].map((feature) => `-${feature}`)].join(','));
  if (l0 === 'none') return model;
  return offeredModel(model, { paging: l0, nestedNx: l0 === 'npt' && host === 'pae' });
}

function modelFor(request: MachineRequest, options: UmbraHostOptions): CpuModel {
  const model = guestModel(request, options);
  const missing = request.features.filter((feature) => !model.features.has(feature));
  if (missing.length > 0)
    throw new InputError(
      `The scenario needs ${missing.join(', ')}, which ${nameOf(options)} does not offer.`,
    );
  return model;
}

/** One memory for every run: making it takes longer than most scenarios. */
export class ReusedMemory {
  readonly #make: (bytes: number) => CpuMemory;
  #memory: CpuMemory | undefined;
  #bytes = 0;
  #runs = 0;

  /** @param make memory for a machine with so many bytes of RAM */
  constructor(make: (bytes: number) => CpuMemory) {
    this.#make = make;
  }

  /** Memory for the next run. */
  take(bytes: number): CpuMemory {
    if (this.#memory === undefined || this.#bytes !== bytes) this.#memory = this.#make(bytes);
    this.#bytes = bytes;
    this.#runs += 1;
    return this.#memory;
  }

  /** Reads what the present run left; once the next has begun there is nothing to read any more. */
  readingOf(read: MachineEnd['read']): MachineEnd['read'] {
    const run = this.#runs;
    return (address, length) => {
      if (run !== this.#runs) throw new Error('this machine is gone: its memory serves the next scenario');
      return read(address, length);
    };
  }
}

function runBare(request: MachineRequest, memory: ReusedMemory, options: UmbraHostOptions): MachineEnd {
  const machine = new Machine({
    model: modelFor(request, options),
    memoryBytes: request.memory,
    memory: memory.take(request.memory),
  });
  machine.load({ image: request.image });
  const stop = machine.run(request.maxInstructions);
  return {
    ...endOf(stop),
    instructions: machine.cpu.retired,
    read: memory.readingOf((address, length) => machine.cpu.physical.u8.slice(address, address + length)),
  };
}

function runHosted(request: MachineRequest, memory: ReusedMemory, options: UmbraHostOptions): MachineEnd {
  const { check, mutant, l0, host } = options;
  const machine = new HostedMachine({
    // L0 needs features of its host, NX above all, that a scenario takes away from the guest.
    model: parseCpuModel(SCENARIO_CPU),
    guestModel: modelFor(request, options),
    l0: l0 === 'npt' ? 'npt' : 'shadow',
    ...(host !== undefined && { host }),
    memoryBytes: request.memory,
    memory: memory.take(request.memory),
    check: check === true,
    ...(mutant !== undefined && { rules: rulesOf(mutantNamed(mutant)) }),
  });
  machine.load({ image: request.image });
  options.prepare?.(machine);
  const started = machine.cpu.retired;
  let end: Pick<MachineEnd, 'exitCode' | 'reason'>;
  try {
    const { watch } = options;
    const limit = request.maxInstructions;
    end = endOf(watch === undefined ? machine.run(limit) : runWatched(machine, limit, watch));
  } catch (error) {
    if (!(error instanceof GuestFailure)) throw error;
    end = { exitCode: undefined, reason: error.message };
  }
  return {
    ...end,
    instructions: machine.cpu.retired - started,
    read: memory.readingOf((address, length) => machine.read(gpa(address), length)),
  };
}

/** Fewer instructions than from the begin of a step to where it leaves its level. */
const WATCHED_SLICE = 4;

/** Number of the step that a machine's agents are at; 0 before the first. */
export function currentStep(machine: HostedMachine): number {
  const word = (address: number): number =>
    new DataView(machine.read(gpa(address), 4).buffer).getUint32(0, true);
  const operation = word(agents().at(AGENT_STATE.SCRIPT));
  return operation === 0 ? 0 : word(operation + 4);
}

/** Runs a machine, looking all the time how far its agents are in their script. */
function runWatched(machine: HostedMachine, limit: number, watch: Watch): MachineStop {
  let at = 0;
  for (let left = limit; ; left -= WATCHED_SLICE) {
    const stop = machine.run(WATCHED_SLICE);
    if (stop.kind !== 'limit' || left <= WATCHED_SLICE) {
      watch('end', machine);
      return stop;
    }
    const step = currentStep(machine);
    if (step !== at) watch(step, machine);
    at = step;
  }
}

function endOf(stop: MachineStop): Pick<MachineEnd, 'exitCode' | 'reason'> {
  if (stop.kind === 'debug-exit') {
    return { exitCode: stop.value, reason: `it wrote ${stop.value} to the debug exit port` };
  }
  const reasons: Readonly<Record<Exclude<MachineStop['kind'], 'debug-exit'>, string>> = {
    limit: 'its instructions were used up',
    halted: 'it halted and nothing woke it',
    dead: 'it halted with interrupts off',
    'power-off': 'it powered off',
    reset: 'it reset the machine',
    'triple-fault': 'it ended in a triple fault',
  };
  return { exitCode: undefined, reason: reasons[stop.kind] };
}
