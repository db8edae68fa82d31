import { InputError } from '../../arch/input-error.ts';
import { lineTrace } from '../../inspect/trace-lines.ts';
import { UnsupportedHost } from '../../l0/hypervisor.ts';
import { Machine } from '../../machine/machine.ts';
import { HostedMachine } from '../../vmm/hosted-machine.ts';
import { heedsFlowControl, MachineRun } from './machine-run.ts';
import type { CreateMachine, MachineConfig, MachineStatistics } from './session.ts';

const NO_STATISTICS: MachineStatistics = {
  exits: {},
  mmu: { shadowPages: 0, roots: 0, syncs: 0, faults: 0, roleChanges: 0 },
};

/** The machine that `umbra run` was asked for: bare, or a VM of L0. */
export const createMachine: CreateMachine = (config) => {
  if (config.l0 === 'none')
    return new MachineRun(new Machine(optionsOf(config)), config, () => NO_STATISTICS);
  const machine = makeHosted(config);
  const { trace } = config;
  if (trace !== undefined) machine.vm.trace = lineTrace(trace, () => machine.clock.now);
  const { statistics } = machine;
  return new MachineRun(machine, config, () => ({
    exits: statistics.exitsByName(),
    mmu: { ...statistics.mmu },
  }));
};

const optionsOf = (config: MachineConfig) => ({
  model: config.cpu,
  memoryBytes: config.memorySize,
  events: { serial: config.serial },
  serialFlowControl: heedsFlowControl(config.image),
});

/** @throws InputError where L0 cannot run on the processor that was asked for */
function makeHosted(config: MachineConfig): HostedMachine {
  try {
    return new HostedMachine({ ...optionsOf(config), check: config.check });
  } catch (error) {
    if (error instanceof UnsupportedHost) throw new InputError(`--cpu ${config.cpu.name}: ${error.message}`);
    throw error;
  }
}
