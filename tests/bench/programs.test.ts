import { describe, expect, it } from 'vitest';
import { measureProgram } from '../../bench/benches.ts';
import { PROGRAMS } from '../../bench/programs/all.ts';
import { cpuid } from '../../bench/programs/cpuid.ts';
import { integerLoop } from '../../bench/programs/integer-loop.ts';
import { interrupts } from '../../bench/programs/interrupts.ts';
import { pageFault } from '../../bench/programs/page-fault.ts';
import { pageTables } from '../../bench/programs/page-tables.ts';
import { kvmRoundTrips, roundTrips } from '../../bench/programs/svm-round-trips.ts';

/** Few, odd, and no multiple of anything in the programs. */
const UNITS = 7;

describe('the programs of npm run bench', () => {
  it.each([...PROGRAMS, cpuid, roundTrips, kvmRoundTrips])(
    '$name comes to what its model in JavaScript says, on the bare machine',
    async (program) => {
      const { result, instructions } = await measureProgram(program, 'umbra', UNITS);
      const work = program.model();
      work(1);
      expect(result).toBe(work(UNITS));
      expect(instructions).toBeGreaterThan(UNITS);
    },
  );

  it.each([cpuid, interrupts, pageTables, pageFault, roundTrips, kvmRoundTrips])(
    '$name comes to the same on L0',
    async (program) => {
      const { exits = {} } = await measureProgram(program, 'umbra-l0', UNITS);
      // The mark at the end is an OUT, which L0 intercepts.
      expect(exits.VMEXIT_IOIO).toBe(1);
    },
  );

  it('come to the same on v86', async () => {
    for (const program of PROGRAMS) {
      const { instructions } = await measureProgram(program, 'v86', UNITS);
      expect(instructions).toBeUndefined();
    }
  });

  it('count instructions between the marks exactly', async () => {
    // XORs, shifts and moves: 3 of 3 each; LEA, CMP, ADC, DEC, JNZ.
    const { instructions } = await measureProgram(integerLoop, 'umbra', UNITS);
    const more = await measureProgram(integerLoop, 'umbra', UNITS + 1);
    expect((more.instructions as number) - (instructions as number)).toBe(14);
  });

  it('are told apart from wrong ones', async () => {
    const wrong = { ...integerLoop, model: () => () => 1 };
    await expect(measureProgram(wrong, 'umbra', UNITS)).rejects.toThrow('integer-loop on umbra came to');
  });
});
