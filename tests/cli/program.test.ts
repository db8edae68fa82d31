import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { InputError } from '../../src/arch/input-error.ts';
import { Failure } from '../../src/cli/failure.ts';
import { reports as realReports } from '../../src/cli/grid/reports.ts';
import { umbra } from '../../src/cli/program.ts';
import type { Progress } from '../../src/cli/progress.ts';
import type { MachineConfig } from '../../src/cli/run/session.ts';
import type { Services } from '../../src/cli/services.ts';
import { directedScenarios } from '../../src/grid/directed/directed.ts';
import type { HuntVerdict } from '../../src/grid/mutants/hunt.ts';
import { INEXPRESSIBLE } from '../../src/grid/mutants/inexpressible.ts';
import { MUTANTS } from '../../src/grid/mutants/mutants.ts';
import type { ScenarioFailure, ScenarioReport } from '../../src/grid/replay.ts';
import { type CellVerdict, type PartVerdict, partTitle } from '../../src/grid/run-grid.ts';
import { GRID_HOST_NAMES } from '../../src/grid/run-host.ts';
import { parseScenarios } from '../../src/grid/text/parse.ts';
import { surveyHosts as surveyRealHosts } from '../../src/vmm/host-survey.ts';
import { ActedMachine, type Step, TestHost } from './host.ts';

let folder: string;
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-test-'));
  for (const name of ['image', 'initrd', 'module']) writeFileSync(file(name), name);
});
afterAll(() => rmSync(folder, { recursive: true }));

const POWER_OFF: Step[] = [{ send: 'bye\n' }, { stop: { kind: 'power-off' } }];

async function call(args: string[], services: Partial<Services> = {}, steps: Step[] = POWER_OFF) {
  const host = new TestHost();
  const configs: MachineConfig[] = [];
  const status = await umbra(args, '1.2.3', host, {
    createMachine: (config) => {
      configs.push(config);
      return new ActedMachine(config, steps);
    },
    runGrid: () => cells([]),
    listScenarios: () => [],
    showScenario: (name) => `scenario ${name}\n`,
    replay: () => reports([]),
    exportImage: () => image([1, 2, 3]),
    random: () => reports([]),
    fetchKernels: async () => {},
    work: async () => 0,
    soakBench: () => ({
      execute: async function* () {},
      reduce: () => ({ name: '', mismatches: [], text: '' }),
    }),
    reports: realReports,
    mutants: (names) => MUTANTS.filter(({ name }) => names.length === 0 || names.includes(name)),
    inexpressible: INEXPRESSIBLE,
    scenarios: () => [],
    huntMutants: () => hunts([]),
    surveyHosts: () => [],
    ...services,
  });
  return { status, host, configs, out: host.out, error: host.error };
}

async function* cells(result: PartVerdict[]): AsyncGenerator<Progress, PartVerdict[]> {
  yield { done: 0, total: 2 };
  yield { done: 1, total: 2 };
  return result;
}

async function* hunts(verdicts: HuntVerdict[]): AsyncGenerator<Progress, HuntVerdict[]> {
  yield { done: 1, total: 1 };
  return verdicts;
}

async function* image(bytes: number[]): AsyncGenerator<Progress, Uint8Array> {
  yield { done: 1, total: 1 };
  return Uint8Array.from(bytes);
}

async function* reports(
  failures: ScenarioFailure[],
  skipped: ScenarioReport['skipped'] = [],
): AsyncGenerator<Progress, ScenarioReport> {
  yield { done: 1, total: 1 };
  return { scenarios: 1, probes: 7, failures, skipped };
}

describe('umbra', () => {
  it('tells its version', async () => {
    expect(await call(['--version'])).toMatchObject({ status: 0, out: '1.2.3\n', error: '' });
  });

  it.each([
    [[]],
    [['run']],
    [['grid']],
    [['mutants']],
    [['worker']],
    [['soak']],
    [['export']],
    [['hosts']],
    [['kernels']],
  ])('helps: %j', async (command: string[]) => {
    const { status, out, error } = await call([...command, '--help']);
    expect(status).toBe(0);
    expect(out).toMatch(/^Usage: umbra/);
    expect(out.split('\n').filter((line) => line.length > 125)).toEqual([]);
    expect(error).toBe('');
  });

  it('says that a soak ends with a batch', async () => {
    const { out } = await call(['soak', '--help']);
    expect(out).toContain('batches of 200');
    expect(out).toContain('it never runs less than one');
  });

  it.each([
    ['run', '0 2 70 74 120 122 124 130, 143 (v << 1) | 1'],
    ['grid', '0 1 2 69 70 74'],
    ['mutants', '0 2 70 74'],
    ['worker', '0 2 69 70 74'],
    ['soak', '0 1 2 69 70 74'],
    ['export', '0 2 70 74'],
    ['hosts', '0 2 70 74'],
    ['kernels', '0 2 69 70 74'],
  ])('has the exit statuses in the help of %s', async (command, statuses) => {
    const { out } = await call([command, '--help']);
    const rows = /^Exit status:\n((?: {2}.+\n)+)/m.exec(out)?.[1] ?? '';
    expect(rows.match(/^ {2}\S.*?(?= {2})/gm)?.map((status) => status.trim())).toEqual(
      statuses.match(/130, 143|\(.*1|\d+/g),
    );
    // Everything in one column.
    expect(new Set(rows.match(/^ {2}.*? {2,}(?=\S)/gm)?.map(({ length }) => length)).size).toBe(1);
  });

  it.each<[string[], RegExp]>([
    [[], /Usage: umbra/],
    [['fly'], /unknown command 'fly'/],
    [['run'], /missing required argument 'image'/],
    [['run', 'a', 'b'], /too many arguments/],
    [['run', 'a', '--nonsense'], /unknown option '--nonsense'/],
    [['run', 'a', '--memory'], /argument missing/],
    [
      ['run', 'a', '--memory', 'lots'],
      /^umbra: --memory lots: must be 1M to 2G, a multiple of 4K; write it like 256M or 1G\.\n$/,
    ],
    [['run', 'a', '--memory', '4G'], /^umbra: --memory 4G: must be 1M to 2G/],
    [['run', 'a', '--memory', '1985M', '--l0', 'shadow'], /--memory 1985M: under L0 it must be 1M to 1984M/],
    [['run', 'a', '--l0', 'ept'], /Allowed choices are none, shadow/],
    [['run', 'a', '--cpu', '386'], /no CPU model "386"/],
    [['run', 'a', '--cpu', 'pentium,pae'], /neither \+feature nor -feature/],
    [['run', 'a', '--until', '*'], /--until \*: must be a JavaScript regular expression/],
    [['run', 'a', '--timeout', '-3'], /--timeout -3: must be a positive number|argument missing/],
    [['run', 'a', '--max-instructions', '0'], /--max-instructions 0: must be a whole number from 1 up/],
    [['run', 'a', '--raw', 'here'], /--raw here: must be ADDRESS/],
    [['run', 'a', '--check'], /needs --l0 shadow/],
    [
      ['run', 'a', '--host', 'nopae'],
      /--host is the kernel that L0 is part of, so it needs --l0 shadow or npt/,
    ],
    [['run', 'a', '--load-policy', 'reject'], /--load-policy is about L0, so it needs --l0 shadow or npt/],
    [['run', 'a', '--l0', 'shadow', '--host', 'long'], /Allowed choices are pae, nopae, nopae-nx/],
    [['run', 'a', '--l0', 'shadow', '--load-policy', 'no'], /Allowed choices are reject, allow, require-pae/],
    [['run', 'a', '--trace', 'b'], /--trace writes what L0 does, so it needs --l0 shadow/],
    [['run', 'a', '--host-cpu', 'opteron'], /--host-cpu .* needs --l0 shadow/],
    [['run', 'a', '--initrd', 'b', '--initrd', 'c'], /--initrd is given twice: b and c\./],
    [['run', 'a', '--stats', 'b', '--stats', 'c'], /--stats is given twice: b and c\./],
    [['run', 'a', '--cpu', 'current-amd,+nx,-nx'], /nx.*both added and removed/],
    [
      ['grid', 'x', '--replay', 'y'],
      /"x" chooses among the scenarios of the grid, which --replay does not run/,
    ],
    [
      ['grid', '--trace', 'x', '--l0', 'none'],
      /--trace writes what L0 does, so it needs an --l0 that is not none/,
    ],
    [
      ['grid', '--l0', 'none', '--load-policy', 'reject'],
      /--load-policy is about L0, so it needs an --l0 that/,
    ],
    [['grid', '--trace', 'x', '--queue', 'redis://a'], /--trace and --queue do not go together/],
    [['grid', '--json', '/tmp/x', '--html', '/tmp/../tmp/x'], /--json and --html both write to/],
    [['grid', '--queue', 'localhost'], /--queue localhost: must be the address of a queue, like redis/],
    [['soak', '--hours', '0'], /"0" is no time; write hours as a positive number/],
    [['worker'], /required option '--queue <url>' not specified/],
    [['grid', '--jobs', '0'], /--jobs 0: must be a whole number from 1 to 256/],
    [['kernels', 'a', 'b'], /too many arguments/],
  ])('refuses %j with a sentence and status 2', async (args, sentence) => {
    const { status, out, error, configs } = await call(args);
    expect(status).toBe(2);
    expect(error).toMatch(sentence);
    expect(out).toBe('');
    expect(configs).toEqual([]);
  });
});

describe('umbra run', () => {
  it('hands the machine what was asked for', async () => {
    const options = [
      '--l0',
      'shadow',
      '--cpu',
      'opteron,-nx',
      '--memory',
      '64M',
      '--initrd',
      file('initrd'),
      '--check',
    ];
    const { status, configs, out } = await call(['run', file('image'), ...options, '--append', 'a b']);
    expect({ status, out }).toEqual({ status: 0, out: 'bye\n' });
    const [config] = configs as [MachineConfig];
    expect(config).toMatchObject({
      l0: 'shadow',
      memorySize: 64 * 2 ** 20,
      commandLine: 'a b',
      imageName: 'image',
      modules: [],
      check: true,
      raw: undefined,
    });
    expect(config.cpu.name).toBe('opteron,-nx');
    expect(Buffer.from(config.image).toString()).toBe('image');
    expect(Buffer.from(config.initrd as Uint8Array).toString()).toBe('initrd');
  });

  it('has the defaults of its help: bare, 256 MiB, nothing else', async () => {
    const [config] = (await call(['run', file('image')])).configs as [MachineConfig];
    expect(config).toMatchObject({ l0: 'none', memorySize: 2 ** 28, commandLine: '', check: false });
    expect(config.initrd).toBeUndefined();
    expect(config.trace).toBeUndefined();
  });

  it('takes several modules, with strings', async () => {
    const modules = ['--module', file('module'), '--module', `${file('module')} x y`];
    const [config] = (await call(['run', file('image'), ...modules, '--raw', '0x9000'])).configs as [
      MachineConfig,
    ];
    expect(config.modules.map(({ commandLine }) => commandLine)).toEqual([
      file('module'),
      `${file('module')} x y`,
    ]);
    expect(Buffer.from(config.modules[1]?.data as Uint8Array).toString()).toBe('module');
    expect(config.raw).toEqual({ address: 0x9000, mode: 'real' });
  });

  it.each([
    ['image', ['run', '/nowhere/image'], /Cannot read the image \/nowhere\/image: there is no such file/],
    ['folder', ['run', '/'], /Cannot read the image \/: it is a folder/],
  ])('says which file it cannot read: %s', async (_, args, sentence) => {
    const { status, error } = await call(args);
    expect(status).toBe(2);
    expect(error).toMatch(sentence);
  });

  it('says which initrd, module, statistics file or trace it cannot use', async () => {
    for (const name of ['--initrd', '--module', '--stats', '--trace']) {
      const { status, error } = await call([
        'run',
        file('image'),
        '--l0',
        'shadow',
        name,
        join(folder, 'no', 'thing'),
      ]);
      expect(status).toBe(2);
      expect(error).toMatch(/^umbra: Cannot (read|write) the .*: there is no such file or folder\.\n$/);
    }
  });

  it('ends with 2 and the sentence for an image that cannot be', async () => {
    const createMachine = () => {
      throw new InputError('The ELF image is truncated.');
    };
    const { status, error } = await call(['run', file('image')], { createMachine });
    expect({ status, error }).toEqual({ status: 2, error: 'umbra: The ELF image is truncated.\n' });
  });

  it('writes statistics and the trace', async () => {
    const stats = file('stats.json');
    const trace = file('trace.txt');
    const { status } = await call(
      ['run', file('image'), '--l0', 'shadow', '--stats', stats, '--trace', trace, '--until', 'by.'],
      {
        createMachine: (config) => {
          config.trace?.('first');
          config.trace?.('second');
          return new ActedMachine(config, POWER_OFF);
        },
      },
    );
    expect(status).toBe(0);
    expect(readFileSync(trace, 'utf8')).toBe('first\nsecond\n');
    const written = JSON.parse(readFileSync(stats, 'utf8'));
    expect(written).toMatchObject({
      end: 'until',
      status: 0,
      instructions: 4,
      entries: 7,
      nxSwitches: 6,
      exits: { VMEXIT_HLT: 3 },
      mmu: { shadowPages: 1, roots: 2, syncs: 3, faults: 4, roleChanges: 5 },
    });
    // The clock of the test moves by a millisecond at each look: one look before and one after the machine is made.
    expect(written.setupSeconds).toBe(0.001);
    expect(written.seconds).toBeGreaterThan(0);
    expect(written.mips).toBeCloseTo(written.instructions / written.seconds / 1e6, 12);
  });

  it('leaves files alone that were there when the image is bad, and makes none', async () => {
    writeFileSync(file('old.json'), 'old');
    writeFileSync(file('old.txt'), 'old');
    const createMachine = () => {
      throw new InputError('The ELF image is truncated.');
    };
    for (const [stats, trace] of [
      [file('old.json'), file('old.txt')],
      [file('fresh.json'), file('fresh.txt')],
    ] as const) {
      const options = ['--l0', 'shadow', '--stats', stats, '--trace', trace];
      expect((await call(['run', file('image'), ...options], { createMachine })).status).toBe(2);
    }
    expect(readFileSync(file('old.json'), 'utf8')).toBe('old');
    expect(readFileSync(file('old.txt'), 'utf8')).toBe('old');
    expect(readdirSync(folder).filter((name) => name.startsWith('fresh'))).toEqual([]);
  });

  it('empties the trace of another run once this one has begun', async () => {
    writeFileSync(file('again.txt'), 'old');
    await call(['run', file('image'), '--l0', 'shadow', '--trace', file('again.txt')]);
    expect(readFileSync(file('again.txt'), 'utf8')).toBe('');
  });

  it('refuses two results in one file', async () => {
    const options = ['--l0', 'shadow', '--stats', file('same'), '--trace', `${folder}/./same`];
    const { status, error } = await call(['run', file('image'), ...options]);
    expect(status).toBe(2);
    expect(error).toMatch(/^umbra: --stats and --trace both write to .*same; name two files\.\n$/);
  });

  it('refuses an empty initrd', async () => {
    writeFileSync(file('empty'), '');
    const { status, error } = await call(['run', file('image'), '--initrd', file('empty')]);
    expect({ status, error }).toEqual({ status: 2, error: `umbra: The initrd ${file('empty')} is empty.\n` });
  });

  it('ends with 122 and statistics where L0 gives up', async () => {
    const stats = file('failure.json');
    const steps: Step[] = [{ stop: { kind: 'l0-failure', message: 'L0 cannot go on: x.' } }];
    const { status, error } = await call(['run', file('image'), '--stats', stats], {}, steps);
    expect({ status, error }).toEqual({ status: 122, error: 'umbra: L0 cannot go on: x.\n' });
    expect(JSON.parse(readFileSync(stats, 'utf8'))).toMatchObject({ end: 'l0-failure', status: 122 });
  });

  it('calls an error that nobody foresaw by its name', async () => {
    const createMachine = () => {
      throw new TypeError('x is not a function');
    };
    const { status, error } = await call(['run', file('image')], { createMachine });
    expect(status).toBe(70);
    expect(error).toMatch(/^umbra: internal error: x is not a function; please report it\.\n/);
    expect(error).not.toContain(' at ');
  });

  it('names models, features and statuses in its help', async () => {
    const { out } = await call(['run', '--help']);
    for (const word of ['486', 'pentium-pro', 'current-amd', 'nx', 'decodeassists', 'smap', '122', '70'])
      expect(out).toMatch(new RegExp(`[\\s,]${word}[\\s,]`));
    expect(out).not.toContain('avic');
  });

  it('says on standard error why it stopped early', async () => {
    const { status, error } = await call(['run', file('image'), '--max-instructions', '10'], {}, []);
    expect({ status, error }).toEqual({ status: 124, error: 'umbra: stopped after 10 instructions.\n' });
  });
});

describe('umbra run under L0', () => {
  it('hands on the paging of L0, its kernel and the load policy', async () => {
    const options = ['--l0', 'npt', '--host', 'nopae', '--load-policy', 'allow'];
    const [config] = (await call(['run', file('image'), ...options])).configs as [MachineConfig];
    expect(config).toMatchObject({ l0: 'npt', host: 'nopae', loadPolicy: 'allow' });
  });
});

describe('umbra hosts', () => {
  const surveyHosts = () =>
    surveyRealHosts([{ name: 'pentium', about: 'old', model: parseCpuModel('pentium') }]);

  it('prints a line for each kernel, and what it died of', async () => {
    const { status, out } = await call(['hosts'], { surveyHosts });
    expect(status).toBe(0);
    expect(out).toMatch(/^pentium \[1\] +pae +#GP\(0\) \[2\] +0 +0 +-/m);
    expect(out).toMatch(/^ +nopae +yes +0 +0 +yes +ok +ok +refuses \[\d\]/m);
    expect(out).toMatch(/^\[1\] old$/m);
    expect(out).toMatch(/^\[2\] #GP\(0\) at 0x4010[0-9a-f]{2}: mov cr4,eax \(default_entry\+0x/m);
  });

  it('prints JSON', async () => {
    const rows = JSON.parse((await call(['hosts', '--json'], { surveyHosts })).out);
    expect(rows).toHaveLength(5);
    expect(rows[0]).toMatchObject({
      cpu: 'pentium',
      kernel: 'pae',
      boot: { kind: 'died', vector: 13, errorCode: 0 },
    });
    expect(rows[1]).toMatchObject({
      kernel: 'nopae',
      boot: { kind: 'booted' },
      pae: false,
      nxe: false,
      policies: { reject: null, allow: null },
    });
  });
});

describe('umbra mutants', () => {
  it('lists each with its history and what catches it, and the bugs without a mutant', async () => {
    const { status, out } = await call(['mutants']);
    expect(status).toBe(0);
    expect(out).toContain(
      'wp-not-in-role\n' +
        '  CR0.WP is no part of the role: what became writable under WP=0 stays writable under WP=1.\n' +
        '  KVM: mended 2010, "Segregate shadow pages with different cr0.wp"\n' +
        '  caught by a probe, directed/wp-toggled\n\n',
    );
    for (const { name } of MUTANTS)
      expect(out).toContain(`\n${name}\n`.slice(name === MUTANTS[0].name ? 1 : 0));
    for (const { subject, reason } of INEXPRESSIBLE) {
      expect(out).toContain(subject);
      expect(out).toContain(reason);
    }
  });

  it('lists those named', async () => {
    const { out } = await call(['mutants', 'no-flush-on-cr3']);
    expect(out).toMatch(/^no-flush-on-cr3\n {2}.*\n {2}caught by a probe, directed\/edited-then-flushed\n/);
    expect(out).not.toContain('wp-not-in-role');
    expect(out).not.toContain('no mutant');
    expect(out).not.toContain('lives on');
  });

  it('says where those of nested paging live', async () => {
    const { out } = await call(['mutants', 'private-tables-not-emptied', 'nested-nx-ignored']);
    expect(out).toMatch(/^nested-nx-ignored\n {2}.*\n {2}lives on npt\/pae\n {2}caught by a probe/);
    expect(out).toMatch(
      /\nprivate-tables-not-emptied\n {2}.*\n {2}lives on npt\/nopae\n {2}caught by a probe/,
    );
  });
});

describe('umbra grid --mutants', () => {
  const caught: HuntVerdict = {
    mutant: 'wp-not-in-role',
    on: 'shadow/pae',
    finding: {
      caught: 'by a probe',
      scenario: 'directed/wp-toggled',
      step: 10,
      story: 'must fault; saw value 0x1',
    },
    scenarios: 1,
    asExpected: true,
  };
  const proved: HuntVerdict = {
    mutant: 'no-flush-on-vmrun',
    on: 'shadow/pae',
    finding: { caught: 'never' },
    scenarios: 110,
    asExpected: true,
  };

  it('says what caught each, and ends with 0 if all are as their entries say', async () => {
    const asked: unknown[] = [];
    const { status, out } = await call(
      ['grid', '--mutants', '--jobs', '3', 'wp-not-in-role', 'no-flush-on-vmrun'],
      {
        huntMutants: (requests, setup) => {
          asked.push(requests, setup);
          return hunts([caught, proved]);
        },
      },
    );
    expect(asked).toEqual([[{ mutant: 'wp-not-in-role' }, { mutant: 'no-flush-on-vmrun' }], { jobs: 3 }]);
    expect(status).toBe(0);
    expect(out).toMatch(
      /^wp-not-in-role {5}caught by a probe, directed\/wp-toggled, step 10\nno-flush-on-vmrun {2}no bug, as proved\n\n2 mutants: 1 caught by a probe, 0 only by --check, 1 proved to be no bug, 0 survived; 111 scenarios, /,
    );
  });

  it.each<[HuntVerdict, RegExp]>([
    [{ ...proved, asExpected: false }, /^no-flush-on-vmrun {2}SURVIVED\n[\s\S]* 1 survived/],
    [{ ...caught, asExpected: false }, /NOT AS ITS ENTRY SAYS\n\nmust fault; saw value 0x1\n/],
  ])('ends with 1 otherwise: %j', async (verdict, text) => {
    const { status, out } = await call(['grid', '--mutants'], { huntMutants: () => hunts([verdict]) });
    expect(status).toBe(1);
    expect(out).toMatch(text);
  });

  it('hunts where it is told to: at home if that is among the hosts, else under the same paging', async () => {
    const asked: unknown[] = [];
    const huntMutants: Services['huntMutants'] = (requests) => {
      asked.push(requests.map(({ on }) => on));
      return hunts([caught]);
    };
    const names = ['wp-not-in-role', 'nested-nx-ignored', 'private-tables-not-emptied'];
    for (const options of [[], ['--l0', 'npt'], ['--host', 'nopae'], ['--l0', 'shadow', '--host', 'nopae']])
      await call(['grid', '--mutants', ...names, ...options], { huntMutants });
    expect(asked).toEqual([
      [undefined, undefined, undefined],
      ['npt/pae', 'npt/pae', 'npt/nopae'],
      ['shadow/nopae', 'npt/nopae', 'npt/nopae'],
      ['shadow/nopae', 'shadow/nopae', 'shadow/nopae'],
    ]);
  });

  it('tells of a mutant that lives elsewhere by name, and does not count it as survived', async () => {
    const idle: HuntVerdict = {
      ...caught,
      on: 'npt/pae',
      finding: { caught: 'not run', why: 'it lives on shadow/pae' },
      scenarios: 0,
    };
    const unseen: HuntVerdict = { ...caught, on: 'shadow/nopae', finding: { caught: 'never' } };
    const seen: HuntVerdict = { ...caught, on: 'shadow/nopae' };
    const junit = file('mutants.xml');
    const { status, out } = await call(['grid', '--mutants', '--host', 'nopae', '--junit', junit], {
      huntMutants: () => hunts([idle, unseen, seen]),
    });
    expect(status).toBe(0);
    expect(out.split('\n').slice(0, -2)).toEqual([
      'wp-not-in-role  not run: it lives on shadow/pae',
      'wp-not-in-role  not caught on shadow/nopae, but it lives on shadow/pae',
      'wp-not-in-role  caught by a probe on shadow/nopae, directed/wp-toggled, step 10',
      '',
    ]);
    expect(out).toContain(
      '\n3 mutants: 1 caught by a probe, 0 only by --check, 0 proved to be no bug, 0 survived, 1 not caught there, 1 not run; 2 scenarios, ',
    );
    expect(readFileSync(junit, 'utf8')).toContain(
      'name="wp-not-in-role"><skipped message="it lives on shadow/pae"/></testcase>',
    );
  });

  it('runs scenarios that are chosen or in files, and takes no name of one for the name of a mutant', async () => {
    writeFileSync(file('one.scenario'), 'first');
    const chosen = directedScenarios().slice(0, 2);
    const asked: unknown[] = [];
    const { status } = await call(
      ['grid', '--mutants', 'wp-not-in-role', '--only', 'directed/x', '--replay', file('one.scenario')],
      {
        scenarios: (choice, files) => {
          asked.push(choice, files);
          return chosen;
        },
        huntMutants: (requests) => {
          asked.push(requests);
          return hunts([caught]);
        },
      },
    );
    expect(status).toBe(0);
    expect(asked).toEqual([
      { patterns: ['directed/x'], seed: 1 },
      [{ source: file('one.scenario'), text: 'first' }],
      [{ mutant: 'wp-not-in-role', scenarios: chosen }],
    ]);
  });

  it('takes a seed for random scenarios that --only chooses', async () => {
    const asked: unknown[] = [];
    const scenarios: Services['scenarios'] = (choice) => {
      asked.push(choice);
      return [];
    };
    const args = ['grid', '--mutants', '--only', 'random/7/1', '--seed', '7'];
    expect(await call(args, { scenarios })).toMatchObject({ status: 0 });
    expect(asked).toEqual([{ patterns: ['random/7/1'], seed: 7 }]);
  });

  it('writes the trace of one', async () => {
    const { status } = await call(['grid', '--mutants', 'wp-not-in-role', '--trace', file('mutant.trace')], {
      huntMutants: (_, { trace }) => {
        trace?.('first');
        return hunts([caught]);
      },
    });
    expect(status).toBe(0);
    expect(readFileSync(file('mutant.trace'), 'utf8')).toBe('first\n');
  });

  it('says why no mutant was run', async () => {
    const finding = { caught: 'not run', why: 'it lives on shadow/pae' } as const;
    const { status, error } = await call(['grid', '--mutants', '--l0', 'npt'], {
      huntMutants: () => hunts([{ ...caught, on: 'npt/pae', finding }]),
    });
    expect({ status, error }).toEqual({
      status: 2,
      error: 'umbra: No mutant was run. wp-not-in-role on npt/pae: it lives on shadow/pae.\n',
    });
  });

  it('counts one mutant and one scenario as one', async () => {
    const { out } = await call(['grid', '--mutants'], { huntMutants: () => hunts([caught]) });
    expect(out).toMatch(/^1 mutant: .*; 1 scenario, /m);
  });

  it('has a queue hunt them where it is told to', async () => {
    const setups: unknown[] = [];
    const args = ['grid', '--mutants', '--queue', 'redis://localhost', '--jobs', '2'];
    const huntMutants: Services['huntMutants'] = (_, setup) => {
      setups.push(setup);
      return hunts([caught]);
    };
    expect(await call(args, { huntMutants })).toMatchObject({ status: 0 });
    expect(setups).toEqual([{ jobs: 2, queue: 'redis://localhost' }]);
  });

  it('writes the reports', async () => {
    const reports = ['json', 'junit', 'html'] as const;
    const args = reports.flatMap((report) => [`--${report}`, file(`mutants.${report}`)]);
    const { status } = await call(['grid', '--mutants', ...args], {
      huntMutants: () => hunts([caught, { ...proved, asExpected: false }]),
    });
    expect(status).toBe(1);
    const [json, junit, html] = reports.map((report) => readFileSync(file(`mutants.${report}`), 'utf8'));
    const { mutants, seconds } = JSON.parse(json);
    expect(seconds).toBeGreaterThan(0);
    expect(mutants).toMatchObject([
      { name: 'wp-not-in-role', outcome: 'caught by a probe', scenario: 'directed/wp-toggled', step: 10 },
      { name: 'no-flush-on-vmrun', outcome: 'survived', asExpected: false, scenarios: 110 },
    ]);
    expect(junit).toContain('<testsuites name="umbra grid --mutants" tests="2" failures="1" skipped="0"');
    expect(html).toContain('<h3>directed/wp-toggled on this mutant</h3>');
  });

  it.each([
    [['--l0', 'none'], 'needs an --l0 that is not none'],
    [['--check'], 'where no probe catches'],
    [['--trace', 'somewhere'], '--trace is of one mutant, and these are '],
    [['wp-not-in-role', '--trace', 'x', '--queue', 'redis://a'], '--trace and --queue do not go together'],
    [['--show', 'x'], '--show and --mutants do not go together'],
    [['--json', 'one', '--html', 'one'], '--json and --html'],
    [['--list'], 'do not go together'],
  ])('refuses %j', async (args, sentence) => {
    const { status, error } = await call(['grid', '--mutants', ...args]);
    expect(status).toBe(2);
    expect(error).toContain(sentence);
  });
});

describe('umbra grid', () => {
  const good: CellVerdict = {
    on: 'shadow/pae',
    l1: '2-level',
    way: 'shadow',
    l2: 'PAE',
    scenarios: 1,
    switches: 12,
    probes: 40,
    mismatches: 0,
    details: [],
    skipped: [],
    summaries: [],
  };
  const bad: CellVerdict = {
    on: 'shadow/pae',
    l1: 'PAE',
    way: 'npt',
    l2: 'PAE',
    scenarios: 2,
    switches: 30,
    probes: 50,
    mismatches: 2,
    details: ['read at 0x1000: page fault'],
    skipped: [],
    summaries: [{ name: 'pae/pae/edits', about: 'Edits.', probes: 50, mismatches: ['a < b', 'c'] }],
  };

  it('prints the table and ends with 0 when every probe is right', async () => {
    const { status, out, error } = await call(['grid'], { runGrid: () => cells([good]) });
    expect(status).toBe(0);
    expect(out).toMatch(
      /^An L1 hypervisor runs L2s[\s\S]*A probe is one [\s\S]*\.\n\nOn L0 with shadow paging on a PAE kernel \(shadow\/pae\):\n\nL1 \\ L2 {2}PAE\n-+ {2}-+\n2-level {2}40 ok\n\n1 scenario, 12 switches between levels and modes, 40 probes judged by the oracle, 0 mismatches, /,
    );
    expect(error).toBe('');
  });

  it('runs the scenarios that patterns choose', async () => {
    const asked: unknown[] = [];
    await call(['grid', 'edits', '--only', '2-level/*', '--only', 'x?'], {
      runGrid: (_setup, _host, choice) => {
        asked.push(choice);
        return cells([]);
      },
    });
    expect(asked).toEqual([{ patterns: ['edits', '2-level/*', 'x?'], seed: 1 }]);
  });

  it('lists scenarios', async () => {
    const { status, out } = await call(['grid', '--list', 'one'], {
      listScenarios: (_setup, { patterns }) => [{ name: `a/${patterns[0]}`, about: 'What it is.' }],
    });
    expect({ status, out }).toEqual({ status: 0, out: 'a/one\n    What it is.\n' });
  });

  it('writes the trace of a scenario', async () => {
    await call(['grid', 'one', '--trace', file('grid.trace')], {
      runGrid: ({ trace }) => {
        trace?.('first');
        trace?.('second');
        return cells([]);
      },
    });
    expect(readFileSync(file('grid.trace'), 'utf8')).toBe('first\nsecond\n');
  });

  it('shows what is wrong and ends with 1', async () => {
    const { status, out } = await call(['grid'], { runGrid: () => cells([good, bad]) });
    expect(status).toBe(1);
    expect(out).toContain('2 of 50 WRONG');
    expect(out).toContain('90 probes judged by the oracle, 2 mismatches');
    expect(out).toContain('  shadow/pae, L1 PAE with NPT, L2 PAE: read at 0x1000: page fault');
  });

  it('says what did not run: in its cell, in the sum, and why', async () => {
    const skips = [
      { name: 'a', about: '', probes: 0, mismatches: [], skipped: 'there is no NX' },
      { name: 'b', about: '', probes: 0, mismatches: [], skipped: 'there is no NX' },
    ];
    const some = {
      ...good,
      way: 'npt',
      probes: 22,
      skipped: ['a: there is no NX', 'b: there is no NX'],
      summaries: skips,
    } as const;
    const refusals = { name: 'npt/x/refusals', about: '', probes: 22, mismatches: [] };
    const one = { ...some, l1: 'PAE', summaries: [...skips, refusals] } as const;
    const { out } = await call(['grid'], { runGrid: () => cells([good, some, one]) });
    expect(out).toContain(
      '2-level           40 ok\n2-level with NPT  22 ok, 2 skipped\nPAE with NPT      22 ok in refusals, 2 skipped\n',
    );
    expect(out).toMatch(
      /\n3 scenarios, .*, 0 mismatches, 4 scenarios skipped, .* s\n {2}skipped a and 3 more: there is no NX\n$/,
    );
  });

  it('writes JSON', async () => {
    await call(['grid', '--json', file('grid.json')], { runGrid: () => cells([good, bad]) });
    const written = JSON.parse(readFileSync(file('grid.json'), 'utf8'));
    const { summaries: _, ...written1 } = good;
    const { summaries: __, ...written2 } = bad;
    expect(written.cells).toEqual([written1, written2]);
    expect(written.seconds).toBeGreaterThan(0);
  });

  it('has a line, and a list in the JSON, for scenarios of no cell', async () => {
    const { l1: _, way: __, l2: ___, ...found } = bad;
    const { status, out } = await call(['grid', '--json', file('grid.json')], {
      runGrid: () => cells([good, { group: 'directed', ...found }]),
    });
    expect(status).toBe(1);
    expect(out).toContain('2-level  40 ok\n\ndirected: 2 of 50 WRONG\n\n3 scenarios, ');
    expect(out).toContain('  shadow/pae, directed: read at 0x1000: page fault\n');
    const { cells: inCells, groups } = JSON.parse(readFileSync(file('grid.json'), 'utf8'));
    expect(inCells).toHaveLength(1);
    expect(groups).toMatchObject([{ group: 'directed', scenarios: 2, probes: 50, mismatches: 2 }]);
  });

  it('writes the other reports', async () => {
    const args = ['grid', '--junit', file('grid.xml'), '--html', file('grid.html')];
    const { status } = await call(args, {
      runGrid: () => cells([bad]),
      reports: {
        ...realReports,
        junit: (found, seconds) => `${found.length} cells, ${seconds > 0 ? 'timed' : 'untimed'}`,
        html: async function* (found, { hosts }) {
          yield { done: 1, total: 1 };
          return `${partTitle(found[0])}; ${hosts}`;
        },
      },
    });
    expect(status).toBe(1);
    expect(readFileSync(file('grid.xml'), 'utf8')).toBe('1 cells, timed');
    expect(readFileSync(file('grid.html'), 'utf8')).toBe(
      `shadow/pae, L1 PAE with NPT, L2 PAE; ${GRID_HOST_NAMES.join()}`,
    );
  });
});

describe('a place where nothing can be written', () => {
  const mustNotStart = () => {
    throw new Error('must not start');
  };
  const services = {
    runGrid: mustNotStart,
    huntMutants: mustNotStart,
    exportImage: mustNotStart,
    createMachine: mustNotStart,
  };
  const COMMANDS = [
    ['grid', '--json'],
    ['grid', '--junit'],
    ['grid', '--html'],
    ['grid', '--trace'],
    ['grid', '--mutants', '--json'],
    ['grid', '--mutants', '--html'],
    ['export', '--all', '--output'],
    ['run', 'package.json', '--stats'],
    ['run', 'package.json', '--l0', 'shadow', '--trace'],
    ['soak', '--hours', '1', '--corpus'],
  ];

  it.each(COMMANDS)('is told of before the work of %s %s %s', async (...args) => {
    const path = file('nowhere/x');
    const { status, out, error } = await call([...args, path], services);
    expect({ status, out }).toEqual({ status: 2, out: '' });
    expect(error).toMatch(/^umbra: Cannot write the [\w ]+ /);
    expect(error).toContain(` ${path}: there is no such file or folder.\n`);
  });

  it.runIf(existsSync('/dev/full')).each(COMMANDS.filter(([name]) => name !== 'soak'))(
    'may be a device: %s %s %s',
    async (...args) => {
      const { status, out, error } = await call([...args, '/dev/full'], services);
      expect({ status, out }).toEqual({ status: 2, out: '' });
      expect(error).toMatch(/^umbra: Cannot write the [\w ]+ \/dev\/full: the disk is full\.\n$/);
    },
  );
});

describe('a result that cannot be written in the end', () => {
  /** A pipe that somebody has open for reading. */
  function pipe(name: string) {
    execFileSync('mkfifo', [file(name)]);
    const reader = openSync(file(name), constants.O_RDONLY | constants.O_NONBLOCK);
    return { path: file(name), leave: () => closeSync(reader) };
  }

  it.each<[string, string[]]>([
    ['of the grid', ['grid', '--json']],
    ['of mutants', ['grid', '--mutants', '--json']],
    ['of an export', ['export', '--all', '-o']],
    ['of a guest with a status of its own', ['run', 'package.json', '--stats']],
  ])('ends with 74: that %s', async (what, args) => {
    const { path, leave } = pipe(what);
    /** While the work goes on. */
    function leaving<Result>(result: Result): Result {
      leave();
      return result;
    }
    const { status, error } = await call([...args, path], {
      runGrid: () => leaving(cells([])),
      huntMutants: () => leaving(hunts([])),
      exportImage: () => leaving(image([1])),
      createMachine: (config) =>
        leaving(new ActedMachine(config, [{ stop: { kind: 'debug-exit', value: 1 } }])),
    });
    expect(status).toBe(74);
    // And nothing else, as of a size that was written.
    expect(error).toMatch(/^umbra: Cannot write the [^\n]+: EPIPE[^\n]+\n$/);
    expect(error).toContain(` ${path}: `);
  });
});

describe('umbra grid with scenarios', () => {
  it('shows a scenario', async () => {
    expect(await call(['grid', '--show', 'pae/pae/edits'])).toMatchObject({
      status: 0,
      out: 'scenario pae/pae/edits\n',
    });
  });

  it('replays files, on the machine that was asked for', async () => {
    writeFileSync(file('one.scenario'), 'first');
    writeFileSync(file('two.scenario'), 'second');
    const asked: unknown[] = [];
    const args = [
      'grid',
      '--replay',
      file('one.scenario'),
      '--replay',
      file('two.scenario'),
      '--check',
      '--jobs',
      '1',
    ];
    const { status, out } = await call(args, {
      replay: (files, setup) => {
        asked.push(files, setup);
        return reports([]);
      },
    });
    expect(asked).toEqual([
      [
        { source: file('one.scenario'), text: 'first' },
        { source: file('two.scenario'), text: 'second' },
      ],
      { hosts: GRID_HOST_NAMES.filter((name) => name !== 'bare'), check: true, jobs: 1 },
    ]);
    expect({ status, out }).toEqual({
      status: 0,
      out: '1 scenario on shadow/pae, shadow/nopae, npt/pae, npt/nopae: 7 probes judged by the oracle, no mismatch\n',
    });
  });

  it('tells what differs and ends with 1', async () => {
    writeFileSync(file('one.scenario'), 'first');
    const failure = { name: 'x', mismatches: ['step 1 is wrong'], text: '' };
    const { status, out } = await call(['grid', '--replay', file('one.scenario')], {
      replay: () => reports([failure]),
    });
    expect(status).toBe(1);
    expect(out).toBe(
      'step 1 is wrong\n1 scenario on bare, shadow/pae, shadow/nopae, npt/pae, npt/nopae: 7 probes judged by the oracle, 1 scenario with mismatches\n',
    );
  });

  it('runs random scenarios of a seed', async () => {
    const asked: unknown[] = [];
    const { status, out } = await call(['grid', '--random', '2K', '--seed', '0xff', '--l0', 'none'], {
      random: (run, { hosts }) => {
        asked.push(run, hosts);
        return reports([]);
      },
    });
    expect(asked).toEqual([{ count: 2000, seed: 255, nested: false }, ['bare']]);
    expect(status).toBe(0);
    expect(out).toMatch(/^1 scenario on bare: 7 probes judged by the oracle, no mismatch, seed 255, .* s\n$/);
  });

  it('says how many scenarios were left out, and why', async () => {
    writeFileSync(file('one.scenario'), 'first');
    const skipped = [
      { name: 'a', why: 'there is no NX' },
      { name: 'b', why: 'there is no memory to remove' },
      { name: 'c', why: 'there is no NX' },
    ];
    const lines = '  skipped a and 1 more: there is no NX\n  skipped b: there is no memory to remove\n';
    const random = await call(['grid', '--random', '4'], { random: () => reports([], skipped) });
    expect(random.out).toMatch(
      /^1 scenario on .*: 7 probes judged by the oracle, no mismatch, seed 1, 3 skipped, .* s\n/,
    );
    expect(random.out.split('\n').slice(1).join('\n')).toBe(lines);
    const replayed = await call(['grid', '--replay', file('one.scenario')], {
      replay: () => reports([], skipped),
    });
    expect(replayed.out).toMatch(/, no mismatch\n/);
    expect(replayed.out.split('\n').slice(1).join('\n')).toBe(lines);
  });

  it('runs random scenarios with nested paging where L1 can use it', async () => {
    const asked: unknown[] = [];
    await call(['grid', '--random', '50K', '--nested'], {
      random: (run, { hosts }) => {
        asked.push(run, hosts);
        return reports([]);
      },
    });
    expect(asked).toEqual([
      { count: 50_000, seed: 1, nested: true },
      GRID_HOST_NAMES.filter((name) => !name.startsWith('shadow/')),
    ]);
  });

  it('runs on any kernel below L0, but on one that no table differs by only if it is asked for', async () => {
    const asked: unknown[] = [];
    const random: Services['random'] = (_, { hosts }) => {
      asked.push(hosts);
      return reports([]);
    };
    await call(['grid', '--random', '1', '--host', 'nopae-nx'], { random });
    await call(['grid', '--random', '1', '--l0', 'npt'], { random });
    await call(['grid', '--random', '1', '--l0', 'npt', '--host', 'nopae-nx'], { random });
    expect(asked).toEqual([['shadow/nopae-nx', 'npt/nopae-nx'], ['npt/pae', 'npt/nopae'], ['npt/nopae-nx']]);
  });

  it('prints what fails as a scenario file', async () => {
    const failure = {
      name: 'x',
      mismatches: ['step 1\n  is wrong'],
      text: 'scenario x\n  About x.\n  L1: off\n',
    };
    const { status, out } = await call(['grid', '--random', '1'], { random: () => reports([failure]) });
    expect(status).toBe(1);
    expect(out).toMatch(/^# step 1\n# {3}is wrong\nscenario x\n/);
    expect(parseScenarios(out, 'standard output').map(({ name }) => name)).toEqual(['x']);
  });

  it.each([
    [['--random', '0'], '--random 0: must be a whole number'],
    [['--random', '5', '--seed', '-1'], '--seed -1: must be a whole number'],
    [['--replay', 'a', '--seed', '7'], '--seed chooses random scenarios, and --replay runs none'],
    [['--show', 'a', '--seed', '7'], '--seed chooses random scenarios, and --show runs none'],
    [['--mutants', '--seed', '7'], '--seed chooses random scenarios, and --mutants runs none'],
    [['--nested'], '--nested is about random scenarios; add --random'],
    [['--random', '5', '--nested', '--l0', 'shadow'], '--nested needs a host that offers L1 nested paging'],
    [['--random', '5', '--show', 'a'], '--show and --random do not go together'],
    [['--replay', '/nowhere/x'], 'Cannot read the scenario file /nowhere/x: there is no such file'],
    [['--show', 'a', '--json', 'b'], '--show and --json do not go together'],
    [['--check', '--l0', 'none'], '--check examines'],
    [['--l0', 'none', '--host', 'pae'], 'The bare processor has no host kernel'],
  ])('refuses %j', async (args, sentence) => {
    const { status, error } = await call(['grid', ...args]);
    expect(status).toBe(2);
    expect(error).toContain(sentence);
  });
});

describe('umbra kernels', () => {
  it('goes to kernels/ unless told otherwise, and says what it does', async () => {
    const folders: string[] = [];
    const fetchKernels: Services['fetchKernels'] = async (target, host) => {
      folders.push(target);
      host.stderr.write('one step\n');
    };
    expect(await call(['kernels'], { fetchKernels })).toMatchObject({ status: 0, error: 'one step\n' });
    await call(['kernels', 'there'], { fetchKernels });
    expect(folders).toEqual(['kernels', 'there']);
  });

  it('ends with 69 and a sentence where it cannot be done', async () => {
    const fetchKernels = async () => {
      throw new Failure('umbra kernels needs apt-get.');
    };
    expect(await call(['kernels'], { fetchKernels })).toMatchObject({
      status: 69,
      error: 'umbra: umbra kernels needs apt-get.\n',
    });
  });
});
