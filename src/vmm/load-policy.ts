import { EFER, MSR } from '../arch/registers.ts';
import { HostFault } from '../cpu/host/hardware.ts';
import type { KernelBuild } from '../guest/host-kernel/layout.ts';
import type { Hardware } from '../l0/hardware.ts';

const EXTENDED_LEAVES = 0x8000_0000;
const EXTENDED_FEATURES = 0x8000_0001;
const HIGHEST_EXTENDED = 0x8000_ffff;
const EDX_NX = 1 << 20;

/** What to think of a host whose processor has NX while its kernel has not turned it on. */
export const LOAD_POLICIES = ['reject', 'allow', 'require-pae'] as const;
/**
 * `reject`: refuse to load there, as KVM did for some weeks of 2021 (commit 8bbed95d2cb6). `allow`: load all the same, as it
 * has done since (f0414b078dd1). `require-pae`: not to be built for kernels without PAE at all, as was considered.
 */
export type LoadPolicy = (typeof LOAD_POLICIES)[number];

/** The load policy keeps L0 off this host. The message is what its user would see. */
export class LoadRefused extends Error {
  override readonly name = 'LoadRefused';
}

/** What a policy looks at. */
export interface LoadFacts {
  readonly kernel: Pick<KernelBuild, 'pae'>;
  /** CPUID 8000_0001h EDX bit 20, as the booted kernel sees it. */
  readonly hasNx: boolean;
  /** EFER.NXE. */
  readonly nxEnabled: boolean;
}

const REASONS: Readonly<Record<LoadPolicy, (facts: LoadFacts) => string | undefined>> = {
  reject: ({ hasNx, nxEnabled }) =>
    hasNx && !nxEnabled
      ? 'L0 does not load (input/output error): the processor supports NX, but EFER.NX is 0 on this host.'
      : undefined,
  allow: () => undefined,
  'require-pae': ({ kernel }) =>
    kernel.pae
      ? undefined
      : 'this kernel has no L0 to load: it is built without PAE, and L0 depends on X86_64 || X86_PAE.',
};

/** The sentence with which a policy keeps L0 from loading; undefined if it lets it. */
export const loadRefusal = (policy: LoadPolicy, facts: LoadFacts): string | undefined =>
  REASONS[policy](facts);

/** NX of a processor that has CPUID: what Linux's `boot_cpu_has` says, and EFER. */
export function nxOf(hardware: Pick<Hardware, 'cpuid' | 'rdmsr'>): Pick<LoadFacts, 'hasNx' | 'nxEnabled'> {
  // Leaves that a processor lacks may be answered with those of others.
  const highest = hardware.cpuid(EXTENDED_LEAVES, 0).eax;
  const extended = highest >= EXTENDED_FEATURES && highest <= HIGHEST_EXTENDED;
  const hasNx = extended && (hardware.cpuid(EXTENDED_FEATURES, 0).edx & EDX_NX) !== 0;
  return { hasNx, nxEnabled: (eferOf(hardware) & EFER.NXE) !== 0 };
}

/** As Linux reads it (`rdmsrl_safe`): 0 where there is none, which CPUID may hide. */
function eferOf(hardware: Pick<Hardware, 'rdmsr'>): number {
  try {
    return hardware.rdmsr(MSR.EFER).lo;
  } catch (error) {
    if (error instanceof HostFault) return 0;
    throw error;
  }
}
