import { Option } from 'commander';
import { HOST_KERNELS } from '../guest/host-kernel/layout.ts';
import { LOAD_POLICIES } from '../vmm/load-policy.ts';

export const hostKernelOption = (): Option =>
  new Option(
    '--host <kernel>',
    "the kernel that L0 is part of: with PAE paging, without, or without but with EFER.NX on (default: 'pae')",
  ).choices(HOST_KERNELS);

export const loadPolicyOption = (): Option =>
  new Option(
    '--load-policy <policy>',
    "whether L0 loads where its host leaves NX off: 'reject', 'allow', or only on a kernel with PAE (default: 'allow')",
  ).choices(LOAD_POLICIES);
