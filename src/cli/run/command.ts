import { type Command, Option } from 'commander';
import { FEATURES } from '../../arch/cpu-features.ts';
import { parseCpuModel } from '../../arch/cpu-model-text.ts';
import { CPU_MODEL_NAMES } from '../../arch/cpu-models.ts';
import { exitStatusHelp, SIGNAL_STATUS, USAGE_STATUS } from '../exit-status.ts';
import type { Host } from '../host.ts';
import { hostKernelOption, loadPolicyOption } from '../host-options.ts';
import { collect, once, option } from '../options.ts';
import { parseCount, parseMemory, parsePattern, parseRaw, parseSeconds } from '../values.ts';
import { L0_FAILURE_STATUS, LIMIT_STATUS, TRIPLE_FAULT_STATUS } from './ending.ts';
import { type RunOptions, runImage } from './run.ts';
import type { CreateMachine } from './session.ts';

/** Adds `umbra run`. @param end takes the exit status */
export function addRun(
  program: Command,
  host: Host,
  createMachine: CreateMachine,
  end: (status: number) => void,
): void {
  program
    .command('run')
    .description('Boot an image: Linux bzImage, multiboot, ELF or boot sector. Its kind is recognised.')
    .argument('<image>', 'the file to boot')
    .addOption(
      new Option('--l0 <kind>', 'run it bare, or on L0 with shadow paging or nested paging')
        .choices(['none', 'shadow', 'npt'])
        .default('none'),
    )
    .addOption(hostKernelOption())
    .addOption(loadPolicyOption())
    .addOption(
      option(
        '--cpu <model>',
        'the CPU that the image sees: MODEL[,+feature,-feature]',
        parseCpuModel,
        'current-amd',
      ),
    )
    .addOption(
      option('--host-cpu <model>', "the CPU below L0, like --cpu (default: 'current-amd')", parseCpuModel),
    )
    .addOption(option('--memory <size>', 'RAM, 1M to 2G (1984M under L0)', parseMemory, '256M'))
    .addOption(once('--initrd <file>', 'initial RAM disk (Linux)'))
    .addOption(once('--append <text>', 'command line of the kernel'))
    .option('--module <file>', 'multiboot module; "FILE ARGUMENTS" with its string; may be repeated', collect)
    .addOption(
      option('--raw <address>', 'load the bytes at ADDRESS[,real|protected] and start there', parseRaw),
    )
    .addOption(option('--until <regex>', 'stop with success when the serial output matches', parsePattern))
    .addOption(option('--timeout <seconds>', 'stop after so much time', parseSeconds))
    .addOption(option('--max-instructions <n>', 'stop after so many instructions (K, M, G, T)', parseCount))
    .addOption(once('--stats <file>', 'write counts and speed as JSON'))
    .option('--check', "check L0's invariants after every MMU operation (slow; needs --l0 shadow or npt)")
    .addOption(
      once(
        '--trace <file>',
        'write one line per exit, walk, fault and role change (needs --l0 shadow or npt)',
      ),
    )
    .addHelpText('after', RUN_HELP)
    .action(async (image: string, options: RunOptions) =>
      end(await runImage(image, options, host, createMachine)),
    );
}

const HELP_WIDTH = 100;

/** Words in lines, each indented. */
function wrapped(words: readonly string[]): string {
  const lines = [''];
  for (const word of words) {
    if (`${lines.at(-1)} ${word}`.length > HELP_WIDTH) lines.push('');
    lines.push(`${lines.pop()} ${word}`);
  }
  return lines.map((line) => ` ${line}`).join('\n');
}

const RUN_HELP = `
The guest's serial port is on standard input and output. Ctrl-A x leaves, Ctrl-A Ctrl-A sends one Ctrl-A.

CPU models, oldest first:
${wrapped(CPU_MODEL_NAMES)}
CPU features, named as in Linux's /proc/cpuinfo:
${wrapped(FEATURES.filter(({ implemented }) => implemented).map(({ name }) => name))}

Under L0, --cpu is the guest's CPU and --host-cpu the one that L0 runs on. The host must have what the guest is offered,
and SVM for L0 itself, NX for --l0 shadow, and PAE for --host pae; umbra hosts tells which kernel boots where. Instructions
that need no intercept behave as on the host, whatever CPUID tells the guest: CMOV works in a guest whose CPU is a pentium.

${exitStatusHelp({
  0: '--until matched, the guest powered off or reset, or you left',
  [USAGE_STATUS]: 'wrong usage, or an image that cannot be booted',
  [TRIPLE_FAULT_STATUS]: 'triple fault',
  [L0_FAILURE_STATUS]: 'L0 gave up on the guest',
  [LIMIT_STATUS]: '--timeout or --max-instructions was reached, or the guest halted for good',
  [Object.values(SIGNAL_STATUS).join(', ')]: 'ended by SIGINT, by SIGTERM',
  '(v << 1) | 1': 'the guest wrote v to the debug-exit port 0xf4',
})}

Example:
  umbra run kernels/vmlinuz-686 --initrd kernels/initramfs.cpio.gz --append "console=ttyS0 cryptomgr.notests"`;
