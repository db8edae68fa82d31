import { InputError } from '../arch/input-error.ts';
import type { HostKernel } from '../guest/host-kernel/layout.ts';

/** What L1 runs on. */
export interface RunHost {
  /** Bare: L1 has the processor to itself. Otherwise it is a guest of L0, which shadows its tables or nests them. */
  readonly l0: 'none' | 'shadow' | 'npt';
  /** Kernel that L0 is part of. Absent on the bare processor. */
  readonly host?: HostKernel;
}

const HOSTS = {
  bare: { l0: 'none' },
  'shadow/pae': { l0: 'shadow', host: 'pae' },
  'shadow/nopae': { l0: 'shadow', host: 'nopae' },
  'npt/pae': { l0: 'npt', host: 'pae' },
  'npt/nopae': { l0: 'npt', host: 'nopae' },
  'shadow/nopae-nx': { l0: 'shadow', host: 'nopae-nx' },
  'npt/nopae-nx': { l0: 'npt', host: 'nopae-nx' },
} as const satisfies Readonly<Record<string, RunHost>>;

/** Every combination that scenarios can run on, by its name in reports and in JSON. */
export type RunHostName = keyof typeof HOSTS;
export const RUN_HOST_NAMES = Object.keys(HOSTS) as readonly RunHostName[];

/**
 * Those of the grid if nobody asks for others. L0 builds on `nopae-nx` the tables that it builds on `nopae`, so that a second
 * run there would mostly cost its time.
 */
export const GRID_HOST_NAMES: readonly RunHostName[] = RUN_HOST_NAMES.filter(
  (name) => runHost(name).host !== 'nopae-nx',
);

/** What a name stands for. */
export function runHost(name: RunHostName): RunHost {
  return HOSTS[name];
}

/** Whether L1 can run L2s with nested paging there, at least with some features: not where L0 shadows L1's tables. */
export const nestsPaging = (name: RunHostName): boolean => runHost(name).l0 !== 'shadow';

const KERNEL_TEXT: Readonly<Record<HostKernel, string>> = {
  pae: 'a PAE kernel',
  nopae: 'a !PAE kernel',
  'nopae-nx': 'a !PAE kernel that sets EFER.NX',
};

/** A host in words: `L0 with shadow paging on a PAE kernel`. */
export const runHostText = (name: RunHostName): string => hostText(runHost(name));

/** Any host in the same words, where it may have no name. */
export function hostText({ l0, host = 'pae' }: RunHost): string {
  if (l0 === 'none') return 'the bare processor';
  const paging = l0 === 'shadow' ? 'shadow paging' : 'nested paging';
  return `L0 with ${paging} on ${KERNEL_TEXT[host]}`;
}

/**
 * The hosts that are like `wanted`: where it names no kernel, those of the grid. Throws an InputError if there is none.
 */
export function chooseRunHosts(wanted: Partial<RunHost>): readonly RunHostName[] {
  const known = wanted.host === undefined ? GRID_HOST_NAMES : RUN_HOST_NAMES;
  const chosen = known.filter((name) => {
    const { l0, host }: RunHost = HOSTS[name];
    return (wanted.l0 ?? l0) === l0 && (wanted.host ?? host) === host;
  });
  if (chosen.length > 0) return chosen;
  throw new InputError(
    `The bare processor has no host kernel: --host ${wanted.host} needs an --l0 that is not none.`,
  );
}

/** The host that runs random scenario `index`: they are dealt out in turn. */
export const dealtTo = (hosts: readonly RunHostName[], index: number): RunHostName =>
  hosts[index % hosts.length];
