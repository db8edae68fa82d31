import { InputError } from '../../arch/input-error.ts';
import { recognise } from '../../machine/loaders/recognise.ts';
import { Machine, type MachineStop } from '../../machine/machine.ts';
import { registerReport } from './register-report.ts';
import type { CreateMachine, MachineConfig, MachineStatistics, RunningMachine, Stop } from './session.ts';

const NO_STATISTICS: MachineStatistics = {
  exits: {},
  mmu: { shadowPages: 0, roots: 0, syncs: 0, faults: 0, roleChanges: 0 },
};

/** The machine without L0, as `umbra run` drives it. */
export const createBareMachine: CreateMachine = (config) => {
  const machine = new Machine({
    model: config.cpu,
    memoryBytes: config.memorySize,
    events: { serial: config.serial },
    serialFlowControl: heedsFlowControl(config.image),
  });
  loadInto(machine, config);
  return new BareMachine(machine);
};

/** Linux raises RTS before it reads; what comes earlier would be lost while it probes the port. Others may never raise it. */
export const heedsFlowControl = (image: Uint8Array): boolean => recognise(image) === 'bzimage';

/** Loads the image of a configuration. @throws InputError where the processor lacks what it needs */
export function loadInto(machine: Pick<Machine, 'load'>, config: MachineConfig): void {
  const loaded = machine.load({
    image: config.image,
    name: config.imageName,
    commandLine: config.commandLine,
    initrd: config.initrd,
    modules: config.modules,
    raw: config.raw,
  });
  if (loaded.needsLongMode && !(config.cpu.features as ReadonlySet<string>).has('lm')) {
    throw new InputError(
      `${config.imageName} is a 64-bit kernel, and ${config.cpu.name} has no long mode; take a 32-bit kernel.`,
    );
  }
}

class BareMachine implements RunningMachine {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  run(instructions: number): Stop {
    return asStop(this.#machine.run(instructions), () => registerReport(this.#machine.cpu));
  }
  stop(): void {
    this.#machine.stop();
  }
  get instructions(): number {
    return this.#machine.cpu.retired;
  }
  input(bytes: Uint8Array): void {
    this.#machine.devices.uart.receive(bytes);
  }
  statistics(): MachineStatistics {
    return NO_STATISTICS;
  }
}

/** What the machine says, in the words of `umbra run`. */
export function asStop(stop: MachineStop, report: () => string): Stop {
  if (stop.kind === 'limit') return { kind: 'budget' };
  if (stop.kind === 'triple-fault') return { kind: 'triple-fault', report: report() };
  return stop;
}
