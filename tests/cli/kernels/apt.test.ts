import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InputError } from '../../../src/arch/input-error.ts';
import { Failure } from '../../../src/cli/failure.ts';
import { PrivateApt } from '../../../src/cli/kernels/apt.ts';
import { fetchKernels } from '../../../src/cli/kernels/fetch.ts';
import { rewriteDeb822, rewriteOneLine } from '../../../src/cli/kernels/sources.ts';
import { TestHost } from '../host.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("the machine's sources", () => {
  it('of one line each lose their architecture and their source packages', () => {
    const text = `# comment
deb http://a.example/debian bookworm main contrib
deb-src http://a.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://b.example/x stable main # note
  deb [ arch=amd64,arm64 ] cdrom:[Debian]/ x main
#deb http://off.example/ y main
`;
    expect(rewriteOneLine(text)).toBe(`deb http://a.example/debian bookworm main contrib
deb [signed-by=/k.gpg] https://b.example/x stable main # note
deb cdrom:[Debian]/ x main
`);
  });

  it('of the deb822 kind, too', () => {
    const text = `Types: deb deb-src
# comment
URIs: http://a.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb-src
URIs: http://src.example/
Suites: x

Types: deb
URIs: https://b.example/
Suites: stable
Architectures: amd64
Components: main
`;
    expect(rewriteDeb822(text)).toBe(`Types: deb
URIs: http://a.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: https://b.example/
Suites: stable
Components: main
`);
  });
});

describe('PrivateApt', () => {
  it('copies the sources and keeps every folder it writes to its own', () => {
    const etc = join(folder, 'etc');
    const work = join(folder, 'work');
    mkdirSync(join(etc, 'sources.list.d'), { recursive: true });
    mkdirSync(work);
    writeFileSync(join(etc, 'sources.list'), 'deb [arch=amd64] http://a.example/ x main\n');
    writeFileSync(join(etc, 'sources.list.d/b.sources'), 'Types: deb\nURIs: http://b.example/\nSuites: y\n');
    writeFileSync(join(etc, 'sources.list.d/old.list.save'), 'deb http://old.example/ z main\n');
    new PrivateApt(work, 'i386', etc);
    expect(readFileSync(join(work, 'sources.list'), 'utf8')).toBe('deb http://a.example/ x main\n');
    expect(readFileSync(join(work, 'sources.list.d/b.sources'), 'utf8')).toContain('http://b.example/');
    const config = readFileSync(join(work, 'apt.conf'), 'utf8');
    for (const setting of [
      'Dir::State ',
      'Dir::State::lists',
      'Dir::State::status',
      'Dir::Cache',
      'Dir::Etc::sourcelist',
      'Dir::Etc::sourceparts',
    ]) {
      expect(config).toMatch(new RegExp(`^${setting} ?"${work}`, 'm'));
    }
    expect(config).toContain('APT::Architectures { "i386"; };');
    // Hooks of the system would touch the system.
    expect(config).toContain('#clear APT::Update::Post-Invoke;');
  });

  it('says so where the machine has no sources', () => {
    const etc = join(folder, 'etc');
    const work = join(folder, 'work');
    mkdirSync(etc);
    mkdirSync(work);
    expect(() => new PrivateApt(work, 'i386', etc)).toThrow(Failure);
    expect(() => new PrivateApt(work, 'i386', etc)).toThrow(/no package sources/);
  });
});

describe('fetchKernels', () => {
  it('refuses what is no folder, and makes none where none can be', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    for (const [path, why] of [
      [file, 'there is a file of that name'],
      [join(file, 'below'), 'a part of its path is not a folder'],
      ['/proc/umbra/kernels', ''],
    ] as const) {
      const refused = await fetchKernels(path, new TestHost()).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(InputError);
      expect((refused as InputError).message).toContain(`Cannot put files into ${path}: ${why}`);
    }
  });

  it('says what is missing where there is no apt', async () => {
    const path = process.env.PATH;
    process.env.PATH = folder;
    try {
      await expect(fetchKernels(join(folder, 'out'), new TestHost())).rejects.toThrow(
        /umbra kernels needs apt-get, which this system does not have/,
      );
    } finally {
      process.env.PATH = path;
    }
  });
});
