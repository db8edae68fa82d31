import { spawnSync } from 'node:child_process';
import type { CpuFeature, Scenario } from '../../src/grid/scenario.ts';
import { elsewhereScenarios, hasNestedPaging } from './images.ts';
import { type Command, runProgram, runToEnd } from './machine.ts';
import type { Transcript } from './transcript.ts';

const PROGRAM = 'qemu-system-i386';
/** Milliseconds without a word from the image; its longest scenario takes a fraction of a second. */
const PATIENCE = 10_000;

/** Why QEMU cannot be used here; undefined if it can. */
export function qemuMissing(): string | undefined {
  const { status } = spawnSync(PROGRAM, ['--version']);
  return status === 0 ? undefined : `${PROGRAM} is not installed (Debian: apt-get install qemu-system-x86)`;
}

/** Runs an image file on QEMU's own processor without some features. */
export const runOnQemu = (file: string, absent: readonly CpuFeature[]): Promise<Transcript> =>
  runToEnd((commandLine) => runProgram(qemuCommand(file, absent, commandLine), PATIENCE));

/** What shows that nested tables of a host without PAE are not walked, without and with CR4.PSE. */
const TABLES_NOT_WALKED = ['npt/2-level/2-level/mends', 'npt/2-level-pse/2-level/rights-2'];

/**
 * Below a host without PAE QEMU does not walk nested tables. Where they lead elsewhere than to the same address, the L2 of
 * nearly every scenario runs whatever lies there, and the machine stands still: two of them are enough.
 */
export const isLostOnQemu = ({ name }: Scenario): boolean =>
  /^npt\/2-level(?:-pse)?\//.test(name) && !TABLES_NOT_WALKED.includes(name);

/** What runs on QEMU's own processor. */
export const qemuScenarios = (): Scenario[] =>
  elsewhereScenarios().filter((scenario) => !isLostOnQemu(scenario));

/** With every scenario without nested paging, those that show all that is known of QEMU in a few seconds. */
const SHORT_NESTED = [
  ...TABLES_NOT_WALKED,
  'npt/pae/off/refusals-without-npt',
  'npt/pae/2-level/refusals',
  'npt/pae/2-level/rights-2',
  'npt/pae/2-level/rights-3',
  'npt/pae/pae/edits-unflushed',
  'npt/pae/pae/beyond-4-gib',
  'npt/identity/2-level/pae/toggles',
  'npt/identity/pae/pae/registers-0',
  'directed/nested-pat',
  'directed/nested-rights-pae',
  'directed/nested-pdptes-edited',
  'directed/nested-pdptes-of-guest',
];
export const shortQemuScenarios = (): Scenario[] =>
  qemuScenarios().filter((scenario) => !hasNestedPaging(scenario) || SHORT_NESTED.includes(scenario.name));

/** QEMU with an image file COM1 being its standard output. SVM is there only in an AMD model. */
export function qemuCommand(file: string, absent: readonly CpuFeature[], commandLine: string): Command {
  const cpu = ['EPYC', ...absent.map((feature) => `-${feature}`)].join(',');
  return {
    program: PROGRAM,
    // biome-ignore format: one option and its value each
    args: [
      '-M', 'pc', '-accel', 'tcg', '-cpu', cpu, '-m', '128', '-kernel', file, '-append', commandLine,
      '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-display', 'none', '-serial', 'stdio',
      '-monitor', 'none', '-net', 'none', '-no-reboot',
    ],
  };
}
