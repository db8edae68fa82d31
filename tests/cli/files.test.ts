import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
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
import { closeAll, LiveFile, OutputFile, refuseSharedOutput } from '../../src/cli/files.ts';

let folder: string;
const path = (name: string): string => join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-files-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

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

  it.each([
    ['a folder', '.', 'it is a folder'],
    ['in no folder', 'no/x', 'there is no such file or folder'],
    ['below a file', 'file/x', 'a part of its path is not a folder'],
  ])('cannot be %s', (_, name, why) => {
    writeFileSync(path('file'), '');
    for (const Kind of [OutputFile, LiveFile]) {
      expect(() => new Kind(path(name), 'file')).toThrow(InputError);
      expect(() => new Kind(path(name), 'file')).toThrow(why);
    }
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

  it.runIf(existsSync('/dev/full'))('says that the disk is full', () => {
    for (const Kind of [OutputFile, LiveFile]) {
      const file = new Kind('/dev/full', 'file');
      file.write('x');
      expect(() => file.close()).toThrow(Failure);
    }
  });
});

describe('two results', () => {
  it.runIf(existsSync('/dev/full'))('are both written, though the disk is full for the first', () => {
    const full = new OutputFile('/dev/full', 'file');
    const other = new OutputFile(path('other'), 'file');
    for (const file of [full, other]) file.write('x');
    expect(() => closeAll(full, undefined, other)).toThrow('Cannot write the file /dev/full');
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
