#!/usr/bin/env node
/**
 * Adds what a lockfile made through a partial registry lacks: the entries of other platforms' binary packages. npm
 * leaves a package out that the registry at hand does not hold, and `npm ci` then refuses the lockfile everywhere.
 * Their versions are exact in the packages that want them, and their names say the platform; their integrity is not
 * known here, so npm does not check it on those platforms until somebody with a full registry renews the lockfile.
 *
 *   node tools/complete-lockfile.js          after npm install
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const file = fileURLToPath(new URL('../package-lock.json', import.meta.url));
const lock = JSON.parse(readFileSync(file, 'utf8'));

const SYSTEMS = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
];
const PROCESSORS = [
  'arm',
  'arm64',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'wasm32',
  'x64',
];

let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (isLocked(path, name)) continue;
    const platform = platformOf(name);
    if (!/^\d+\.\d+\.\d+/.test(version) || !platform) {
      console.error(
        `${path} wants ${name} ${version}, and neither its version nor its platform can be told from that.`,
      );
      process.exitCode = 1;
      continue;
    }
    const place =
      `node_modules/${name}` in lock.packages ? `${path}/node_modules/${name}` : `node_modules/${name}`;
    // In the order in which npm writes the fields.
    lock.packages[place] = {
      version,
      cpu: platform.cpu,
      ...(entry.dev ? { dev: true } : {}),
      ...(platform.libc ? { libc: platform.libc } : {}),
      license: entry.license,
      optional: true,
      os: platform.os,
      ...(entry.engines ? { engines: entry.engines } : {}),
    };
    added++;
  }
}
lock.packages = Object.fromEntries(
  Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en')),
);
writeFileSync(file, `${JSON.stringify(lock, undefined, 2)}\n`);
console.log(`${added} entries added.`);

/** Whether Node would find the package from the one at `path`: beside it or in a folder above. */
function isLocked(path, name) {
  for (let folder = path; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('node_modules') - 1))) {
    const place = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (place in lock.packages) return true;
    if (folder === '') return false;
  }
}

/** `os`, `cpu` and `libc` as a package names them, from a name such as `@oxc-parser/binding-linux-arm64-musl`. */
function platformOf(name) {
  const words = name.slice(name.lastIndexOf('/') + 1).split('-');
  const os = words.find((word) => SYSTEMS.includes(word));
  const cpu = words.find((word) => PROCESSORS.includes(word));
  if (!os || !cpu) return undefined;
  const libc = words.some((word) => word.startsWith('musl'))
    ? 'musl'
    : words.some((word) => word.startsWith('gnu'))
      ? 'glibc'
      : undefined;
  return { cpu: [cpu], os: [os], ...(libc ? { libc: [libc] } : {}) };
}
