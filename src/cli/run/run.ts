import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import type { CpuModel } from '../../arch/cpu-models.ts';
import type { RawOptions } from '../../machine/loaders/raw.ts';
import { OutputFile, readInput } from '../files.ts';
import type { Host } from '../host.ts';
import { parseModule } from '../values.ts';
import { drive, type Ending } from './drive.ts';
import type { CreateMachine, MachineConfig, RunningMachine } from './session.ts';

/** The options of `umbra run`, checked. */
export interface RunOptions {
  readonly l0: 'none' | 'shadow';
  readonly cpu: CpuModel;
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
  const config = readFiles(image, options);
  const stats = options.stats === undefined ? undefined : new OutputFile(options.stats, 'statistics file');
  const trace = options.trace === undefined ? undefined : new OutputFile(options.trace, 'trace file');
  try {
    const traceLine = trace && ((line: string) => trace.write(`${line}\n`));
    const started = host.now();
    const { machine, ending } = await drive(host, options, (serial) =>
      createMachine({ ...config, trace: traceLine, serial }),
    );
    const seconds = (host.now() - started) / 1000;
    stats?.write(`${JSON.stringify(summary(machine, ending, seconds), undefined, 2)}\n`);
    if (ending.sentence) host.stderr.write(`umbra: ${ending.sentence}\n`);
    return ending.status;
  } finally {
    stats?.close();
    trace?.close();
  }
}

function readFiles(image: string, options: RunOptions): Omit<MachineConfig, 'trace' | 'serial'> {
  const modules = (options.module ?? []).map((text) => parseModule(text, existsSync));
  return {
    l0: options.l0,
    cpu: options.cpu,
    memorySize: options.memory,
    image: readInput(image, 'image'),
    imageName: basename(image),
    commandLine: options.append ?? '',
    initrd: options.initrd === undefined ? undefined : readInput(options.initrd, 'initrd'),
    modules: modules.map(({ path, commandLine }) => ({ data: readInput(path, 'module'), commandLine })),
    raw: options.raw,
    check: options.check ?? false,
  };
}

/** What `--stats` writes. */
function summary(machine: RunningMachine, ending: Ending, seconds: number) {
  const { exits, mmu } = machine.statistics();
  const { instructions } = machine;
  return {
    end: ending.kind,
    status: ending.status,
    instructions,
    seconds,
    mips: seconds > 0 ? instructions / seconds / 1e6 : 0,
    exits,
    mmu,
  };
}
