import { type Command, Option } from 'commander';
import { InputError } from '../../arch/input-error.ts';
import type { Host } from '../host.ts';
import { parseQueue } from '../jobs/redis.ts';
import { jobsOption, option } from '../options.ts';
import { parseHours, parseSeed } from '../values.ts';
import { type MakeSoakBench, type SoakOptions, soak } from './soak.ts';

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
    .addOption(
      new Option('--l0 <kind>', 'run on the bare processor, or on L0 with shadow paging')
        .choices(['none', 'shadow'])
        .default('shadow'),
    )
    .option('--check', "check L0's invariants after every MMU operation (slow)", false)
    .addHelpText('after', SOAK_HELP)
    .action(async (options: SoakOptions) => {
      if (options.check && options.l0 === 'none') {
        throw new InputError("--check examines L0's MMU, so it needs --l0 shadow.");
      }
      end(await soak(options, host, makeBench));
    });
}

const SOAK_HELP = `
Ctrl-C ends it behind the batch that runs. The corpus is whole at every moment, whatever is killed.

Exit status: 0 if the corpus has no failure, 1 if it has; they are printed as a scenario file for umbra grid --replay.`;
