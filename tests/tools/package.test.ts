import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

const CONSUMER = `
import { Machine, HostedMachine, parseCpuModel, Assembler, Cpu } from 'umbra';
const machine = new Machine({ model: parseCpuModel('486'), memoryBytes: 1 << 20 });
export const kind: string = machine.run(1).kind;
export const parts = [HostedMachine, Assembler, Cpu];
`;

describe('the package', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'umbra-consumer-'));
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(root, join(folder, 'node_modules/umbra'));
    symlinkSync(join(root, 'node_modules/@types'), join(folder, 'node_modules/@types'));
    symlinkSync(join(root, 'node_modules/undici-types'), join(folder, 'node_modules/undici-types'));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(folder, 'consumer.ts'), CONSUMER);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  // Declarations are read whole here, which skipLibCheck would hide.
  it.each([
    ['in Node', 'es2023', 'node'],
    ['in a browser', 'es2023,dom', ''],
    ['anywhere', 'es2023', ''],
  ])('has types that serve %s', { timeout: 60_000 }, (_, lib, types) => {
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const options = ['--strict', '--noEmit', '--target', 'es2023', '--module', 'nodenext', '--lib', lib];
    const { stdout } = spawnSync(process.execPath, [tsc, ...options, '--types', types, 'consumer.ts'], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(stdout).toBe('');
  });

  it('holds nothing of the build but what it made', () => {
    const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] };
    const { stdout } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: root,
      encoding: 'utf8',
    });
    const [{ files: packed }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
    const paths = packed.map(({ path }) => path);
    expect(files).toContain('dist');
    expect(paths).toContain('dist/index.d.ts');
    expect(paths.filter((path) => /(^|\/)\./.test(path))).toEqual([]);
  });
});
