import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import type { CpuModel } from '../../arch/cpu-models.ts';
import { InputError } from '../../arch/input-error.ts';
import { isMemorySize, memoryRule, sizeText } from '../../arch/memory-size.ts';
import type { HostKernel } from '../../guest/host-kernel/layout.ts';
import type { L0Paging } from '../../l0/guest-cpu.ts';
import type { RawOptions } from '../../machine/loaders/raw.ts';
import { HOSTED_MEMORY } from '../../vmm/hosted-machine.ts';
import type { LoadPolicy } from '../../vmm/load-policy.ts';
import { closeAll, LiveFile, OutputFile, readContents, readInput, refuseSharedOutput } from '../files.ts';
import type { Host } from '../host.ts';
import { parseModule } from '../values.ts';
import { type Driven, drive } from './drive.ts';
import type { CreateMachine, MachineConfig } from './session.ts';

/** The options of `umbra run`, checked. */
export interface RunOptions {
  readonly l0: 'none' | L0Paging;
  /** The kernel that L0 is part of. */
  readonly host?: HostKernel;
  readonly loadPolicy?: LoadPolicy;
  /** What the image sees. */
  readonly cpu: CpuModel;
  /** What L0 runs on. */
  readonly hostCpu?: CpuModel;
  /** Bytes. */
  readonly memory: number;
  readonly initrd?: string;
  readonly append?: string;
  readonly module?: readonly string[];
  readonly raw?: RawOptions;
  readonly until?: RegExp;
  /** Seconds. */
  readonly timeout?: number;
  readonly maxInstructions?: number;
  readonly stats?: string;
  readonly check?: boolean;
  readonly trace?: string;
}

/**
 * Boots an image and stays with it to its end.
 * @returns the exit status
 * @throws InputError for files that cannot be used and what `createMachine` refuses
 */
export async function runImage(
  image: string,
  options: RunOptions,
  host: Host,
  createMachine: CreateMachine,
): Promise<number> {
  checkOptions(options);
  const config = readFiles(image, options);
  refuseSharedOutput({ '--stats': options.stats, '--trace': options.trace });
  const stats = options.stats === undefined ? undefined : new OutputFile(options.stats, 'statistics file');
  const trace = options.trace === undefined ? undefined : new LiveFile(options.trace, 'trace file');
  try {
    const traceLine = trace && ((line: string) => trace.write(`${line}\n`));
    const driven = await drive(host, options, (serial) => {
      const machine = createMachine({ ...config, trace: traceLine, serial });
      trace?.begin();
      return machine;
    });
    stats?.write(`${JSON.stringify(summary(driven), undefined, 2)}\n`);
    const { status, sentence } = driven.ending;
    if (sentence) host.stderr.write(`umbra: ${sentence}\n`);
    return status;
  } finally {
    closeAll(stats, trace);
  }
}

/** @throws InputError for options that contradict each other */
function checkOptions(options: RunOptions): void {
  if (options.l0 !== 'none') {
    const { memory } = options;
    if (!isMemorySize(memory, HOSTED_MEMORY)) {
      throw new InputError(
        `--memory ${sizeText(memory)}: under L0 it must be ${memoryRule(HOSTED_MEMORY)}: L0 keeps 64M for itself.`,
      );
    }
    return;
  }
  const { check, trace, hostCpu, host, loadPolicy } = options;
  if (check) throw needsL0("--check examines L0's MMU");
  if (trace !== undefined) throw needsL0('--trace writes what L0 does');
  if (host !== undefined) throw needsL0('--host is the kernel that L0 is part of');
  if (loadPolicy !== undefined) throw needsL0('--load-policy is about L0');
  if (hostCpu !== undefined)
    throw needsL0('--host-cpu is the processor below L0', "; --cpu is the machine's");
}

const needsL0 = (what: string, instead = ''): InputError =>
  new InputError(`${what}, so it needs --l0 shadow or npt${instead}.`);

function readFiles(image: string, options: RunOptions): Omit<MachineConfig, 'trace' | 'serial'> {
  const modules = (options.module ?? []).map((text) => parseModule(text, existsSync));
  return {
    l0: options.l0,
    host: options.host,
    loadPolicy: options.loadPolicy,
    cpu: options.cpu,
    hostCpu: options.hostCpu,
    memorySize: options.memory,
    image: readInput(image, 'image'),
    imageName: basename(image),
    commandLine: options.append ?? '',
    initrd: options.initrd === undefined ? undefined : readContents(options.initrd, 'initrd'),
    modules: modules.map(({ path, commandLine }) => ({ data: readInput(path, 'module'), commandLine })),
    raw: options.raw,
    check: options.check ?? false,
  };
}

/** What `--stats` writes. */
function summary({ machine, ending, setupSeconds, seconds }: Driven) {
  const { exits, mmu, entries, nxSwitches } = machine.statistics();
  const { instructions } = machine;
  return {
    end: ending.kind,
    status: ending.status,
    instructions,
    setupSeconds,
    seconds,
    mips: seconds > 0 ? instructions / seconds / 1e6 : 0,
    entries,
    nxSwitches,
    exits,
    mmu,
  };
}
