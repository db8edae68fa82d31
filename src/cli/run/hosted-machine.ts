import { lineTrace } from '../../inspect/trace-lines.ts';
import { HostedMachine } from '../../vmm/hosted-machine.ts';
import { asStop, loadInto } from './bare-machine.ts';
import { registerReport } from './register-report.ts';
import type { CreateMachine, MachineStatistics, RunningMachine, Stop } from './session.ts';

/** A machine as a VM of L0, as `umbra run --l0 shadow` drives it. */
export const createHostedMachine: CreateMachine = (config) => {
  const machine = new HostedMachine({
    model: config.cpu,
    memoryBytes: config.memorySize,
    events: { serial: config.serial },
    check: config.check,
  });
  const { trace } = config;
  if (trace !== undefined) machine.vm.trace = lineTrace(trace, () => machine.clock.now);
  loadInto(machine, config);
  return new HostedRun(machine);
};

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
