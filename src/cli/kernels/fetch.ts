import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import { outputFailure } from '../files.ts';
import type { Host } from '../host.ts';
import { withProgress } from '../progress.ts';
import { replaceFile } from '../replace-file.ts';
import { PrivateApt } from './apt.ts';
import { makeFolder } from './folder.ts';
import { makeInitramfs } from './initramfs.ts';
import { finish, pipe } from './process.ts';

/** Debian's names of the two 32-bit kernels: without PAE (2-level tables) and with it. */
const FLAVOURS = ['686', '686-pae'] as const;
type Flavour = (typeof FLAVOURS)[number];

const ARCHITECTURE = 'i386';

/**
 * Fetches Debian's 32-bit kernels and a static busybox through the machine's apt, and writes `vmlinuz-686`,
 * `vmlinuz-686-pae` and `initramfs.cpio.gz` into a folder.
 * @param folder made where it is missing
 * @throws InputError where nothing can be put into the folder, Failure with a sentence where apt is missing or does not offer a package
 */
export async function fetchKernels(folder: string, host: Host): Promise<void> {
  const say = (line: string): void => {
    host.stderr.write(`${line}\n`);
  };
  makeFolder(folder);
  for (const tool of ['apt-get', 'apt-cache', 'dpkg-deb', 'tar']) await requireTool(tool);
  const work = mkdtempSync(join(tmpdir(), 'umbra-kernels-'));
  try {
    const apt = new PrivateApt(work, ARCHITECTURE);
    say(`Reading Debian's package lists for ${ARCHITECTURE} (private, nothing on this system changes)`);
    await apt.update();
    if (apt.complaints !== '') {
      for (const line of apt.complaints.split('\n')) say(`  ${line}`);
      say('  What failed is left out; going on with the other indexes.');
    }
    // Both names first: an answer that something is missing should not wait for a download.
    const packages = new Map<Flavour, string>();
    for (const flavour of FLAVOURS) packages.set(flavour, await imagePackage(apt, flavour));
    for (const [flavour, name] of packages) {
      put(folder, `vmlinuz-${flavour}`, await member(apt, name, './boot/vmlinuz-*', host), say);
    }
    // In /bin or, where Debian has merged it, in /usr/bin.
    const busybox = await member(apt, 'busybox-static', '*bin/busybox', host);
    put(folder, 'initramfs.cpio.gz', makeInitramfs(busybox), say);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function requireTool(tool: string): Promise<void> {
  const works = await finish(tool, ['--version']).then(
    ({ status }) => status === 0,
    () => false,
  );
  if (works) return;
  throw new Failure(
    `umbra kernels needs ${tool}, which this system does not have: it works on Debian and its relatives. ` +
      'Elsewhere, run it in a Debian container and copy the folder.',
  );
}

/**
 * The package that holds the kernel of a flavour: the one Debian's metapackage points to, which follows the machine's
 * own choice of release, or else the newest there is.
 */
async function imagePackage(apt: PrivateApt, flavour: Flavour): Promise<string> {
  const meta = await apt.candidate(`linux-image-${flavour}`);
  const named = meta?.get('Depends')?.match(/linux-image-[0-9][^\s,(]*/)?.[0];
  if (named && (await apt.candidate(named))) return named;
  const form = new RegExp(`^linux-image-[0-9].*[0-9]-${flavour}(-unsigned)?$`);
  let newest: { name: string; version: string } | undefined;
  for (const name of (await apt.names('linux-image-')).filter((known) => form.test(known)).sort()) {
    const version = (await apt.candidate(name))?.get('Version');
    if (version === undefined) continue;
    // Sorted by name, a signed image comes before its unsigned twin of the same version and stays.
    if (!newest || (await isNewer(version, newest.version))) newest = { name, version };
  }
  if (newest) return newest.name;
  throw new Failure(
    `apt offers no linux-image-…-${flavour} for ${ARCHITECTURE}; Debian 12 (bookworm) is the last release that has it. ` +
      `Add a bookworm line to the machine's apt sources.${saidBy(apt)}`,
  );
}

async function isNewer(version: string, than: string): Promise<boolean> {
  return (await finish('dpkg', ['--compare-versions', version, 'gt', than])).status === 0;
}

/** Downloads a package and returns the one file in it that a tar pattern names. */
async function member(apt: PrivateApt, name: string, pattern: string, host: Host): Promise<Uint8Array> {
  const candidate = await apt.candidate(name);
  if (!candidate) throw new Failure(`apt offers no ${name} for ${ARCHITECTURE}.${saidBy(apt)}`);
  const size = Number(candidate.get('Size'));
  host.stderr.write(`Fetching ${name} ${candidate.get('Version')} (${mebibytes(size)})\n`);
  const deb = await withProgress(host, apt.download(name, size), 'KiB');
  // Through a pipe, for the one file: a kernel package unpacks to hundreds of megabytes of modules.
  const bytes = await pipe(
    ['dpkg-deb', '--fsys-tarfile', deb],
    ['tar', '--extract', '--file=-', '--to-stdout', '--wildcards', pattern],
  );
  rmSync(deb);
  if (bytes.length === 0) throw new Failure(`${name} holds no file ${pattern}.`);
  return bytes;
}

/** Writes a result under its name in one step. @throws Failure where the disk does not take it */
function put(folder: string, name: string, bytes: Uint8Array, say: (line: string) => void): void {
  const path = join(folder, name);
  try {
    replaceFile(path, bytes, '.new');
  } catch (error) {
    throw outputFailure('file', path, error);
  }
  say(`  ${path}: ${mebibytes(bytes.length)}`);
}

const saidBy = (apt: PrivateApt): string => (apt.complaints ? `\napt said:\n${apt.complaints}` : '');

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
