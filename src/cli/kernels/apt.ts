import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import type { Progress } from '../progress.ts';
import { finish, succeed } from './process.ts';
import { rewriteDeb822, rewriteOneLine } from './sources.ts';

/**
 * apt with lists, state and cache of its own, for one architecture. It uses the machine's sources, keys, proxies and
 * preferences, and changes nothing on the system: no lists, no dpkg architecture, no installed package.
 */
export class PrivateApt {
  readonly #folder: string;
  readonly #config: string;
  #updateMessages = '';

  /**
   * @param folder       an empty folder, for apt to work in
   * @param architecture Debian's name of the architecture, such as `i386`
   * @param etc          where the machine's sources are
   * @throws Failure where the machine has no apt or no sources
   */
  constructor(folder: string, architecture: string, etc = '/etc/apt') {
    this.#folder = folder;
    this.#config = join(folder, 'apt.conf');
    // apt's download helper runs as a user of its own and must be able to reach its folders.
    chmodSync(folder, 0o755);
    for (const name of ['lists/partial', 'cache/archives/partial', 'sources.list.d', 'downloads']) {
      mkdirSync(join(folder, name), { recursive: true });
    }
    copySources(etc, folder);
    writeFileSync(join(folder, 'status'), '');
    writeFileSync(this.#config, configuration(folder, architecture));
  }

  /** Fetches the package lists. An index that fails is left out; the other ones serve. */
  async update(): Promise<void> {
    const { stdout, stderr } = await this.#run('apt-get', ['update']);
    this.#updateMessages = [...stdout.split('\n'), ...stderr.split('\n')]
      .filter((line) => /^[EW]:|^Err/.test(line))
      .join('\n');
  }

  /** What apt complained about in `update`, one line each; empty if nothing. */
  get complaints(): string {
    return this.#updateMessages;
  }

  /** The names of all packages known that begin so. */
  async names(prefix: string): Promise<string[]> {
    const { stdout } = await this.#run('apt-cache', ['--all-names', 'pkgnames', prefix]);
    return stdout.split('\n').filter((name) => name !== '');
  }

  /**
   * The fields of the version of a package that apt would install (a map with names as Debian writes them), or
   * undefined where there is none.
   */
  async candidate(name: string): Promise<ReadonlyMap<string, string> | undefined> {
    const { status, stdout } = await this.#run('apt-cache', ['--no-all-versions', 'show', name]);
    if (status !== 0) return undefined;
    const fields = new Map<string, string>();
    for (const line of stdout.split('\n\n', 1)[0]?.split('\n') ?? []) {
      const match = /^([A-Za-z0-9-]+): (.*)$/.exec(line);
      if (match) fields.set(match[1] as string, match[2] as string);
    }
    // A purely virtual package has no file to fetch.
    return fields.has('Filename') ? fields : undefined;
  }

  /**
   * Downloads a package, checked against the signed lists, and returns the path of its .deb; tells how many KiB have come.
   * @param bytes its size
   */
  async *download(name: string, bytes: number): AsyncGenerator<Progress, string> {
    const folder = join(this.#folder, 'downloads', name);
    mkdirSync(folder);
    const done = succeed('apt-get', ['-c', this.#config, '-q', 'download', name], folder);
    const total = Math.ceil(bytes / 1024);
    for await (const _ of untilSettled(done)) {
      yield { done: Math.min(total, Math.floor(bytesIn(folder) / 1024)), total, name };
    }
    await done;
    const file = readdirSync(folder).find((entry) => entry.endsWith('.deb'));
    if (file === undefined) throw new Failure(`apt-get download ${name} left no .deb behind.`);
    return join(folder, file);
  }

  async #run(command: string, args: readonly string[]) {
    return finish(command, ['-c', this.#config, '-q', ...args]);
  }
}

/** How often a download is looked at. Milliseconds. */
const LOOK_EVERY = 200;

/** Yields now and then until a promise is settled, however. */
async function* untilSettled(promise: Promise<unknown>): AsyncGenerator<void> {
  let settled = false;
  const over = promise.then(
    () => (settled = true),
    () => (settled = true),
  );
  while (!settled) {
    yield;
    await Promise.race([over, new Promise((resolve) => setTimeout(resolve, LOOK_EVERY))]);
  }
}

/** Bytes of the files in a folder; they may go while they are counted. */
const bytesIn = (folder: string): number =>
  readdirSync(folder, { withFileTypes: true })
    .map((entry) => statSync(join(folder, entry.name), { throwIfNoEntry: false })?.size ?? 0)
    .reduce((sum, size) => sum + size, 0);

function copySources(etc: string, folder: string): void {
  const list = join(etc, 'sources.list');
  let text = existsSync(list) ? rewriteOneLine(readFileSync(list, 'utf8')) : '';
  writeFileSync(join(folder, 'sources.list'), text);
  const parts = join(etc, 'sources.list.d');
  for (const name of existsSync(parts) ? readdirSync(parts) : []) {
    const rewrite = name.endsWith('.list')
      ? rewriteOneLine
      : name.endsWith('.sources')
        ? rewriteDeb822
        : undefined;
    if (!rewrite) continue;
    const rewritten = rewrite(readFileSync(join(parts, name), 'utf8'));
    writeFileSync(join(folder, 'sources.list.d', name), rewritten);
    text += rewritten;
  }
  if (text === '') throw new Failure(`apt has no package sources: ${list} and ${parts} name no "deb" line.`);
}

/** Read after the system's own configuration (`-c`), so that it can take hooks away: they touch system folders. */
function configuration(folder: string, architecture: string): string {
  return [
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    '#clear APT::Architectures;',
    // Only package lists: no translations, no contents, no software-centre data.
    '#clear Acquire::IndexTargets;',
    'Acquire::IndexTargets::deb::Packages {',
    '  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";',
    '  flatMetaKey "Packages";',
    '  ShortDescription "Packages";',
    '  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";',
    '  flatDescription "$(RELEASE) Packages";',
    '};',
    'Acquire::Languages "none";',
    'Acquire::Retries "2";',
    `APT::Architecture "${architecture}";`,
    `APT::Architectures { "${architecture}"; };`,
    `Dir::State "${folder}";`,
    `Dir::State::lists "${folder}/lists";`,
    `Dir::State::status "${folder}/status";`,
    `Dir::Cache "${folder}/cache";`,
    `Dir::Etc::sourcelist "${folder}/sources.list";`,
    `Dir::Etc::sourceparts "${folder}/sources.list.d";`,
    '',
  ].join('\n');
}
