/**
 * Why `Vcpu.run` returned to user space. Port and MMIO accesses are not among the reasons, other than in KVM: the VM's
 * devices are called at once, through its port space and MMIO bus.
 */
export type VcpuExit =
  /** `kick` was called: a budget is used up, or somebody wants to look. */
  | { readonly reason: 'kicked' }
  /** The guest halted and no timer is armed that could ever wake it. */
  | { readonly reason: 'halted' }
  /** Triple fault, or another shutdown that nobody intercepts (APM vol. 2 15.14.3). */
  | { readonly reason: 'shutdown' }
  /** L0 cannot go on with this guest; the message says why. The guest's doing or a bug, never a host failure. */
  | { readonly reason: 'internal-error'; readonly message: string };

export const KICKED: VcpuExit = { reason: 'kicked' };
export const HALTED: VcpuExit = { reason: 'halted' };
export const SHUTDOWN: VcpuExit = { reason: 'shutdown' };
