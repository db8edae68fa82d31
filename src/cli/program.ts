import { Command, CommanderError } from 'commander';
import { InputError } from '../arch/input-error.ts';
import {
  exitStatusHelp,
  INTERNAL_STATUS,
  OUTPUT_STATUS,
  QUEUE_EXIT_STATUS,
  UNAVAILABLE_STATUS,
  USAGE_STATUS,
} from './exit-status.ts';
import { type ExportOptions, exportToFile } from './export.ts';
import { Failure } from './failure.ts';
import { addGrid, addMutants } from './grid/command.ts';
import type { Host } from './host.ts';
import { addHosts } from './hosts/command.ts';
import { internalError } from './internal-error.ts';
import { parseQueue } from './jobs/redis.ts';
import type { WorkerOptions } from './jobs/worker.ts';
import { jobsOption, option } from './options.ts';
import { addRun } from './run/command.ts';
import type { Services } from './services.ts';
import { addSoak } from './soak/command.ts';
import { watchOutput } from './standard-output.ts';

/**
 * Runs the command line.
 * @param args    without the program's name
 * @param version what --version prints
 * @returns the exit status; whatever there is to say has been said on the host's streams
 */
export async function umbra(
  args: readonly string[],
  version: string,
  host: Host,
  services: Services,
): Promise<number> {
  const outputLost = watchOutput(host.stdout);
  const status = await obey(args, version, host, services);
  const lost = await outputLost();
  if (lost === undefined) return status;
  host.stderr.write(`umbra: ${lost}\n`);
  return OUTPUT_STATUS;
}

async function obey(
  args: readonly string[],
  version: string,
  host: Host,
  services: Services,
): Promise<number> {
  let status = 0;
  const program = makeProgram(version, host, services, (result) => {
    status = result;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return status;
  } catch (error) {
    // Commander has said what is wrong; its help and version come here too, with code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE_STATUS;
    if (error instanceof InputError) {
      host.stderr.write(`umbra: ${error.message}\n`);
      return USAGE_STATUS;
    }
    if (error instanceof Failure) {
      host.stderr.write(`umbra: ${error.message}\n`);
      return error.status;
    }
    host.stderr.write(internalError(error, host.debug === true));
    return INTERNAL_STATUS;
  }
}

function makeProgram(
  version: string,
  host: Host,
  services: Services,
  end: (status: number) => void,
): Command {
  const program = new Command('umbra')
    .description(
      'A software x86 machine with a KVM-like hypervisor on it: shadow paging and nested virtualization.',
    )
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => host.stdout.write(text),
      writeErr: (text) => host.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'umbra: ')),
    })
    .showHelpAfterError('Add --help for what is possible.')
    .helpCommand(false);
  addRun(program, host, services.createMachine, end);
  addGrid(program, host, services, end);
  addMutants(program, host, services);
  addSoak(program, host, services.soakBench, end);
  addWorker(program, host, services, end);
  addExport(program, host, services);
  addHosts(program, host, services.surveyHosts);
  addKernels(program, host, services);
  return program;
}

function addWorker(program: Command, host: Host, services: Services, end: (status: number) => void): void {
  program
    .command('worker')
    .description('Run scenarios for every umbra grid --queue with the same address, until you end it.')
    .addOption(option('--queue <url>', 'the Redis to work for', parseQueue).makeOptionMandatory())
    .addOption(jobsOption())
    .addHelpText('after', `\n${exitStatusHelp({ 0: 'you ended it', ...QUEUE_EXIT_STATUS })}`)
    .action(async (options: WorkerOptions) => end(await services.work(options, host)));
}

function addExport(program: Command, host: Host, services: Services): void {
  program
    .command('export')
    .description(
      'Write an image that runs scenarios on any machine with SVM and prints TAP on its serial port.',
    )
    .argument(
      '[scenario...]',
      'names of scenarios, parts or globs of them as for umbra grid, or scenario files',
    )
    .option('--all', 'every scenario of the grid', false)
    .requiredOption('-o, --output <file>', 'where the image goes')
    .addHelpText('after', EXPORT_HELP)
    .action((scenarios: readonly string[], options: ExportOptions) =>
      exportToFile(scenarios, options, host, services.exportImage),
    );
}

const EXPORT_HELP = `
The image is multiboot 1 and needs 128 MiB of memory. It ends through the debug-exit port 0xf4, to which it writes 0 if
everything was as the oracle says, 1 if anything was not; of v, umbra run and QEMU's isa-debug-exit make the exit status
(v << 1) | 1, so the shell sees 1 if all is well and 3 if not. On its command line, first=N and last=N choose among its
scenarios.

${exitStatusHelp({ 0: 'the image is written' })}

Example:
  umbra export --all -o grid.elf
  qemu-system-i386 -cpu max -m 128 -kernel grid.elf -append "first=3" -nographic -device isa-debug-exit,iobase=0xf4`;

const KERNELS_EXIT_STATUS = {
  0: 'the files are there',
  [UNAVAILABLE_STATUS]: 'a program that it needs is not there, or apt does not give the packages',
};

function addKernels(program: Command, host: Host, services: Services): void {
  program
    .command('kernels')
    .description(
      "Fetch Debian's 32-bit kernels and make an initramfs, through this machine's apt; nothing is installed.",
    )
    .argument('[dir]', 'where vmlinuz-686, vmlinuz-686-pae and initramfs.cpio.gz go', 'kernels')
    .addHelpText('after', `\n${exitStatusHelp(KERNELS_EXIT_STATUS)}`)
    .action((dir: string) => services.fetchKernels(dir, host));
}
