import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { kvmMissing, withKvm } from '../tools/elsewhere/kvm/kvm.ts';
import type { Command } from '../tools/elsewhere/machine.ts';
import { qemuCommand, qemuMissing } from '../tools/elsewhere/qemu.ts';
import type { Measurement } from './engine.ts';
import type { Elapsed } from './stopwatch.ts';

/** Hosts of an exported image that are not ours. */
export type ImageHost = 'qemu' | 'qemu-kvm';

/** Seconds without a word that the machine, and a guest in it, may take; what is run here ends. */
const PATIENCE = 120;
/** Kernel's unit of CPU times in /proc, per second: the same on every Linux. */
const TICKS = 100;

/** Why a host cannot be measured here; undefined if it can. */
export const imageHostMissing = (host: ImageHost): string | undefined =>
  host === 'qemu' ? qemuMissing() : kvmMissing();

/** Measures an image from its first line to its last; starting the machine, or Linux in it, does not count. */
export async function measureImageOn(host: ImageHost, image: Uint8Array): Promise<Measurement> {
  const folder = mkdtempSync(join(tmpdir(), 'umbra-bench-'));
  try {
    const file = join(folder, 'image.elf');
    writeFileSync(file, image);
    if (host === 'qemu') return { ...(await timeImage(qemuCommand(file, [], ''))), result: 0 };
    const kernels = resolve(process.env.UMBRA_KERNELS ?? 'kernels');
    const times = await withKvm(kernels, 'amd64', file, [], 'npt=0', (command) =>
      timeImage(command(`patience=${PATIENCE}`)),
    );
    return { ...times, result: 0 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const FIRST_LINE = 'TAP version';
const LAST_LINE = /^# \d+ ok, .* skipped\r?$/m;

/** Throws where the image does not come to its end. */
function timeImage({ program, args }: Command): Promise<Elapsed> {
  return new Promise((fulfil, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    const now = (): Elapsed => ({ seconds: performance.now() / 1000, cpuSeconds: cpuSeconds(child.pid) });
    let output = '';
    let begun: Elapsed | undefined;
    let times: Elapsed | undefined;
    const giveUp = setTimeout(() => child.kill('SIGKILL'), PATIENCE * 1000);
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      giveUp.refresh();
      if (begun === undefined && output.includes(FIRST_LINE)) begun = now();
      if (begun === undefined || times !== undefined || !LAST_LINE.test(output)) return;
      const end = now();
      times = { seconds: end.seconds - begun.seconds, cpuSeconds: end.cpuSeconds - begun.cpuSeconds };
    });
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(giveUp);
      if (times === undefined) reject(new Error(`The image did not end: ${output.slice(-200)}`));
      else if (output.split(FIRST_LINE).length > 2)
        reject(new Error('The image killed its machine on the way.'));
      else fulfil(times);
    });
  });
}

/** CPU time of all threads of a process; its own clock where /proc does not tell. */
function cpuSeconds(pid: number | undefined): number {
  try {
    // After the name in parentheses, which may have spaces, fields 14 and 15 of proc(5) are user and system time.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  } catch {
    return performance.now() / 1000;
  }
}
