import { parseCpuModel } from '../../arch/cpu-model-text.ts';
import { InputError } from '../../arch/input-error.ts';
import { lineTrace } from '../../inspect/trace-lines.ts';
import type { L0Paging } from '../../l0/guest-cpu.ts';
import { UnsupportedGuest, UnsupportedHost } from '../../l0/hypervisor.ts';
import { MmuStatistics } from '../../l0/statistics.ts';
import { Machine } from '../../machine/machine.ts';
import { HostedMachine } from '../../vmm/hosted-machine.ts';
import { LoadRefused } from '../../vmm/load-policy.ts';
import { heedsFlowControl, MachineRun } from './machine-run.ts';
import type { CreateMachine, MachineConfig, MachineStatistics } from './session.ts';

/** It has all that L0 can offer. */
const HOST_CPU = 'current-amd';

const NO_STATISTICS: MachineStatistics = {
  entries: 0,
  nxSwitches: 0,
  exits: {},
  mmu: { ...new MmuStatistics() },
};

/** The machine that `umbra run` was asked for: bare, or a VM of L0. */
export const createMachine: CreateMachine = (config) => {
  const { l0 } = config;
  if (l0 === 'none')
    return new MachineRun(
      new Machine({ ...optionsOf(config), model: config.cpu }),
      config,
      () => NO_STATISTICS,
    );
  const machine = makeHosted(config, l0);
  const { trace } = config;
  if (trace !== undefined) machine.vm.trace = lineTrace(trace, () => machine.clock.now);
  const { statistics } = machine;
  return new MachineRun(machine, config, () => ({
    entries: statistics.entries,
    nxSwitches: statistics.nxSwitches,
    exits: statistics.exitsByName(),
    mmu: { ...statistics.mmu },
  }));
};

const optionsOf = (config: MachineConfig) => ({
  memoryBytes: config.memorySize,
  events: { serial: config.serial },
  serialFlowControl: heedsFlowControl(config.image),
});

/** @throws InputError where L0 cannot run on the host's processor, or not offer the guest's on it */
function makeHosted(config: MachineConfig, l0: L0Paging): HostedMachine {
  const model = config.hostCpu ?? parseCpuModel(HOST_CPU);
  try {
    return new HostedMachine({
      ...optionsOf(config),
      l0,
      ...(config.host && { host: config.host }),
      ...(config.loadPolicy && { loadPolicy: config.loadPolicy }),
      model,
      guestModel: config.cpu,
      check: config.check,
    });
  } catch (error) {
    if (error instanceof UnsupportedGuest) throw new InputError(`--cpu ${config.cpu.name}: ${error.message}`);
    if (error instanceof UnsupportedHost) throw new InputError(`--host-cpu ${model.name}: ${error.message}`);
    if (error instanceof LoadRefused)
      throw new InputError(`--load-policy ${config.loadPolicy}: ${error.message}`);
    throw error;
  }
}
