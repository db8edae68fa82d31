/**
 * Umbra as a library: everything the commands do. Nothing here needs Node.
 *
 * A machine: `new Machine({ model: parseCpuModel('pentium4'), memoryBytes: 256 << 20 })`, then `load` and `run`. A VM of
 * L0: `HostedMachine`, with the same methods. The grid:
 * `resultOf(runGrid(onHosts(umbraHosts()), gridParts(1)))`.
 */
export * from './arch/address.ts';
export { parseCpuModel } from './arch/cpu-model-text.ts';
export { CPU_MODEL_NAMES, type CpuModel } from './arch/cpu-models.ts';
export { cpuid } from './arch/cpuid.ts';
export { InputError } from './arch/input-error.ts';
export { PC_MEMORY } from './arch/memory-size.ts';
export { Cpu, type CpuOptions } from './cpu/cpu.ts';
export { type Execute, type Judged, onHost, onHosts, type Task } from './grid/execute.ts';
export { resultOf } from './grid/result-of.ts';
export { runScenario, type ScenarioHost } from './grid/run.ts';
export { gridParts, type PartVerdict, runGrid } from './grid/run-grid.ts';
export { GRID_HOST_NAMES, RUN_HOST_NAMES, type RunHost, type RunHostName } from './grid/run-host.ts';
export type { Scenario } from './grid/scenario.ts';
export { umbraHost, umbraHosts } from './grid/umbra-host.ts';
export { Assembler } from './guest/assembler.ts';
export { lineTrace } from './inspect/trace-lines.ts';
export type { L0Paging } from './l0/guest-cpu.ts';
export type { Hardware } from './l0/hardware.ts';
export { Hypervisor, UnsupportedGuest, UnsupportedHost } from './l0/hypervisor.ts';
export type { TraceSink } from './l0/trace.ts';
export { Clock } from './machine/clock.ts';
export { createPcDevices } from './machine/devices/pc.ts';
export { recognise } from './machine/loaders/recognise.ts';
export { Machine, type MachineEvents, type MachineOptions, type MachineStop } from './machine/machine.ts';
export type { ImageOptions } from './machine/pc-image.ts';
export { oracleCpu } from './oracle/cpu.ts';
export { SparseMemory } from './oracle/memory.ts';
export { translate as oracleTranslate } from './oracle/translate.ts';
export {
  GuestFailure,
  HOSTED_MEMORY,
  HostedMachine,
  type HostedMachineOptions,
} from './vmm/hosted-machine.ts';
