import { InputError } from '../arch/input-error.ts';

/** What L1 runs on. */
export interface RunHost {
  /** Bare: L1 has the processor to itself. Otherwise it is a guest of L0, which shadows its tables or nests them. */
  readonly l0: 'none' | 'shadow' | 'npt';
  /** Kernel that L0 is part of: with PAE paging or without. Absent on the bare processor. */
  readonly host?: 'pae' | 'nopae';
}

const HOSTS = {
  bare: { l0: 'none' },
  'shadow/pae': { l0: 'shadow', host: 'pae' },
  'shadow/nopae': { l0: 'shadow', host: 'nopae' },
  'npt/pae': { l0: 'npt', host: 'pae' },
  'npt/nopae': { l0: 'npt', host: 'nopae' },
} as const satisfies Readonly<Record<string, RunHost>>;

/** Every combination that the grid runs on, by its name in reports and in JSON. */
export type RunHostName = keyof typeof HOSTS;
export const RUN_HOST_NAMES = Object.keys(HOSTS) as readonly RunHostName[];

export const runHost = (name: RunHostName): RunHost => HOSTS[name];

/** Whether L1 can run L2s with nested paging there, at least with some features: not where L0 shadows L1's tables. */
export const nestsPaging = (name: RunHostName): boolean => runHost(name).l0 !== 'shadow';

/** A host in words: `L0 with shadow paging on a PAE kernel`. */
export function runHostText(name: RunHostName): string {
  const { l0, host }: RunHost = HOSTS[name];
  if (l0 === 'none') return 'the bare processor';
  const paging = l0 === 'shadow' ? 'shadow paging' : 'nested paging';
  return `L0 with ${paging} on a ${host === 'pae' ? 'PAE' : '!PAE'} kernel`;
}

/** The hosts that are like `wanted`: all where it says nothing. Throws an InputError if there is none. */
export function chooseRunHosts(wanted: Partial<RunHost>): readonly RunHostName[] {
  const chosen = RUN_HOST_NAMES.filter((name) => {
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
