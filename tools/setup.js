#!/usr/bin/env node
/**
 * Makes a fresh clone ready: installs the locked packages and builds dist/, each only where something changed.
 * Plain JavaScript on purpose: it runs before any package is there.
 *
 *   node tools/setup.js              packages and build
 *   node tools/setup.js --packages   packages only
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** When the last build began. Not in dist/, which is the package. */
const STAMP = join(root, '.umbra/built');
const OLDEST_NODE = [20, 19];

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
  fail(`Umbra needs Node ${OLDEST_NODE.join('.')} or newer; this is Node ${process.versions.node}.`);
}

if (!packagesAreCurrent()) step('Installing packages (npm ci)', npm(['ci', '--no-audit', '--no-fund']));
if (!process.argv.includes('--packages') && !buildIsCurrent()) build();

/**
 * True when every package of the lockfile is installed in that version. npm notes what it installed in
 * node_modules/.package-lock.json; its date says nothing (a checkout renews the lockfile's), its entries do.
 */
function packagesAreCurrent() {
  const installedFile = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installedFile)) return false;
  const installed = readPackages(installedFile);
  return Object.entries(readPackages(join(root, 'package-lock.json'))).every(([path, wanted]) => {
    if (path === '') return true;
    const found = installed[path];
    if (found === undefined) return wanted.optional === true || wanted.peer === true;
    return found.version === wanted.version && found.integrity === wanted.integrity;
  });
}

/** @param {string} file @returns {Record<string, {version?: string, integrity?: string, optional?: boolean, peer?: boolean}>} */
function readPackages(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages ?? {};
}

/** True when nothing the build reads is newer than the last build; folders count, so a deleted file is seen. */
function buildIsCurrent() {
  if (!existsSync(STAMP) || !existsSync(join(root, 'dist/index.js'))) return false;
  const built = Number(readFileSync(STAMP, 'utf8'));
  const inputs = ['src', 'tsconfig.json', 'tsconfig.build.json', 'package.json', 'package-lock.json'];
  return inputs.every((input) => newest(join(root, input)) <= built);
}

/** @param {string} path @returns {number} the latest modification time (ms) in a file or folder */
function newest(path) {
  const { mtimeMs } = statSync(path);
  if (!statSync(path).isDirectory()) return mtimeMs;
  return readdirSync(path).reduce((latest, name) => Math.max(latest, newest(join(path, name))), mtimeMs);
}

function build() {
  // Taken before the build: what changes while it runs is seen the next time.
  const started = Date.now();
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  step('Building', [process.execPath, tsc, '-p', 'tsconfig.build.json']);
  mkdirSync(dirname(STAMP), { recursive: true });
  writeFileSync(STAMP, String(started));
}

/** The command line for npm: the npm that started us where there is one. @param {string[]} args */
function npm(args) {
  const running = process.env.npm_execpath;
  return running?.endsWith('.js') ? [process.execPath, running, ...args] : ['npm', ...args];
}

/** Runs one command with one line on stderr; its own output shows only if it fails. @param {string} name @param {string[]} command */
function step(name, command) {
  process.stderr.write(`${name} … `);
  const started = Date.now();
  const { status, stdout, stderr, error } = spawnSync(command[0], command.slice(1), {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32' && command[0] === 'npm',
  });
  if (status === 0) {
    process.stderr.write(`done (${((Date.now() - started) / 1000).toFixed(1)} s)\n`);
    return;
  }
  process.stderr.write('failed\n');
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  fail(
    error ? `${command.join(' ')}: ${error.message}` : `${command.join(' ')} ended with status ${status}.`,
  );
}

/** @param {string} sentence @returns {never} */
function fail(sentence) {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}
