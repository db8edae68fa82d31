import { hpa } from '../arch/address.ts';
import type { CpuModel } from '../arch/cpu-models.ts';
import { CR4, EFER } from '../arch/registers.ts';
import { Cpu } from '../cpu/cpu.ts';
import { CpuMemory } from '../cpu/cpu-memory.ts';
import { Emulator } from '../cpu/emulator/emulator.ts';
import { CpuHardware } from '../cpu/host/hardware.ts';
import {
  HOST_KERNEL_PLACE,
  KERNEL_BUILD_NAMES,
  KERNEL_BUILDS,
  type KernelBuildName,
} from '../guest/host-kernel/layout.ts';
import { Hypervisor, UnsupportedHost } from '../l0/hypervisor.ts';
import { Clock } from '../machine/clock.ts';
import { type BootEnd, bootKernel, bootSecond } from './kernel-boot.ts';
import { type LoadFacts, type LoadPolicy, loadRefusal, nxOf } from './load-policy.ts';
import { type SurveyCpu, surveyCpus } from './survey-cpus.ts';

/** What became of one kernel on one processor: all from executed code. */
export interface HostRow {
  readonly cpu: string;
  readonly about: string;
  readonly kernel: KernelBuildName;
  readonly boot: BootEnd;
  /** A second processor of the same kind; absent without APIC, or where the first did not boot. */
  readonly second?: BootEnd;
  /** Of the first processor, when it waits or died. */
  readonly cr4: number;
  readonly pae: boolean;
  readonly nxe: boolean;
  /** The sentence with which each policy refuses to load; null if it loads. Absent where the kernel did not boot. */
  readonly policies?: Readonly<Record<LoadPolicy, string | null>>;
  /** Why L0 cannot shadow guests there, whatever the policy; null if it can. Absent where the kernel did not boot. */
  readonly l0?: string | null;
}

const MEMORY = 0x80_0000;

/** Boots every kernel on every processor, in this order. The rows of a processor stand together. */
export function surveyHosts(cpus: readonly SurveyCpu[] = surveyCpus()): HostRow[] {
  const memories = { first: new CpuMemory(MEMORY), second: new CpuMemory(MEMORY) };
  return cpus.flatMap((cpu) => KERNEL_BUILD_NAMES.map((kernel) => surveyHost(cpu, kernel, memories)));
}

/** Why a load policy keeps L0 off a kernel on a processor; undefined if it does not, or the kernel does not even boot. */
export function loadRefusalOn(
  model: CpuModel,
  kernel: KernelBuildName,
  policy: LoadPolicy,
): string | undefined {
  const memories = { first: new CpuMemory(MEMORY), second: new CpuMemory(MEMORY) };
  const row = surveyHost({ name: model.name, about: '', model }, kernel, memories);
  return row.policies?.[policy] ?? undefined;
}

interface Memories {
  readonly first: CpuMemory;
  readonly second: CpuMemory;
}

function surveyHost(described: SurveyCpu, kernel: KernelBuildName, memories: Memories): HostRow {
  const { name, about } = described;
  const cpu = processor(described, memories.first);
  const boot = bootKernel(cpu, kernel);
  const { cr4, efer } = cpu.state;
  const row = {
    cpu: name,
    about,
    kernel,
    boot,
    cr4,
    pae: (cr4 & CR4.PAE) !== 0,
    nxe: (efer & EFER.NXE) !== 0,
  };
  if (boot.kind !== 'booted') return row;
  const second = cpu.hasFeature('apic')
    ? { second: bootSecond(processor(described, memories.second), kernel, cpu) }
    : {};
  return { ...row, ...second, ...(boot.hasCpuid ? askL0(cpu, kernel) : askWithoutCpuid(kernel)) };
}

function processor({ model, prepare }: SurveyCpu, memory: CpuMemory): Cpu {
  const cpu = new Cpu({ model, ramBytes: MEMORY, memory });
  prepare?.(cpu);
  return cpu;
}

/** What each policy says, and then L0 itself. */
function askL0(cpu: Cpu, kernel: KernelBuildName): Pick<HostRow, 'policies' | 'l0'> {
  const clock = new Clock(
    () => cpu.instructionNow,
    () => cpu.endSlice(),
  );
  const hardware = new CpuHardware(cpu, clock, new Emulator(cpu));
  return { policies: policiesOn(kernel, nxOf(hardware)), l0: refusalOf(hardware) };
}

const askWithoutCpuid = (kernel: KernelBuildName): Pick<HostRow, 'policies' | 'l0'> => ({
  policies: policiesOn(kernel, { hasNx: false, nxEnabled: false }),
  l0: 'L0 needs a processor with SVM, and this one has no CPUID instruction.',
});

function policiesOn(
  kernel: KernelBuildName,
  nx: Omit<LoadFacts, 'kernel'>,
): Readonly<Record<LoadPolicy, string | null>> {
  const facts = { kernel: KERNEL_BUILDS[kernel], ...nx };
  const ask = (policy: LoadPolicy): string | null => loadRefusal(policy, facts) ?? null;
  return { reject: ask('reject'), allow: ask('allow'), 'require-pae': ask('require-pae') };
}

function refusalOf(hardware: CpuHardware<Emulator>): string | null {
  try {
    const base = HOST_KERNEL_PLACE.END;
    new Hypervisor(hardware, { base: hpa(base), size: MEMORY - base });
    return null;
  } catch (error) {
    if (error instanceof UnsupportedHost) return error.message;
    throw error;
  }
}
