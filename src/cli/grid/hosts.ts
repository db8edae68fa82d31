import { Option } from 'commander';
import { InputError } from '../../arch/input-error.ts';
import { chooseRunHosts, type RunHost, type RunHostName, runHost } from '../../grid/run-host.ts';

/** Which of the hosts of scenarios: all that the options fit. */
export const l0Option = (): Option =>
  new Option(
    '--l0 <kind>',
    'run on the bare processor only, or under L0 with shadow paging or nested paging',
  ).choices(['none', 'shadow', 'npt']);
export const hostOption = (): Option =>
  new Option('--host <kernel>', 'run only where the kernel below L0 has PAE paging, or has not').choices([
    'pae',
    'nopae',
  ]);

/** The hosts that options choose; with `check` only those that have an L0. Throws an InputError if there is none. */
export function hostsFor(
  { l0, host }: { readonly l0: RunHost['l0'] | undefined; readonly host: RunHost['host'] | undefined },
  check: boolean,
): readonly RunHostName[] {
  const chosen = chooseRunHosts({ ...(l0 && { l0 }), ...(host && { host }) });
  const usable = check ? chosen.filter((name) => runHost(name).l0 !== 'none') : chosen;
  if (usable.length > 0) return usable;
  throw new InputError("--check examines L0's MMU, so it needs an --l0 that is not none.");
}
