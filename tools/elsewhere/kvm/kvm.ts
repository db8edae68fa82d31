import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CpuFeature } from '../../../src/grid/scenario.ts';
import { runProgram, runToEnd } from '../machine.ts';
import type { Transcript } from '../transcript.ts';
import { compileLauncher, fetchKvmKernel, type KvmKernel, launcherInitramfs } from './files.ts';

const PROGRAM = 'qemu-system-x86_64';
/** Milliseconds without a word; the kernel boots in silence. */
const PATIENCE = 60_000;

/** Why Linux's KVM cannot be run here; undefined if it can. */
export function kvmMissing(): string | undefined {
  for (const [program, debian] of [
    [PROGRAM, 'qemu-system-x86'],
    ['gcc', 'gcc libc6-dev'],
    ['dpkg-deb', 'dpkg'],
  ]) {
    if (spawnSync(program, ['--version']).status !== 0) {
      return `${program} is not installed (Debian: apt-get install ${debian})`;
    }
  }
  return undefined;
}

/**
 * Runs an image file as a guest of Linux's KVM with nested=1 and npt=0, on a Debian kernel that QEMU's own processor runs.
 * @param folder where kernels are kept
 */
export async function runOnKvm(
  folder: string,
  name: KvmKernel,
  image: string,
  absent: readonly CpuFeature[],
): Promise<Transcript> {
  const files = await fetchKvmKernel(folder, name);
  const work = mkdtempSync(join(tmpdir(), 'umbra-kvm-'));
  try {
    const launcher = join(work, 'launcher');
    const initramfs = join(work, 'initramfs');
    compileLauncher(launcher);
    writeFileSync(initramfs, launcherInitramfs(launcher, files, image));
    const without = absent.map((feature) => `without=${feature}`).join(' ');
    return await runToEnd((commandLine) =>
      runProgram(
        PROGRAM,
        // biome-ignore format: one option and its value each
        [
          '-M', 'pc', '-accel', 'tcg', '-cpu', 'EPYC', '-m', '512', '-kernel', files.kernel, '-initrd', initramfs,
          '-append', `console=ttyS0 loglevel=1 panic=-1 mitigations=off -- ${without} ${commandLine}`,
          '-display', 'none', '-serial', 'stdio', '-monitor', 'none', '-net', 'none', '-no-reboot',
        ],
        PATIENCE,
      ),
    );
  } finally {
    rmSync(work, { recursive: true });
  }
}
