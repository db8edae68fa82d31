import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InputError } from '../../src/arch/input-error.ts';
import { Failure } from '../../src/cli/failure.ts';
import { closeAll, LiveFile, OutputFile, readInput, refuseSharedOutput } from '../../src/cli/files.ts';

let folder: string;
const path = (name: string): string => join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-files-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Makes a pipe with a name. @returns a descriptor to read it by */
function pipe(at: string): number {
  execFileSync('mkfifo', [at]);
  return openSync(at, constants.O_RDONLY | constants.O_NONBLOCK);
}

describe('a file to read', () => {
  it('may be a pipe', () => {
    const read =
      'import("./src/cli/files.ts").then((f) => process.stdout.write(f.readInput("/dev/stdin", "image")))';
    const bytes = Buffer.alloc(200_000, 'abc');
    const { stdout } = spawnSync('bash', ['-c', `cat | ${process.execPath} --import tsx -e '${read}'`], {
      input: bytes,
    });
    expect(bytes.equals(stdout)).toBe(true);
  });

  it.runIf(existsSync('/dev/zero'))('may have no end', () => {
    expect(() => readInput('/dev/zero', 'image')).toThrow(
      'Cannot read the image /dev/zero: it is no file, and has more than 256 MiB.',
    );
  });
});

describe('a file for a result', () => {
  it('changes when it is closed, and then at once', () => {
    writeFileSync(path('x'), 'old');
    chmodSync(path('x'), 0o640);
    const file = new OutputFile(path('x'), 'file');
    file.write('a');
    file.writeBytes(Uint8Array.of(0xff));
    file.write('b');
    expect(readFileSync(path('x'), 'utf8')).toBe('old');
    file.close();
    expect([...readFileSync(path('x'))]).toEqual([0x61, 0xff, 0x62]);
    expect(statSync(path('x')).mode & 0o777).toBe(0o640);
    expect(readdirSync(folder)).toEqual(['x']);
  });

  it('stays as it was where nothing was written, and is not made', () => {
    writeFileSync(path('x'), 'old');
    new OutputFile(path('x'), 'file').close();
    new OutputFile(path('y'), 'file').close();
    expect(readFileSync(path('x'), 'utf8')).toBe('old');
    expect(existsSync(path('y'))).toBe(false);
  });

  it('may be behind a symbolic link, or no file at all', () => {
    writeFileSync(path('x'), 'old');
    symlinkSync('x', path('link'));
    for (const place of [path('link'), '/dev/null']) {
      const file = new OutputFile(place, 'file');
      file.write('new');
      file.close();
    }
    expect(readlinkSync(path('link'))).toBe('x');
    expect(readFileSync(path('x'), 'utf8')).toBe('new');
    expect(statSync('/dev/null').isFile()).toBe(false);
  });

  it('keeps its mode, whatever the umask', () => {
    writeFileSync(path('x'), 'old');
    chmodSync(path('x'), 0o666);
    const file = new OutputFile(path('x'), 'file');
    file.write('new');
    file.close();
    expect(statSync(path('x')).mode & 0o777).toBe(0o666);
  });

  it('leaves a pipe open until all is in it', () => {
    const reader = pipe(path('pipe'));
    const file = new OutputFile(path('pipe'), 'file');
    // Nothing to read yet, which is not the end.
    expect(() => readSync(reader, Buffer.alloc(8))).toThrow('EAGAIN');
    file.write('all');
    file.close();
    const bytes = Buffer.alloc(8);
    expect(readSync(reader, bytes)).toBe(3);
    expect(bytes.toString('utf8', 0, 3)).toBe('all');
    expect(readSync(reader, bytes)).toBe(0);
    closeSync(reader);
  });

  it('may have a name as long as there can be', () => {
    const name = 'x'.repeat(255);
    for (const text of ['old', 'new']) {
      const file = new OutputFile(path(name), 'file');
      file.write(text);
      file.close();
      expect(readFileSync(path(name), 'utf8')).toBe(text);
    }
    expect(readdirSync(folder)).toEqual([name]);
  });

  it.each([
    ['of too long a name', 'x'.repeat(256), 'its name is too long'],
    ['behind links in a circle', 'circle', 'its symbolic links go in circles'],
    ['a folder', '.', 'it is a folder'],
    ['in no folder', 'no/x', 'there is no such file or folder'],
    ['below a file', 'file/x', 'a part of its path is not a folder'],
  ])('cannot be %s', (_, name, why) => {
    writeFileSync(path('file'), '');
    symlinkSync('circle', path('circle'));
    for (const Kind of [OutputFile, LiveFile]) {
      expect(() => new Kind(path(name), 'file')).toThrow(InputError);
      expect(() => new Kind(path(name), 'file')).toThrow(why);
    }
    expect(readdirSync(folder).sort()).toEqual(['circle', 'file']);
  });

  it.runIf(existsSync('/proc/self'))(
    'cannot be where only the attempt shows that nothing can be made',
    () => {
      expect(() => new OutputFile('/proc/umbra.json', 'file')).toThrow(InputError);
    },
  );

  it.runIf(process.getuid?.() !== 0)('cannot be one that may not be written', () => {
    writeFileSync(path('x'), 'old');
    chmodSync(path('x'), 0o444);
    expect(() => new OutputFile(path('x'), 'file')).toThrow('it may not be accessed');
  });

  it.runIf(process.getuid?.() !== 0)('may be in a folder where no other can be made', () => {
    writeFileSync(path('x'), 'old');
    chmodSync(folder, 0o555);
    const file = new OutputFile(path('x'), 'file');
    file.write('new');
    file.close();
    chmodSync(folder, 0o755);
    expect(readFileSync(path('x'), 'utf8')).toBe('new');
  });
});

describe('a file that grows', () => {
  it('loses what was in it when it begins, not before', () => {
    writeFileSync(path('x'), 'old and long');
    const file = new LiveFile(path('x'), 'file');
    expect(readFileSync(path('x'), 'utf8')).toBe('old and long');
    file.begin();
    expect(readFileSync(path('x'), 'utf8')).toBe('');
    file.write('new');
    file.close();
    expect(readFileSync(path('x'), 'utf8')).toBe('new');
  });

  it('is not left behind where nothing began', () => {
    new LiveFile(path('x'), 'file').close();
    expect(existsSync(path('x'))).toBe(false);
  });

  it('says what stands against a write', () => {
    const reader = pipe(path('pipe'));
    const file = new LiveFile(path('pipe'), 'file');
    closeSync(reader);
    file.write('x');
    expect(() => file.close()).toThrow(Failure);
  });
});

describe('a device that takes nothing', () => {
  it.runIf(existsSync('/dev/full'))('is found out before the work', () => {
    for (const Kind of [OutputFile, LiveFile]) {
      expect(() => new Kind('/dev/full', 'image')).toThrow(InputError);
      expect(() => new Kind('/dev/full', 'image')).toThrow(
        'Cannot write the image /dev/full: the disk is full.',
      );
    }
  });
});

describe('two results', () => {
  it('are both written, though nobody reads the first any more', () => {
    const reader = pipe(path('pipe'));
    const first = new OutputFile(path('pipe'), 'file');
    const other = new OutputFile(path('other'), 'file');
    closeSync(reader);
    for (const file of [first, other]) file.write('x');
    expect(() => closeAll(first, undefined, other)).toThrow(Failure);
    expect(readFileSync(path('other'), 'utf8')).toBe('x');
  });

  it('cannot be in one file, by whatever path', () => {
    writeFileSync(path('x'), '');
    symlinkSync('x', path('link'));
    const both = { '--a': path('x'), '--b': undefined, '--c': path('link') };
    expect(() => refuseSharedOutput(both)).toThrow(/^--a and --c both write to .*link; name two files\.$/);
    expect(() => refuseSharedOutput({ '--a': path('x'), '--c': path('y') })).not.toThrow();
    expect(() => refuseSharedOutput({ '--a': '/dev/null', '--c': '/dev/null' })).not.toThrow();
  });
});
