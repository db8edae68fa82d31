import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWithKernels, kernelFile } from './kernels.ts';

const READY = 'UMBRA-USERSPACE-OK';
/** The bounds: seconds for one boot, and what L0 may cost. */
const LONGEST = 120;
const MOST_L0_RATIO = 3;
/** The same with nested paging, which leaves the guest's page tables to the processor. */
const MOST_NESTED_RATIO = 1.3;

interface Boot {
  readonly status: number | null;
  readonly serial: string;
  readonly stats: {
    readonly instructions: number;
    readonly seconds: number;
    readonly exits: Readonly<Record<string, number>>;
    readonly mmu: { readonly shadowPages: number; readonly faults: number };
  };
}

describeWithKernels('Debian kernels', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'umbra-boot-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Boots as a user would, up to the first line of user space. */
  function boot(kernel: string, l0: 'none' | 'shadow' | 'npt', host?: 'pae' | 'nopae'): Boot {
    const stats = join(folder, `${kernel}-${l0}-${host}.json`);
    const run = spawnSync(
      process.execPath,
      // biome-ignore format: one option and its value each
      ['dist/cli/main.js', 'run', kernelFile(kernel), '--initrd', kernelFile('initramfs.cpio.gz'), '--l0', l0,
        ...(host === undefined ? [] : ['--host', host]), '--append', 'console=ttyS0 cryptomgr.notests', '--until', READY, '--stats', stats, '--timeout', '240'],
      { encoding: 'latin1', maxBuffer: 1 << 26 },
    );
    return { status: run.status, serial: run.stdout, stats: JSON.parse(readFileSync(stats, 'utf8')) };
  }

  it.each(['vmlinuz-686', 'vmlinuz-686-pae'])(
    '%s reaches user space, bare and as a guest of L0',
    (kernel) => {
      const bare = boot(kernel, 'none');
      expect(bare.status, bare.serial.slice(-2000)).toBe(0);
      expect(bare.serial).toContain(READY);
      const shadow = boot(kernel, 'shadow');
      expect(shadow.status, shadow.serial.slice(-2000)).toBe(0);
      expect(shadow.serial).toContain(READY);
      expect(shadow.stats.mmu.shadowPages).toBeGreaterThan(0);
      expect(shadow.stats.exits.VMEXIT_IOIO).toBeGreaterThan(0);
      const report = `${kernel}: bare ${bare.stats.seconds.toFixed(1)} s, L0 ${shadow.stats.seconds.toFixed(1)} s`;
      console.log(report);
      expect(bare.stats.seconds, report).toBeLessThan(LONGEST);
      expect(shadow.stats.seconds, report).toBeLessThan(LONGEST);
      expect(shadow.stats.seconds / bare.stats.seconds, report).toBeLessThanOrEqual(MOST_L0_RATIO);
    },
  );

  it.each(['vmlinuz-686', 'vmlinuz-686-pae'])(
    '%s reaches user space below nested tables of both formats',
    (kernel) => {
      const bare = boot(kernel, 'none');
      expect(bare.status, bare.serial.slice(-2000)).toBe(0);
      for (const host of ['pae', 'nopae'] as const) {
        const nested = boot(kernel, 'npt', host);
        expect(nested.status, nested.serial.slice(-2000)).toBe(0);
        expect(nested.serial).toContain(READY);
        expect(nested.stats.exits.VMEXIT_NPF).toBeGreaterThan(0);
        expect(nested.stats.exits.VMEXIT_EXCP14 ?? 0).toBe(0);
        const report = `${kernel} on ${host}: bare ${bare.stats.seconds.toFixed(1)} s, L0 ${nested.stats.seconds.toFixed(1)} s`;
        console.log(report);
        expect(nested.stats.seconds / bare.stats.seconds, report).toBeLessThanOrEqual(MOST_NESTED_RATIO);
      }
    },
  );
});
