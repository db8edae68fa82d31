import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import initSqlJs from 'sql.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Corpus } from '../../src/cli/soak/corpus.ts';
import { type SoakBench, soak } from '../../src/cli/soak/soak.ts';
import type { ScenarioVerdict } from '../../src/grid/judge.ts';
import type { RunHostName } from '../../src/grid/run-host.ts';
import { TestHost } from './host.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
let folder = '';
const file = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-soak-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Scenarios of which every one whose number ends in 7 fails, from 100 up for another reason. */
class Bench implements SoakBench {
  readonly reduced: number[] = [];
  readonly hosts: string[] = [];
  readonly nested: boolean[] = [];
  readonly asked: number[] = [];

  readonly execute: SoakBench['execute'] = async function* (
    this: Bench,
    tasks: Parameters<SoakBench['execute']>[0],
  ) {
    // Backwards, as threads may do.
    for (const [index, { work }] of [...tasks.entries()].reverse()) {
      const number = 'seed' in work ? work.index : -1;
      this.asked.push(number);
      yield { index, verdict: this.#verdict(number) };
    }
  }.bind(this);

  readonly reduce: SoakBench['reduce'] = ({ seed, index: number, nested }, on) => {
    this.nested.push(nested === true);
    this.reduced.push(number);
    this.hosts.push(on);
    return { name: 'small', mismatches: [`story of ${number}`], text: `scenario small-${seed}-${number}` };
  };

  #verdict(number: number): ScenarioVerdict {
    if (number % 10 !== 7) return { probes: 5, switches: 0, mismatches: [] };
    const reason = number < 100 ? 'it halted' : 'it reset the machine';
    const text = `Scenario random-${number} did not finish: after step ${number} because ${reason}.`;
    return { probes: 5, switches: 0, mismatches: [{ scenario: 'random', index: -1, text }] };
  }
}

async function run(
  corpus: string,
  hours: number,
  bench = new Bench(),
  hosts: readonly RunHostName[] = ['bare', 'shadow/pae'],
) {
  const host = new TestHost();
  const options = {
    hours,
    seed: 4,
    corpus: file(corpus),
    hosts,
    check: false,
    jobs: 1,
  } as const;
  const status = await soak(options, host, () => bench);
  return { status, host, bench };
}

/** The test host's clock goes a millisecond at each look: one batch. */
const ONE_BATCH = 1.5 / 3_600_000;

describe('umbra soak', () => {
  it('keeps each cause once, in the order of the numbers', async () => {
    const { status, host, bench } = await run('one.sqlite', ONE_BATCH);
    expect(status).toBe(1);
    expect(bench.reduced).toEqual([7, 107]);
    expect(bench.hosts).toEqual(['shadow/pae', 'shadow/pae']);
    expect(host.out).toBe(
      [
        '# 10 times: It did not finish: after step # because it halted.',
        '# story of 7',
        'scenario small-4-7',
        '# 10 times: It did not finish: after step # because it reset the machine.',
        '# story of 107',
        'scenario small-4-107',
        '',
      ].join('\n'),
    );
    expect(host.error).toContain('200 scenarios, 1000 probes, 2 causes of failure');
  });

  it('has nested paging in every second scenario of a host that offers it', async () => {
    const bare = await run('bare.sqlite', ONE_BATCH, new Bench(), ['bare']);
    expect(bare.bench.nested).toEqual([true, true]);
    expect(bare.host.error).toContain('New failure in random/nested/4/7: ');
    const shadow = await run('shadow.sqlite', ONE_BATCH, new Bench(), ['shadow/pae']);
    expect(shadow.bench.nested).toEqual([false, false]);
    expect(shadow.host.error).toContain('New failure in random/4/7: ');
  });

  it('goes on where it was left', async () => {
    const first = await run('two.sqlite', ONE_BATCH);
    const second = await run('two.sqlite', ONE_BATCH);
    expect(Math.max(...first.bench.asked)).toBe(199);
    expect([Math.min(...second.bench.asked), Math.max(...second.bench.asked)]).toEqual([200, 399]);
    expect(second.bench.reduced).toEqual([]);
    expect(second.host.error).toContain('400 scenarios, 2000 probes, 2 causes of failure');
    expect(second.host.out).toContain('# 30 times: It did not finish: after step # because it reset');
  });

  it('loses nothing that was saved when it is killed in the middle of a save', async () => {
    await run('three.sqlite', ONE_BATCH);
    const whole = readFileSync(file('three.sqlite'));
    // As a kill leaves it: half of the new file beside the old one.
    writeFileSync(file('three.sqlite.new'), whole.subarray(0, whole.length / 2));
    const { host } = await run('three.sqlite', ONE_BATCH);
    expect(host.error).toContain('400 scenarios');
    expect(existsSync(file('three.sqlite.new'))).toBe(false);
  });

  it('prints what others have put into a corpus so that no terminal obeys it', async () => {
    const corpus = await Corpus.open(file('strange.sqlite'));
    const text = '\x1b]0;title\x07\n\x9b31m\r';
    corpus.add({ cause: text, seed: 1, number: 0, count: 1, scenario: text, story: text });
    corpus.save();
    const { host } = await run('strange.sqlite', ONE_BATCH, new Bench());
    expect(host.out).toContain(
      '# 1 time: \\x1b]0;title\\x07 \\x9b31m\\x0d\n# \\x1b]0;title\\x07\n# \\x9b31m\\x0d\n\\x1b]0;title\\x07\n\\x9b31m\\x0d\n',
    );
  });

  it('refuses a file that is something else, and leaves it alone', async () => {
    for (const [name, bytes] of [
      ['text', 'no database'],
      ['empty', ''],
    ]) {
      writeFileSync(file(name), bytes);
      await expect(Corpus.open(file(name))).rejects.toThrow('is no corpus of umbra soak');
      expect(readFileSync(file(name), 'utf8')).toBe(bytes);
    }
  });

  it.each([
    ['a table of another shape', 'DROP TABLE seeds; CREATE TABLE seeds (seed INTEGER PRIMARY KEY)'],
    ['a number below zero', 'INSERT INTO seeds VALUES (4, -5, 0, 0)'],
    ['a number that no double holds', 'INSERT INTO seeds VALUES (4, 0, 9223372036854775807, 0)'],
  ])('refuses a corpus with %s', async (what, sql) => {
    const path = file(`${what}.sqlite`);
    (await Corpus.open(path)).save();
    const { Database } = await initSqlJs();
    const database = new Database(readFileSync(path));
    database.run(sql);
    writeFileSync(path, database.export());
    await expect(Corpus.open(path)).rejects.toThrow('is no corpus of umbra soak, or a damaged one');
  });

  it('refuses a corpus whose pages are damaged, in the schema or behind it', async () => {
    const path = file('damaged.sqlite');
    const corpus = await Corpus.open(path);
    for (let number = 0; number < 100; number++)
      corpus.add({ cause: `${number}`, seed: 1, number, count: 1, scenario: 'x'.repeat(500), story: '' });
    corpus.save();
    const whole = readFileSync(path);
    for (const from of [200, 4096, 5 * 4096]) {
      const bytes = Uint8Array.from(whole);
      for (let at = from; at < bytes.length; at += 7) bytes[at] ^= 0x55;
      writeFileSync(path, bytes);
      await expect(Corpus.open(path)).rejects.toThrow('is no corpus of umbra soak, or a damaged one');
    }
  });

  it('says before the work that a place cannot be read or written', async () => {
    await expect(Corpus.open(folder)).rejects.toThrow(`Cannot write the corpus ${folder}: it is a folder.`);
    const nowhere = file('missing/corpus.sqlite');
    await expect(Corpus.open(nowhere)).rejects.toThrow(
      `Cannot write the corpus ${nowhere}: there is no such`,
    );
  });

  it.runIf(existsSync('/dev/null'))('is no device', async () => {
    await expect(Corpus.open('/dev/null')).rejects.toThrow(
      'Cannot write the corpus /dev/null: it is a device or a pipe.',
    );
    expect(statSync('/dev/null').isFile()).toBe(false);
  });

  it('does not write over what another soak has written', async () => {
    const corpus = await Corpus.open(file('four.sqlite'));
    await run('four.sqlite', ONE_BATCH);
    expect(() => corpus.save()).toThrow(
      expect.objectContaining({
        message: expect.stringContaining('was changed by somebody else'),
        status: 74,
      }),
    );
  });

  it('runs for real, and any SQLite reads what it leaves', { timeout: 120_000 }, async () => {
    const corpus = file('real.sqlite');
    const args = [
      'dist/cli/main.js',
      'soak',
      '--hours',
      '0.0001',
      '--corpus',
      corpus,
      '--jobs',
      '1',
      '--l0',
      'shadow',
    ];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
    expect(stderr).toMatch(/^200 scenarios, \d{3,} probes, 0 causes of failure$/m);
    expect(readFileSync(corpus).subarray(0, 15).toString()).toBe('SQLite format 3');
    expect((await Corpus.open(corpus)).progress(1)).toMatchObject({ next: 200, scenarios: 200 });
  });
});
