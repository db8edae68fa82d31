import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/arch/input-error.ts';
import { type Job, queuedJob, readJob } from '../../src/cli/jobs/job.ts';
import { directedScenarios } from '../../src/grid/directed/directed.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';

const HOST = { on: 'shadow/pae', check: true } as const;

describe('a job', () => {
  it('is the same behind a queue, which carries JSON', () => {
    const scenarios = [...matrix().flatMap((cell) => cell.scenarios), ...directedScenarios()];
    const jobs: Job[] = [
      ...scenarios.map((work): Job => ({ task: { work, on: 'shadow/pae' }, checks: { check: true } })),
      { task: { work: { seed: 0xffff_ffff, index: 7 }, on: 'bare' }, checks: { check: false } },
      { task: { work: { seed: 3, index: 7, nested: true }, on: 'bare' }, checks: { check: false } },
      { hunt: { mutant: 'wp-not-in-role' } },
      { hunt: { mutant: 'wp-not-in-role', on: 'shadow/nopae', scenarios: directedScenarios() } },
    ];
    for (const job of jobs) {
      const queued = queuedJob(job);
      expect(queuedJob(readJob(JSON.parse(JSON.stringify(queued))))).toEqual(queued);
    }
  });

  const judge = { seed: 1, index: 2 };
  it.each([
    [null, 'A job is an object, and here it is null.'],
    ['x', 'A job is an object, and here it is "x".'],
    [[], 'A job is an object, and here it is [].'],
    [HOST, 'What a job has to judge is an object, and here it is undefined.'],
    [{}, 'A job runs on one of bare, shadow/pae'],
    [{ judge, on: 'ept', check: true }, 'A job runs on one of bare, shadow/pae'],
    [{ scenario: judge, ...HOST }, 'A job has no "scenario"; it has judge, on and check, or hunt.'],
    [{ judge: {}, ...HOST }, 'the text of a scenario, or the seed and index of a random one'],
    [{ judge: { seed: -1, index: 0 }, ...HOST }, 'each a whole number from 0 to 4294967295'],
    [{ judge: { seed: 0, index: 1.5 }, ...HOST }, 'each a whole number from 0 to 4294967295'],
    [
      { judge: { ...judge, nested: 1 }, ...HOST },
      'the text of a scenario, or the seed and index of a random one',
    ],
    [{ judge, on: 'bare', check: 'yes' }, "A job's check is true or false."],
    [
      { judge: 'nonsense', ...HOST },
      'a job, line 1: "nonsense" stands before any scenario; a file begins with "scenario NAME"',
    ],
    [{ judge: '', ...HOST }, 'scenario'],
    [{ hunt: { mutant: 'wp' } }, 'There is no mutant "wp"'],
    [{ hunt: 7 }, 'A hunt is an object, and here it is 7.'],
    [{ hunt: { mutant: 7 } }, 'A hunt has the name of a mutant'],
    [{ hunt: { mutant: 'wp-not-in-role', on: 'bare' } }, 'and perhaps on, a host with an L0'],
    [{ hunt: { mutant: 'wp-not-in-role', scenarios: [] } }, 'and scenarios, their text'],
    [{ hunt: { mutant: 'wp-not-in-role', scenarios: '' } }, 'scenario'],
    [{ hunt: { mutant: 'wp-not-in-role', twice: true } }, 'A hunt has the name of a mutant'],
    [{ hunt: { mutant: 'wp-not-in-role' }, judge }, 'A job with hunt has nothing else.'],
  ])('is not %j', (data, sentence) => {
    const read = (): Job => readJob(data);
    expect(read).toThrow(InputError);
    expect(read).toThrow(sentence);
  });
});
