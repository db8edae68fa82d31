import { InputError } from '../../arch/input-error.ts';
import { lineTrace } from '../../inspect/trace-lines.ts';
import { UnsupportedHost } from '../../l0/hypervisor.ts';
import { HostedMachine } from '../../vmm/hosted-machine.ts';
import { asStop, heedsFlowControl, loadInto } from './bare-machine.ts';
import { registerReport } from './register-report.ts';
import type { CreateMachine, MachineConfig, MachineStatistics, RunningMachine, Stop } from './session.ts';

/** A machine as a VM of L0, as `umbra run --l0 shadow` drives it. */
export const createHostedMachine: CreateMachine = (config) => {
  const machine = makeMachine(config);
  const { trace } = config;
  if (trace !== undefined) machine.vm.trace = lineTrace(trace, () => machine.clock.now);
  loadInto(machine, config);
  return new HostedRun(machine);
};

/** @throws InputError where L0 cannot run on the processor that was asked for */
function makeMachine(config: MachineConfig): HostedMachine {
  try {
    return new HostedMachine({
      model: config.cpu,
      memoryBytes: config.memorySize,
      events: { serial: config.serial },
      serialFlowControl: heedsFlowControl(config.image),
      check: config.check,
    });
  } catch (error) {
    if (error instanceof UnsupportedHost) throw new InputError(`--cpu ${config.cpu.name}: ${error.message}`);
    throw error;
  }
}

class HostedRun implements RunningMachine {
  readonly #machine: HostedMachine;

  constructor(machine: HostedMachine) {
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
    const { mmu } = this.#machine.statistics;
    return { exits: this.#machine.statistics.exitsByName(), mmu: { ...mmu } };
  }
}
