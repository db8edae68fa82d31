import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Measurement } from './engine.ts';
import type { EngineName } from './engines.ts';
import { type LinuxBoot, linuxAsMultiboot } from './linux-image.ts';
import { startStopwatch } from './stopwatch.ts';
import { createUmbra, runUntil } from './umbra.ts';

const FOLDER = resolve(process.env.UMBRA_KERNELS ?? 'kernels');
const INITRD = 'initramfs.cpio.gz';
const COMMAND_LINE = 'console=ttyS0 cryptomgr.notests';
/** What the init of `umbra kernels` prints first. */
const USER_SPACE = 'UMBRA-USERSPACE-OK';
const PANIC = 'Kernel panic';
const NEWLINE = 0x0a;
const MEMORY = 256 << 20;

/** Why a kernel cannot be booted here; undefined if it can. */
export function bootMissing(kernel: string): string | undefined {
  const missing = [kernel, INITRD].filter((file) => !existsSync(join(FOLDER, file)));
  if (missing.length === 0) return undefined;
  return `${FOLDER} has no ${missing.join(' and no ')}; "npm run umbra -- kernels" fetches them, UMBRA_KERNELS names the folder`;
}

/** Boots a kernel until its init speaks. Umbra boots the bzImage, v86 the same laid out as a multiboot image. */
export async function measureBoot(kernel: string, engine: EngineName): Promise<Measurement> {
  const boot: LinuxBoot = {
    kernel: new Uint8Array(readFileSync(join(FOLDER, kernel))),
    initrd: new Uint8Array(readFileSync(join(FOLDER, INITRD))),
    commandLine: COMMAND_LINE,
    memoryBytes: MEMORY,
  };
  if (engine === 'umbra') return bootUmbra(boot, 'none');
  if (engine === 'umbra-l0') return bootUmbra(boot, 'shadow');
  return bootV86(boot, engine === 'v86-interpreter');
}

/** Reads along on the console: true once the init has spoken. @throws Error where the kernel panics */
function listenForUserSpace(): (byte: number) => boolean {
  let line = '';
  return (byte) => {
    line = byte === NEWLINE ? '' : line + String.fromCharCode(byte);
    if (line.includes(PANIC) && line.endsWith('\r')) throw new Error(`The kernel gave up: ${line.trim()}`);
    return line.includes(USER_SPACE);
  };
}

function bootUmbra(boot: LinuxBoot, l0: 'none' | 'shadow'): Measurement {
  const hears = listenForUserSpace();
  let up = false;
  const machine = createUmbra({
    l0,
    image: boot.kernel,
    initrd: boot.initrd,
    commandLine: boot.commandLine,
    memorySize: boot.memoryBytes,
    serial: (byte) => {
      up ||= hears(byte);
      if (up) machine.stop();
    },
  });
  const elapsed = startStopwatch();
  runUntil(machine, () => up);
  return { ...elapsed(), instructions: machine.instructions, exits: machine.statistics().exits, result: 0 };
}

async function bootV86(boot: LinuxBoot, interpreterOnly: boolean): Promise<Measurement> {
  const { createV86, runUntilHeard } = await import('./v86.ts');
  const emulator = await createV86(linuxAsMultiboot(boot), boot.memoryBytes, interpreterOnly);
  const hears = listenForUserSpace();
  const elapsed = startStopwatch();
  let times = elapsed();
  await runUntilHeard(emulator, (byte) => {
    const up = hears(byte);
    if (up) times = elapsed();
    return up;
  });
  return { ...times, result: 0 };
}
