import { spawnSync } from 'node:child_process';
import type { CpuFeature } from '../../src/grid/scenario.ts';
import { type Command, runProgram, runToEnd } from './machine.ts';
import type { Transcript } from './transcript.ts';

const PROGRAM = 'qemu-system-i386';
/** Milliseconds without a word from the image; its longest scenario takes a fraction of a second. */
const PATIENCE = 10_000;

/** Why QEMU cannot be used here; undefined if it can. */
export function qemuMissing(): string | undefined {
  const { status } = spawnSync(PROGRAM, ['--version']);
  return status === 0 ? undefined : `${PROGRAM} is not installed (Debian: apt-get install qemu-system-x86)`;
}

/** Runs an image file on QEMU's own processor without some features. */
export const runOnQemu = (file: string, absent: readonly CpuFeature[]): Promise<Transcript> =>
  runToEnd((commandLine) => runProgram(qemuCommand(file, absent, commandLine), PATIENCE));

/** QEMU with an image file COM1 being its standard output. SVM is there only in an AMD model. */
export function qemuCommand(file: string, absent: readonly CpuFeature[], commandLine: string): Command {
  const cpu = ['EPYC', ...absent.map((feature) => `-${feature}`)].join(',');
  return {
    program: PROGRAM,
    // biome-ignore format: one option and its value each
    args: [
      '-M', 'pc', '-accel', 'tcg', '-cpu', cpu, '-m', '128', '-kernel', file, '-append', commandLine,
      '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-display', 'none', '-serial', 'stdio',
      '-monitor', 'none', '-net', 'none', '-no-reboot',
    ],
  };
}
