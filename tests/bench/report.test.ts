import { describe, expect, it } from 'vitest';
import { BENCHES, type Bench } from '../../bench/benches.ts';
import { parseOptions, UsageError } from '../../bench/options.ts';
import { evaluate, median } from '../../bench/report.ts';
import { count, Table } from '../../bench/table.ts';

const bench: Bench = {
  name: 'made-up',
  unit: 'things',
  units: 1000,
  subject: 'umbra',
  peer: 'v86',
  measure: () => Promise.reject(new Error('not asked')),
};

const run = (seconds: number, cpuSeconds: number) => ({ seconds, cpuSeconds, result: 0 });

describe('the report of npm run bench', () => {
  it('takes the middle value, or the mean of the middle two', () => {
    expect(median([3, 100, 1])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });

  it('compares medians, by the clock and by CPU time', () => {
    const result = evaluate(
      bench,
      new Map([
        [
          'umbra' as const,
          {
            runs: [run(2, 1), run(4, 1), run(2, 1)].map((one) => ({
              ...one,
              instructions: 6e6,
              exits: { VMEXIT_CPUID: 3, VMEXIT_IOIO: 1 },
            })),
          },
        ],
        ['v86' as const, { runs: [run(1, 3), run(1, 3), run(9, 3)] }],
      ]),
    );
    expect(result.engines.umbra).toMatchObject({
      seconds: 2,
      mips: 3,
      unitsPerSecond: 500,
      exitsPerSecond: 2,
    });
    // v86 counts no instructions; it ran the same program.
    expect(result.engines.v86).toMatchObject({ seconds: 1, mips: 6, exitsPerSecond: undefined });
    expect(result.ratios).toEqual({ v86: { byClock: 0.5, byCpuTime: 3 } });
  });

  it('keeps what the others did where one engine failed', () => {
    const result = evaluate(
      bench,
      new Map([
        ['umbra' as const, { failure: 'it ended early' }],
        ['v86' as const, { runs: [run(1, 1)] }],
      ]),
    );
    expect(result.failures).toEqual({ umbra: 'it ended early' });
    expect(result.engines.v86?.seconds).toBe(1);
    expect(new Table(false).row(result)).toContain('umbra failed: it ended early');
  });

  it('writes counts with three digits', () => {
    expect([0.5, 12.34, 999, 1234, 5.6e7, 2e9].map(count)).toEqual([
      '0.500',
      '12.3',
      '999',
      '1.23 k',
      '56.0 M',
      '2.00 G',
    ]);
  });
});

describe('the options of npm run bench', () => {
  const names = (...args: string[]): string[] => {
    const options = parseOptions(args);
    if (typeof options === 'string') throw new Error(options);
    return options.benches.map(({ name }) => name);
  };

  it('choose by name, or by the beginning of several', () => {
    expect(names()).toEqual(BENCHES.map(({ name }) => name));
    expect(names('--only', 'int-iret')).toEqual(['int-iret']);
    expect(names('--only', 'x87,rep-movs')).toEqual(['rep-movs-64k', 'rep-movs-short', 'x87']);
  });

  it('choose whom to compare with', () => {
    expect(parseOptions([])).toMatchObject({ peers: true, interpreter: false, runs: undefined });
    expect(parseOptions(['--interpreter', '--runs', '5'])).toMatchObject({
      peers: true,
      interpreter: true,
      runs: 5,
    });
    expect(parseOptions(['--no-peers'])).toMatchObject({ peers: false });
  });

  it('are refused with a sentence', () => {
    for (const [args, sentence] of [
      [['--only', 'nothing'], '--only nothing: there is no such bench; --list shows all.'],
      [['--runs', '0'], '--runs 0: a whole number from 1 on is wanted.'],
      [['--runs', 'many'], '--runs many: a whole number from 1 on is wanted.'],
      [['--jsn', 'x'], "Unknown option '--jsn'"],
    ] as const) {
      expect(() => parseOptions(args)).toThrow(UsageError);
      expect(() => parseOptions(args)).toThrow(sentence);
    }
  });
});
