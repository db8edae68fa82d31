import type { Command } from 'commander';
import type { HostRow } from '../../vmm/host-survey.ts';
import { exitStatusHelp } from '../exit-status.ts';
import type { Host } from '../host.ts';
import { hostTable } from './table.ts';

/** Adds `umbra hosts`. @param survey boots every kernel on every processor */
export function addHosts(program: Command, host: Host, survey: () => readonly HostRow[]): void {
  program
    .command('hosts')
    .description(
      'Boot host kernels on every CPU model, and tell how each ended and whether L0 would load there.',
    )
    .option('--json', 'print JSON instead', false)
    .addHelpText('after', HOSTS_HELP)
    .action(({ json }: { readonly json: boolean }) => {
      const rows = survey();
      host.stdout.write(json ? `${JSON.stringify(rows, undefined, 2)}\n` : hostTable(rows));
    });
}

const HOSTS_HELP = `
Every row comes from the boot code of a 32-bit Linux 5.13 kernel, told again and executed. Kernels: pae and nopae as they
were; nopae-nx and pae-nx with the change proposed in July 2021, which removes the load of CR4 with the test for PAE; and
nopae-nx-cr4, which keeps the load. docs/nx-on-nopae.md says what it is about.

${exitStatusHelp({ 0: 'they are listed, whether they boot or not' })}`;
