import { gpa } from '../arch/address.ts';
import { parseCpuModel } from '../arch/cpu-model-text.ts';
import type { CpuModel } from '../arch/cpu-models.ts';
import { InputError } from '../arch/input-error.ts';
import { CpuMemory } from '../cpu/cpu-memory.ts';
import { AGENT_STATE } from '../guest/agent-core.ts';
import { agents } from '../guest/agents.ts';
import { Machine, type MachineStop } from '../machine/machine.ts';
import { GuestFailure, HostedMachine, hostMemory } from '../vmm/hosted-machine.ts';
import type { MachineEnd } from './judge.ts';
import { rulesOf } from './mutants/mutant.ts';
import { mutantNamed } from './mutants/mutants.ts';
import type { MachineRequest, ScenarioHost } from './run.ts';
import type { CpuFeature } from './scenario.ts';

/** The processor of every scenario, less what a scenario does without. */
const MODEL = 'current-amd';

export interface UmbraHostOptions {
  /** Bare: the L1 agent has the processor to itself. Shadow: it is L0's guest. */
  readonly l0: 'none' | 'shadow';
  /** L0 checks its invariants after every operation. */
  readonly check?: boolean;
  /** Called under L0 whenever the guest comes to another step: its number (`stepNumber`), and the machine as it is then. */
  readonly watch?: Watch;
  /** Called under L0 with each machine, its image loaded, before it runs. */
  readonly prepare?: (machine: HostedMachine) => void;
  /** L0 is this mutant of itself. */
  readonly mutant?: string;
}

type Watch = (step: number, machine: HostedMachine) => void;

/** Memory that hosts of one kind can share, if they take turns. */
export const machineMemory = (l0: UmbraHostOptions['l0']): ReusedMemory =>
  new ReusedMemory(l0 === 'none' ? (bytes) => new CpuMemory(bytes) : hostMemory);

/**
 * Umbra as a host of scenarios.
 * @param memory for its machines; its own unless given
 */
export function umbraHost(options: UmbraHostOptions, memory = machineMemory(options.l0)): ScenarioHost {
  const { maxPhysicalAddressBits, asidCount } = parseCpuModel(MODEL);
  return {
    name: options.l0 === 'none' ? 'Umbra, bare' : 'Umbra, L0 with a shadow MMU',
    asids: asidCount,
    // On the bare machine there is no host below L1 whose pages could be behind its own: every move has been made.
    abilities: options.l0 === 'none' ? ['move memory'] : ['move memory', 'remove memory'],
    processor: { maxPhyAddr: maxPhysicalAddressBits, pdptes: 'registers' },
    run: (request) =>
      options.l0 === 'none' ? runBare(request, memory) : runHosted(request, memory, options),
  };
}

function modelFor(request: MachineRequest): CpuModel {
  const model = parseCpuModel([MODEL, ...request.absent.map((feature) => `-${feature}`)].join(','));
  const missing = request.features.filter((feature: CpuFeature) => !model.features.has(feature));
  if (missing.length > 0)
    throw new InputError(`The scenario needs ${missing.join(', ')}, which ${model.name} lacks.`);
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

function runBare(request: MachineRequest, memory: ReusedMemory): MachineEnd {
  const machine = new Machine({
    model: modelFor(request),
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
  const { check, mutant } = options;
  const machine = new HostedMachine({
    // L0 needs features of its host, NX above all, that a scenario takes away from the guest.
    model: parseCpuModel(MODEL),
    guestModel: modelFor(request),
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

/** Runs a machine, looking all the time how far its agents are in their script. */
function runWatched(machine: HostedMachine, limit: number, watch: Watch): MachineStop {
  const word = (address: number): number =>
    new DataView(machine.read(gpa(address), 4).buffer).getUint32(0, true);
  const pointer = agents().at(AGENT_STATE.SCRIPT);
  let at = 0;
  for (let left = limit; ; left -= WATCHED_SLICE) {
    const stop = machine.run(WATCHED_SLICE);
    if (stop.kind !== 'limit' || left <= WATCHED_SLICE) return stop;
    const step = word(word(pointer) + 4);
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
