import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Runs the real program from its sources. */
function run(...args: string[]) {
  return spawnSync(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', ...args], {
    cwd: root,
    encoding: 'utf8',
    input: '',
  });
}

describe('the program itself', () => {
  it('prints the version of the package', () => {
    const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string };
    expect(run('--version')).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('ends with 2 on wrong usage', () => {
    const { status, stdout, stderr } = run('run', 'package.json', '--cpu', 'z80');
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^umbra: .*There is no CPU model "z80"/);
  });
});

/** Runs the built program from a shell, in which `$umbra` is it. */
const shell = (script: string) =>
  spawnSync('bash', ['-c', script], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, umbra: `${process.execPath} dist/cli/main.js` },
  });

describe('standard output', () => {
  it.runIf(existsSync('/dev/full')).each(['mutants', 'hosts --json', 'run --help'])(
    'may be on a full disk: %s',
    (command) => {
      expect(shell(`exec $umbra ${command} >/dev/full`)).toMatchObject({
        status: 74,
        stderr: 'umbra: Cannot write to standard output: the disk is full.\n',
      });
    },
  );

  it('is not taken for whole where only its beginning is written', () => {
    const folder = mkdtempSync(join(tmpdir(), 'umbra-output-'));
    const { status, stderr } = shell(`ulimit -f 4; exec $umbra mutants >${join(folder, 'out')}`);
    const { size } = statSync(join(folder, 'out'));
    rmSync(folder, { recursive: true });
    expect({ status, stderr, size }).toEqual({
      status: 74,
      stderr: 'umbra: Cannot write to standard output: it gets larger than a file may be.\n',
      size: 4096,
    });
  });

  it('may be a pipe whose reader goes', () => {
    const { status, stdout, stderr } = shell('set -o pipefail; $umbra grid --list | head -1 | wc -l');
    expect({ status, stdout: stdout.trim(), stderr }).toEqual({ status: 0, stdout: '1', stderr: '' });
  });

  it.runIf(existsSync('/dev/full'))('keeps its status where standard error is full', () => {
    expect(shell('exec $umbra grid --seed x 2>/dev/full').status).toBe(2);
  });
});
