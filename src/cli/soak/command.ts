import type { Command } from 'commander';
import type { RunHost } from '../../grid/run-host.ts';
import type { LoadPolicy } from '../../vmm/load-policy.ts';
import { exitStatusHelp, QUEUE_EXIT_STATUS } from '../exit-status.ts';
import { hostOption, hostsFor, l0Option } from '../grid/hosts.ts';
import type { Host } from '../host.ts';
import { loadPolicyOption } from '../host-options.ts';
import { parseQueue } from '../jobs/redis.ts';
import { jobsOption, option } from '../options.ts';
import { parseHours, parseSeed } from '../values.ts';
import { BATCH, type MakeSoakBench, type SoakOptions, soak } from './soak.ts';

type SoakCommandOptions = Omit<SoakOptions, 'hosts'> & {
  readonly l0?: RunHost['l0'];
  readonly host?: RunHost['host'];
  readonly loadPolicy?: LoadPolicy;
};

/** Adds `umbra soak`. */
export function addSoak(
  program: Command,
  host: Host,
  makeBench: MakeSoakBench,
  end: (status: number) => void,
): void {
  program
    .command('soak')
    .description(
      'Run random scenarios for hours; keep what fails, each cause once, and go on where it was left.',
    )
    .addOption(option('--hours <n>', 'end after so many hours', parseHours, '8'))
    .addOption(option('--seed <number>', 'which random scenarios', parseSeed, '1'))
    .option('--corpus <file>', 'where to remember them (SQLite)', 'umbra-corpus.sqlite')
    .addOption(jobsOption())
    .addOption(option('--queue <url>', 'have the workers of a queue run them (umbra worker)', parseQueue))
    .addOption(l0Option())
    .addOption(hostOption())
    .addOption(loadPolicyOption())
    .option('--check', "check L0's invariants after every MMU operation (slow)", false)
    .addHelpText('after', SOAK_HELP)
    .action(async ({ l0, host: kernel, loadPolicy, ...options }: SoakCommandOptions) => {
      const hosts = hostsFor({ l0, host: kernel, loadPolicy }, options.check);
      end(await soak({ ...options, hosts }, host, makeBench));
    });
}

const SOAK_HELP = `
Scenarios run in batches of ${BATCH}, some seconds' worth, and the corpus is written after each. Whether the hours are over or
Ctrl-C ends it, the batch that runs comes to its end: it never runs less than one. The corpus is whole at every moment,
whatever is killed.

${exitStatusHelp({
  0: 'the corpus has no failure',
  1: 'it has; they are printed as a scenario file for umbra grid --replay',
  ...QUEUE_EXIT_STATUS,
})}`;
