import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PrivateApt } from '../../../src/cli/kernels/apt.ts';
import { type CpioEntry, packCpio } from '../../../src/cli/kernels/cpio.ts';
import { resultOf } from '../../../src/grid/result-of.ts';

/** Debian's kernels that can be the host: the name of the metapackage's end, and its architecture. */
export const KVM_KERNELS = { amd64: 'amd64', '686-pae': 'i386', '686': 'i386' } as const;
export type KvmKernel = keyof typeof KVM_KERNELS;

/** In the order in which they are loaded; some kernels have no ccp or do not need it. */
const MODULES = ['irqbypass', 'ccp', 'kvm', 'kvm-amd'] as const;

/** A kernel with KVM's modules, unpacked in a folder. */
export interface KvmKernelFiles {
  readonly kernel: string;
  readonly modules: string;
}

/** Fetches a kernel with KVM's modules through the machine's apt; nothing is installed. Answers at once if it is there. */
export async function fetchKvmKernel(folder: string, name: KvmKernel): Promise<KvmKernelFiles> {
  const place = join(folder, `kvm-${name}`);
  const files = { kernel: join(place, 'vmlinuz'), modules: place };
  if (existsSync(files.kernel)) return files;
  const work = mkdtempSync(join(tmpdir(), 'umbra-kvm-'));
  try {
    const apt = new PrivateApt(work, KVM_KERNELS[name]);
    await apt.update();
    const depends = (await apt.candidate(`linux-image-${name}`))?.get('Depends');
    const image = depends?.match(/linux-image-[0-9][^\s,(]*/)?.[0];
    if (image === undefined) throw new Error(`apt offers no linux-image-${name}. ${apt.complaints}`);
    const unpacked = join(work, 'unpacked');
    const size = Number((await apt.candidate(image))?.get('Size'));
    run('dpkg-deb', ['-x', await resultOf(apt.download(image, size)), unpacked]);
    mkdirSync(place, { recursive: true });
    const all = readdirSync(unpacked, { recursive: true, encoding: 'utf8' });
    for (const module of MODULES) {
      const found = all.find((path) => path.endsWith(`/${module}.ko`));
      if (found !== undefined) {
        writeFileSync(join(place, `${module}.ko`), readFileSync(join(unpacked, found)));
      }
    }
    const kernel = all.find((path) => path.startsWith('boot/vmlinuz-'));
    if (kernel === undefined) throw new Error(`${image} has no kernel.`);
    writeFileSync(files.kernel, readFileSync(join(unpacked, kernel)));
    return files;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** From the project's folder, where npm runs its scripts: this file may have been compiled to another place. */
const LAUNCHER = 'tools/elsewhere/kvm/launcher.c';

/** Compiles the launcher into `output`. */
export function compileLauncher(output: string): void {
  const headers = join('/usr/include', run('gcc', ['-print-multiarch']).trim());
  // biome-ignore format: one purpose a line
  run('gcc', [
    '-m32', '-static', '-nostdlib', '-ffreestanding', '-fno-pie', '-no-pie', '-fno-stack-protector',
    '-O2', '-Wall', '-Wextra', '-Werror', '-idirafter', headers, '-o', output, LAUNCHER,
  ]);
}

/** An initramfs that runs an image with the launcher. */
export function launcherInitramfs(launcher: string, { modules }: KvmKernelFiles, image: string): Uint8Array {
  const file = (name: string, path: string, mode: number): CpioEntry => ({
    kind: 'file',
    name,
    mode,
    data: readFileSync(path),
  });
  return packCpio([
    { kind: 'directory', name: 'dev' },
    { kind: 'character-device', name: 'dev/console', major: 5, minor: 1 },
    file('init', launcher, 0o755),
    file('image', image, 0o644),
    ...MODULES.map((name) => join(modules, `${name}.ko`))
      .filter((path) => existsSync(path))
      .map((path) => file(path.slice(modules.length + 1), path, 0o644)),
  ]);
}

function run(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr}`);
  return stdout;
}
