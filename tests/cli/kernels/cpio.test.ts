import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { packCpio } from '../../../src/cli/kernels/cpio.ts';
import { makeInitramfs } from '../../../src/cli/kernels/initramfs.ts';

interface Entry {
  mode: number;
  links: number;
  device: [number, number];
  data: string;
}

/** Reads a newc archive as the kernel's document describes it: an independent check of the writer. */
function unpack(bytes: Uint8Array): Map<string, Entry> {
  const text = (from: number, to: number) => Buffer.from(bytes.subarray(from, to)).toString('latin1');
  const entries = new Map<string, Entry>();
  for (let at = 0; ; ) {
    expect(text(at, at + 6)).toBe('070701');
    const field = (index: number) => {
      const digits = text(at + 6 + index * 8, at + 14 + index * 8);
      expect(digits).toMatch(/^[0-9a-f]{8}$/i);
      return Number.parseInt(digits, 16);
    };
    // inode, mode, uid, gid, links, mtime, size, major, minor, rmajor, rminor, name length, checksum
    expect([field(2), field(3), field(5), field(12)]).toEqual([0, 0, 0, 0]);
    const nameEnd = at + 110 + field(11);
    expect(bytes[nameEnd - 1]).toBe(0);
    const name = text(at + 110, nameEnd - 1);
    const dataStart = (nameEnd + 3) & ~3;
    const dataEnd = dataStart + field(6);
    if (name === 'TRAILER!!!') {
      expect(dataEnd).toBe(bytes.length);
      return entries;
    }
    entries.set(name, {
      mode: field(1),
      links: field(4),
      device: [field(9), field(10)],
      data: text(dataStart, dataEnd),
    });
    at = (dataEnd + 3) & ~3;
  }
}

describe('packCpio', () => {
  it('writes files, folders, links and devices', () => {
    const entries = unpack(
      packCpio([
        { kind: 'directory', name: 'd' },
        { kind: 'file', name: 'd/odd', mode: 0o755, data: Buffer.from('12345') },
        { kind: 'file', name: 'empty', data: new Uint8Array(0) },
        { kind: 'symlink', name: 'd/link', target: 'odd' },
        { kind: 'character-device', name: 'console', major: 5, minor: 1 },
      ]),
    );
    expect([...entries.keys()]).toEqual(['d', 'd/odd', 'empty', 'd/link', 'console']);
    expect(entries.get('d')).toEqual({ mode: 0o40755, links: 2, device: [0, 0], data: '' });
    expect(entries.get('d/odd')).toEqual({ mode: 0o100755, links: 1, device: [0, 0], data: '12345' });
    expect(entries.get('empty')?.data).toBe('');
    expect(entries.get('d/link')).toMatchObject({ mode: 0o120777, data: 'odd' });
    expect(entries.get('console')).toMatchObject({ mode: 0o20600, device: [5, 1] });
  });
});

describe('makeInitramfs', () => {
  const busybox = Buffer.from('not really busybox');

  it('holds what the kernel needs to start /init', () => {
    const entries = unpack(gunzipSync(makeInitramfs(busybox)));
    expect(entries.get('bin/busybox')).toMatchObject({ mode: 0o100755, data: 'not really busybox' });
    expect(entries.get('bin/sh')?.data).toBe('busybox');
    expect(entries.get('dev/console')?.device).toEqual([5, 1]);
    const init = entries.get('init');
    expect(init?.mode).toBe(0o100755);
    expect(init?.data).toMatch(/^#!\/bin\/sh\n/);
    expect(init?.data).toContain('echo "UMBRA-USERSPACE-OK $(uname -r)"');
    expect(init?.data).toMatch(/\npoweroff -f\n$/);
    // Every folder comes before what is in it.
    const names = [...entries.keys()];
    for (const name of names.filter((path) => path.includes('/'))) {
      const parent = names.indexOf(name.slice(0, name.lastIndexOf('/')));
      expect(parent).toBeGreaterThanOrEqual(0);
      expect(parent).toBeLessThan(names.indexOf(name));
    }
  });

  it('names every program that /init calls', () => {
    const entries = unpack(gunzipSync(makeInitramfs(busybox)));
    const init = entries.get('init')?.data ?? '';
    for (const program of [
      'mount',
      'uname',
      'md5sum',
      'dd',
      'seq',
      'grep',
      'sort',
      'wc',
      'tr',
      'awk',
      'mkdir',
      'cat',
      'poweroff',
    ]) {
      expect(init).toMatch(new RegExp(`\\b${program}\\b`));
      expect(entries.has(`bin/${program}`)).toBe(true);
    }
  });

  it('is the same bytes every time, without date or system', () => {
    const first = makeInitramfs(busybox);
    expect(makeInitramfs(busybox)).toEqual(first);
    // RFC 1952: bytes 4 to 7 are the date, byte 9 the system.
    expect([...first.subarray(4, 8), first[9]]).toEqual([0, 0, 0, 0, 255]);
  });
});
