/**
 * The import-direction check: a folder of src/ may import from itself and from folders before it in the order below,
 * nothing else. Type-only imports count, because they couple rooms just as well.
 *
 *   npx tsx tools/check-imports.ts
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'oxc-parser';

const ORDER = [
  'arch',
  'wasm',
  'isa',
  'cpu',
  'machine',
  'l0',
  'oracle',
  'guest',
  'vmm',
  'grid',
  'inspect',
  'cli',
];

/** The oracle shares names with the rest, never a walker or a format: these files of arch and no others. */
const ORACLE_MAY_IMPORT = ['registers', 'exceptions', 'address', 'vmcb'].map((name) => `arch/${name}.ts`);

/** src/index.ts is the library's face: it may show every room but the command line. */
const LIBRARY_ENTRY = 'index.ts';

export interface Import {
  /** Where the import stands, relative to src/, with slashes. */
  readonly file: string;
  readonly line: number;
  readonly specifier: string;
}

/** Says in a sentence what is wrong with an import, or nothing where it is allowed. */
export function complaint({ file, specifier }: Import): string | undefined {
  const room = file.split('/')[0] as string;
  if (/\bnode:/.test(specifier)) {
    return room === 'cli' ? undefined : `${specifier} outside src/cli: the core runs without a host`;
  }
  if (!specifier.startsWith('.')) return undefined;
  const target = posix.normalize(posix.join(posix.dirname(file), specifier));
  if (target.startsWith('../')) return `${specifier} leaves src/`;
  const targetRoom = target.split('/')[0] as string;
  if (file === LIBRARY_ENTRY) {
    return targetRoom === 'cli' ? 'the library must not import the command line' : undefined;
  }
  if (targetRoom === room) return undefined;
  if (!ORDER.includes(room)) return `src/${room} has no place in the order ${ORDER.join(' <- ')}`;
  if (!ORDER.includes(targetRoom)) return `src/${targetRoom} has no place in the order ${ORDER.join(' <- ')}`;
  if (room === 'oracle' && !ORACLE_MAY_IMPORT.includes(target)) {
    return `the oracle may import only ${ORACLE_MAY_IMPORT.join(', ')}, not ${target}`;
  }
  if (ORDER.indexOf(targetRoom) > ORDER.indexOf(room)) return `${room} must not import ${targetRoom}`;
  return undefined;
}

/** Every import, re-export and dynamic import of one source text. */
export function importsOf(file: string, text: string): Import[] {
  const { module, errors } = parseSync(file, text);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0]?.message}`);
  const found: { specifier: string; start: number }[] = [];
  for (const { moduleRequest } of module.staticImports) {
    found.push({ specifier: moduleRequest.value, start: moduleRequest.start });
  }
  for (const { entries } of module.staticExports) {
    const from = entries[0]?.moduleRequest;
    if (from) found.push({ specifier: from.value, start: from.start });
  }
  for (const { moduleRequest } of module.dynamicImports) {
    const { start, end } = moduleRequest;
    found.push({ specifier: text.slice(start, end).replace(/^['"`]|['"`]$/g, ''), start });
  }
  return found.map(({ specifier, start }) => ({
    file,
    specifier,
    line: text.slice(0, start).split('\n').length,
  }));
}

/** Walks src/ and returns one line per forbidden import or call. */
export function checkSources(src: string): string[] {
  const complaints: string[] = [];
  for (const entry of readdirSync(src, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const path = join(entry.parentPath, entry.name);
    const file = relative(src, path).split(sep).join('/');
    const text = readFileSync(path, 'utf8');
    for (const found of importsOf(file, text)) {
      const sentence = complaint(found);
      if (sentence) complaints.push(`src/${file}:${found.line}: ${sentence}`);
    }
    // The one source of randomness that is no global name of its own, so the linter does not see it.
    if (!file.startsWith('cli/') && /\bMath\.random\b/.test(text)) {
      complaints.push(`src/${file}: Math.random outside src/cli: same input, same output`);
    }
  }
  return complaints;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const complaints = checkSources(join(dirname(fileURLToPath(import.meta.url)), '../src'));
  for (const line of complaints) console.error(line);
  if (complaints.length > 0) process.exit(1);
  console.log('Imports point the right way.');
}
