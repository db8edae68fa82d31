/** Truncated and corrupt images: the command ends with status 2 and one sentence. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** An ELF header for i386 whose program header table lies at `phoff`. */
function elf(phoff: number, phnum: number): Uint8Array {
  const bytes = new Uint8Array(52);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 3, true);
  view.setUint32(20, 1, true);
  view.setUint32(24, 0x10_0000, true);
  view.setUint32(28, phoff, true);
  view.setUint16(40, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, phnum, true);
  return bytes;
}

/** A bzImage's first sector with setup sectors that are not there. */
function truncatedBzImage(): Uint8Array {
  const bytes = new Uint8Array(1024);
  const view = new DataView(bytes.buffer);
  bytes[0x1f1] = 30;
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint32(0x202, 0x5372_6448, true);
  view.setUint16(0x206, 0x20f, true);
  bytes[0x211] = 1;
  return bytes;
}

it.each([
  ['an empty file', new Uint8Array(0)],
  ['an ELF header and no more', elf(52, 1)],
  ['an ELF program header table far outside', elf(0xffff_ff00, 0xffff)],
  ['half an ELF header', elf(52, 1).slice(0, 20)],
  ['a bzImage without its setup', truncatedBzImage()],
])('%s is refused with one sentence and status 2', (_name, bytes) => {
  const folder = mkdtempSync(join(tmpdir(), 'umbra-hostile-'));
  try {
    const image = join(folder, 'image');
    writeFileSync(image, bytes);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', 'src/cli/main.ts', 'run', image, '--max-instructions', '1000'],
      { cwd: root, encoding: 'utf8', input: '' },
    );
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toMatch(/^umbra: .{15,}\.\n$/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
