/** What docs/nested-paging.md shows: what L0 offers on each host, and the roots that it builds for L1's nested tables. */
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { CR4, EFER } from '../../src/arch/registers.ts';
import { HOST_KERNELS } from '../../src/guest/host-kernel/layout.ts';
import { refusals } from '../../src/l0/guest-cpu.ts';
import { roleString } from '../../src/l0/mmu/role.ts';
import { nestedFormatOf } from '../../src/l0/mmu/table-format.ts';
import { RULES } from '../../src/l0/rules.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';
import { align } from './page-run.ts';

const MODEL = parseCpuModel('current-amd');

/** Features of 32-bit nested paging that a host may be unable to serve. */
const FEATURES = ['npt', 'nx'] as const;

const machine = (l0: 'shadow' | 'npt', host: (typeof HOST_KERNELS)[number]): HostedMachine =>
  new HostedMachine({ model: MODEL, memoryBytes: 0x40_0000, l0, host });

/** A line for each way that L0 maps its guests and each kernel that its host runs. */
export function offers(): string {
  const rows = (['shadow', 'npt'] as const).flatMap((l0) =>
    HOST_KERNELS.map((host) => {
      const { hypervisor, vm } = machine(l0, host);
      const { cr4, efer } = hypervisor.host;
      const tables = vm.tables.format;
      const nx = tables.nx ? ' with NX' : '';
      const offered = FEATURES.map((name) => (vm.model.features.has(name) ? name : `no ${name}`));
      return [`--l0 ${l0} --host ${host}`, `${tables.name}${nx}`, bits(cr4, efer), offered.join(', ')];
    }),
  );
  return align([['L0', "L0's tables", 'host kernel', 'L1 is offered'], ...rows]).join('\n');
}

const bits = (cr4: number, efer: number): string =>
  `PAE=${(cr4 & CR4.PAE) !== 0 ? 1 : 0} NX=${(efer & EFER.NXE) !== 0 ? 1 : 0}`;

/** Why a feature is not offered, in the words of L0. */
export function reasons(): string {
  const hosts = [machine('shadow', 'pae'), machine('npt', 'nopae')];
  const found = hosts.flatMap(({ hypervisor }) => refusals(MODEL, hypervisor));
  return found
    .filter(({ feature }) => FEATURES.some((name) => name === feature))
    .map(({ feature, because }) => `${feature}: ${because}`)
    .join('\n');
}

/** L1's paging when it runs VMRUN, which is the format of its nested tables. */
const L1_MODES = [
  { name: '2-level', cr4: 0, efer: 0 },
  { name: '2-level+PSE', cr4: CR4.PSE, efer: 0 },
  { name: 'PAE', cr4: CR4.PAE, efer: 0 },
  { name: 'PAE with NX', cr4: CR4.PAE, efer: EFER.NXE },
] as const;

/** The role of the root that shadows L1's nested tables, for each format of theirs and of L0's own. */
export function nestedRoots(): string {
  const rows = [CR4.PAE, 0].flatMap((hostCr4) => {
    const format = nestedFormatOf(hostCr4 | CR4.PSE, hostCr4 === 0 ? 0 : EFER.NXE);
    return L1_MODES.filter(({ efer }) => format.nx || efer === 0).map(({ name, cr4, efer }) => {
      const base = RULES.nestedRoleBase(cr4, efer, true);
      return [format.name, name, roleString(RULES.nestedRootRole(base, format.rootLevel))];
    });
  });
  return align([["L0's tables", "L1's nested tables", 'role of the root'], ...rows]).join('\n');
}
