import { availableParallelism } from 'node:os';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { parseCpuModel } from '../arch/cpu-model-text.ts';
import { InputError } from '../arch/input-error.ts';
import { type ExportOptions, exportToFile } from './export.ts';
import { Failure } from './failure.ts';
import { type GridOptions, grid } from './grid.ts';
import type { Host } from './host.ts';
import { parseQueue } from './jobs/redis.ts';
import type { WorkerOptions } from './jobs/worker.ts';
import { type RunOptions, runImage } from './run/run.ts';
import { randomScenarios, replayFiles } from './scenarios.ts';
import type { Services } from './services.ts';
import {
  parseCount,
  parseJobs,
  parseMemory,
  parsePattern,
  parseRaw,
  parseScenarioCount,
  parseSeconds,
  parseSeed,
} from './values.ts';

const FAILURE_STATUS = 1;
const USAGE_STATUS = 2;

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
      return FAILURE_STATUS;
    }
    throw error;
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
  addRun(program, host, services, end);
  addGrid(program, host, services, end);
  addWorker(program, host, services, end);
  addExport(program, host, services);
  addKernels(program, host, services);
  return program;
}

function addRun(program: Command, host: Host, services: Services, end: (status: number) => void): void {
  program
    .command('run')
    .description('Boot an image: Linux bzImage, multiboot, ELF or raw. Its kind is recognised.')
    .argument('<image>', 'the file to boot')
    .addOption(
      new Option('--l0 <kind>', 'run it bare, or on L0 with shadow paging')
        .choices(['none', 'shadow'])
        .default('none'),
    )
    .addOption(
      option(
        '--cpu <model>',
        'CPU model and changes to it: MODEL[,+feature,-feature]',
        parseCpuModel,
        'current-amd',
      ),
    )
    .addOption(option('--memory <size>', 'RAM, 1M to 2G', parseMemory, '256M'))
    .option('--initrd <file>', 'initial RAM disk (Linux)')
    .option('--append <text>', 'command line of the kernel')
    .option('--module <file>', 'multiboot module; "FILE ARGUMENTS" with its string; may be repeated', collect)
    .addOption(
      option('--raw <address>', 'load as a raw image at ADDRESS[,real|protected] and start there', parseRaw),
    )
    .addOption(option('--until <regex>', 'stop with success when the serial output matches', parsePattern))
    .addOption(option('--timeout <seconds>', 'stop after so much time', parseSeconds))
    .addOption(option('--max-instructions <n>', 'stop after so many instructions (K, M, G, T)', parseCount))
    .option('--stats <file>', 'write counts and speed as JSON')
    .option('--check', "check L0's invariants after every MMU operation (slow; needs --l0 shadow)")
    .option('--trace <file>', 'write one line per exit, walk, fault and role change')
    .addHelpText('after', RUN_HELP)
    .action(async (image: string, options: RunOptions) => {
      if (options.check && options.l0 === 'none') {
        throw new InputError("--check examines L0's MMU, so it needs --l0 shadow.");
      }
      end(await runImage(image, options, host, services.createMachine));
    });
}

const RUN_HELP = `
The guest's serial port is on standard input and output. Ctrl-A x leaves, Ctrl-A Ctrl-A sends one Ctrl-A.

Exit status:
  0            --until matched, the guest powered off, or you left
  (v << 1) | 1 the guest wrote v to the debug-exit port 0xf4
  124          --timeout or --max-instructions was reached, or the guest halted for good
  125          triple fault
  2            wrong usage or an image that cannot be booted

Example:
  umbra run kernels/vmlinuz-686 --initrd kernels/initramfs.cpio.gz --append "console=ttyS0 cryptomgr.notests"`;

function addGrid(program: Command, host: Host, services: Services, end: (status: number) => void): void {
  program
    .command('grid')
    .description('Switch L1 and L2 between paging modes and let the oracle judge every probe.')
    .option('--json <file>', 'write the cells and the time as JSON')
    .option('--junit <file>', 'write a JUnit report, a case for each scenario')
    .option('--html <file>', 'write a page: the grid as a heat map, with the stories of scenarios')
    .addOption(jobsOption())
    .addOption(option('--queue <url>', 'have the workers of a queue run it (umbra worker)', parseQueue))
    .option('--show <name>', 'print a scenario of the grid instead: a file for --replay')
    .option(
      '--replay <file>',
      'run the scenarios of a file instead, and print each mismatch; may be repeated',
      collect,
    )
    .addOption(
      option(
        '--random <n>',
        'run so many random scenarios instead; what fails is printed as a file',
        parseScenarioCount,
      ),
    )
    .addOption(option('--seed <number>', 'which random scenarios', parseSeed, '1'))
    .addOption(
      new Option('--l0 <kind>', 'run on the bare processor, or on L0 with shadow paging')
        .choices(['none', 'shadow'])
        .default('shadow'),
    )
    .option('--check', "check L0's invariants after every MMU operation (slow)", false)
    .addHelpText('after', GRID_HELP)
    .action(async (options: GridCommandOptions) => end(await gridCommand(options, host, services)));
}

const GRID_HELP = `
Exit status: 0 if everything is as the oracle says, 1 if anything is not, 2 for a wrong option or scenario file.`;

interface GridCommandOptions extends GridOptions {
  readonly show?: string;
  readonly replay?: readonly string[];
  readonly random?: number;
  readonly seed: number;
}

async function gridCommand(options: GridCommandOptions, host: Host, services: Services): Promise<number> {
  const { show, replay, random, seed, json, junit, html, ...setup } = options;
  const { l0, check } = setup;
  if (check && l0 === 'none') throw new InputError("--check examines L0's MMU, so it needs --l0 shadow.");
  const named = (options: object): string[] =>
    Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`]));
  // The reports are of the grid, and any of them go together.
  const instead = [...named({ show, replay, random }), ...named({ json, junit, html }).slice(0, 1)];
  if (instead.length > 1) throw new InputError(`${instead.join(' and ')} do not go together; use one.`);
  if (show !== undefined) {
    host.stdout.write(services.showScenario(show));
    return 0;
  }
  if (replay !== undefined) return replayFiles(replay, setup, host, services.replay);
  if (random !== undefined) return randomScenarios({ count: random, seed }, setup, host, services.random);
  return grid({ ...setup, json, junit, html }, host, services.runGrid, services.reports);
}

function addWorker(program: Command, host: Host, services: Services, end: (status: number) => void): void {
  program
    .command('worker')
    .description('Run scenarios for every umbra grid --queue with the same address, until you end it.')
    .addOption(option('--queue <url>', 'the Redis to work for', parseQueue).makeOptionMandatory())
    .addOption(jobsOption())
    .action(async (options: WorkerOptions) => end(await services.work(options, host)));
}

function addExport(program: Command, host: Host, services: Services): void {
  program
    .command('export')
    .description(
      'Write an image that runs scenarios on any machine with SVM and prints TAP on its serial port.',
    )
    .argument('[scenario...]', 'names of scenarios, or scenario files')
    .option('--all', 'every scenario of the grid', false)
    .requiredOption('-o, --output <file>', 'where the image goes')
    .addHelpText('after', EXPORT_HELP)
    .action((scenarios: readonly string[], options: ExportOptions) =>
      exportToFile(scenarios, options, host, services.exportImage),
    );
}

const EXPORT_HELP = `
The image is multiboot 1 and needs 128 MiB of memory. It ends through the debug-exit port 0xf4: 0 if everything was as the
oracle says, 1 if anything was not. On its command line, first=N and last=N choose among its scenarios.

Example:
  umbra export --all -o grid.elf
  qemu-system-i386 -cpu max -m 128 -kernel grid.elf -append "first=3" -nographic -device isa-debug-exit,iobase=0xf4`;

const jobsOption = (): Option =>
  option('--jobs <n>', 'run so many scenarios side by side', parseJobs, String(availableParallelism()));

function addKernels(program: Command, host: Host, services: Services): void {
  program
    .command('kernels')
    .description(
      "Fetch Debian's 32-bit kernels and make an initramfs, through this machine's apt; nothing is installed.",
    )
    .argument('[dir]', 'where vmlinuz-686, vmlinuz-686-pae and initramfs.cpio.gz go', 'kernels')
    .action((dir: string) => services.fetchKernels(dir, (line) => host.stderr.write(`${line}\n`)));
}

/** An option whose text `parse` turns into a value; its InputError becomes Commander's message about that option. */
function option<Value>(
  flags: string,
  description: string,
  parse: (text: string) => Value,
  standard?: string,
): Option {
  const made = new Option(flags, description).argParser((text) => {
    try {
      return parse(text);
    } catch (error) {
      throw error instanceof InputError ? new InvalidArgumentError(error.message) : error;
    }
  });
  return standard === undefined ? made : made.default(parse(standard), standard);
}

const collect = (text: string, list: readonly string[] = []): string[] => [...list, text];
