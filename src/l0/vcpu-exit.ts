/**
 * Why `Vcpu.run` returned to user space. Port and MMIO accesses are not among the reasons, other than in KVM: the VM's
 * devices are called at once, through its port space and MMIO bus.
 */
export type VcpuExit =
  /** `kick` was called: a budget is used up, or somebody wants to look. */
  | { readonly reason: 'kicked' }
  /** The machine stands still (`Hardware.stopped`); the next `run` goes on as if nothing had been. */
  | { readonly reason: 'stopped' }
  /** The guest halted and nothing can wake it: it takes no interrupts, or no timer is armed that could ever raise one. */
  | { readonly reason: 'halted' }
  /** Triple fault, or another shutdown that nobody intercepts (APM vol. 2 15.14.3). */
  | { readonly reason: 'shutdown' }
  /** L0 cannot go on with this guest; the message says why. The guest's doing or a bug, never a host failure. */
  | { readonly reason: 'internal-error'; readonly message: string };

export const KICKED: VcpuExit = { reason: 'kicked' };
export const STOPPED: VcpuExit = { reason: 'stopped' };
export const HALTED: VcpuExit = { reason: 'halted' };
export const SHUTDOWN: VcpuExit = { reason: 'shutdown' };
