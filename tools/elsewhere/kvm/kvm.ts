import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CpuFeature } from '../../../src/grid/scenario.ts';
import { type Command, runProgram, runToEnd } from '../machine.ts';
import type { Transcript } from '../transcript.ts';
import { compileLauncher, fetchKvmKernel, type KvmKernel, launcherInitramfs } from './files.ts';

const PROGRAM = 'qemu-system-x86_64';
const HEADER = '/usr/include/linux/kvm.h';
/** Milliseconds without a word; the kernel boots in silence. The launcher has a shorter patience, for its guest. */
const PATIENCE = 120_000;
/**
 * The outer machine's clock counts its instructions, 8 ns each: so how long it waits for a guest that hangs does not
 * depend on how busy this machine is, and neither does anything else that the outer machine does.
 */
const COUNTED_CLOCK = ['-icount', 'shift=3,sleep=off'];

/** Why Linux's KVM cannot be run here; undefined if it can. */
export function kvmMissing(): string | undefined {
  for (const [program, debian] of [
    [PROGRAM, 'qemu-system-x86'],
    ['gcc', 'gcc'],
    ['dpkg-deb', 'dpkg'],
    ['apt-get', 'apt'],
  ]) {
    if (spawnSync(program, ['--version']).status !== 0) {
      return `${program} is not installed (Debian: apt-get install ${debian})`;
    }
  }
  return existsSync(HEADER) ? undefined : `there is no ${HEADER} (Debian: apt-get install linux-libc-dev)`;
}

/** KVM's paging, as its module's parameter says it: shadow paging, or nested paging. */
export type KvmPaging = 'npt=0' | 'npt=1';

/**
 * Runs an image file as a guest of Linux's KVM with nested=1, on a Debian kernel that QEMU's own processor runs.
 * @param folder where kernels are kept
 */
export const runOnKvm = (
  folder: string,
  name: KvmKernel,
  image: string,
  absent: readonly CpuFeature[],
  paging: KvmPaging = 'npt=0',
): Promise<Transcript> =>
  withKvm(folder, name, image, absent, paging, (command) =>
    runToEnd((commandLine) => {
      const { program, args } = command(commandLine);
      return runProgram({ program, args: [...args, ...COUNTED_CLOCK] }, PATIENCE);
    }),
  );

/** Prepares what `runOnKvm` runs, for as long as `use` takes, which gets a command from a command line of the image. */
export async function withKvm<Result>(
  folder: string,
  name: KvmKernel,
  image: string,
  absent: readonly CpuFeature[],
  paging: KvmPaging,
  use: (command: (commandLine: string) => Command) => Promise<Result>,
): Promise<Result> {
  const files = await fetchKvmKernel(folder, name);
  const work = mkdtempSync(join(tmpdir(), 'umbra-kvm-'));
  try {
    const launcher = join(work, 'launcher');
    const initramfs = join(work, 'initramfs');
    compileLauncher(launcher);
    writeFileSync(initramfs, launcherInitramfs(launcher, files, image));
    const without = absent.map((feature) => `without=${feature}`).join(' ');
    return await use((commandLine) => ({
      program: PROGRAM,
      // biome-ignore format: one option and its value each
      args: [
        '-M', 'pc', '-accel', 'tcg', '-cpu', 'EPYC', '-m', '512', '-kernel', files.kernel, '-initrd', initramfs,
        '-append', `console=ttyS0 loglevel=1 panic=-1 mitigations=off -- ${paging} ${without} ${commandLine}`,
        '-display', 'none', '-serial', 'stdio', '-monitor', 'none', '-net', 'none', '-no-reboot',
      ],
    }));
  } finally {
    rmSync(work, { recursive: true });
  }
}
