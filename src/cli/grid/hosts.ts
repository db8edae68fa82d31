import { Option } from 'commander';
import { parseCpuModel } from '../../arch/cpu-model-text.ts';
import { InputError } from '../../arch/input-error.ts';
import { chooseRunHosts, nestsPaging, type RunHost, type RunHostName, runHost } from '../../grid/run-host.ts';
import { SCENARIO_CPU } from '../../grid/umbra-host.ts';
import { HOST_KERNELS } from '../../guest/host-kernel/layout.ts';
import { loadRefusalOn } from '../../vmm/host-survey.ts';
import type { LoadPolicy } from '../../vmm/load-policy.ts';

/** Which of the hosts of scenarios: all that the options fit. */
export const l0Option = (): Option =>
  new Option(
    '--l0 <kind>',
    'run on the bare processor only, or under L0 with shadow paging or nested paging',
  ).choices(['none', 'shadow', 'npt']);
export const hostOption = (): Option =>
  new Option(
    '--host <kernel>',
    'run only where the kernel below L0 has PAE paging, or has not, or has not but sets EFER.NX',
  ).choices(HOST_KERNELS);

/** What options say about hosts. */
interface HostChoice {
  readonly l0: RunHost['l0'] | undefined;
  readonly host: RunHost['host'] | undefined;
  readonly loadPolicy: LoadPolicy | undefined;
}

/**
 * The hosts that options choose; with `check` only those that have an L0. Throws an InputError if there is none, and where the
 * load policy keeps L0 off one of them.
 */
export function hostsFor({ l0, host, loadPolicy }: HostChoice, check: boolean): readonly RunHostName[] {
  const chosen = chooseRunHosts({ ...(l0 && { l0 }), ...(host && { host }) });
  const usable = check ? chosen.filter((name) => runHost(name).l0 !== 'none') : chosen;
  if (usable.length === 0)
    throw new InputError("--check examines L0's MMU, so it needs an --l0 that is not none.");
  if (loadPolicy === undefined) return usable;
  if (usable.every((name) => runHost(name).l0 === 'none'))
    throw new InputError('--load-policy is about L0, so it needs an --l0 that is not none.');
  for (const name of usable) checkLoads(name, loadPolicy);
  return usable;
}

/** Those of some hosts on which L1 can use nested paging. Throws an InputError if there is none. */
export function nestingHosts(hosts: readonly RunHostName[]): readonly RunHostName[] {
  const nesting = hosts.filter(nestsPaging);
  if (nesting.length > 0) return nesting;
  throw new InputError(
    '--nested needs a host that offers L1 nested paging; with shadow paging L0 does not: use --l0 none or --l0 npt.',
  );
}

function checkLoads(name: RunHostName, policy: LoadPolicy): void {
  const { host }: RunHost = runHost(name);
  const refusal = host && loadRefusalOn(parseCpuModel(SCENARIO_CPU), host, policy);
  if (refusal !== undefined) throw new InputError(`--load-policy ${policy}, ${name}: ${refusal}`);
}
