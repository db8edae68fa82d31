/** Random bytes as code: bare, as L1 and as L2. Whatever they do, it is the guest's own business. */
import { describe, expect, it } from 'vitest';
import { gpa } from '../../src/arch/address.ts';
import { bareWith, fingerprint } from './bare.ts';
import { anyGuest, MACHINE_MEMORY } from './guest.ts';
import { hostedFingerprint, hostedWith, hostMemory, runHosted, trespass } from './hosted.ts';
import { anyNestingGuest, exitLog, L1_START } from './nesting-guest.ts';
import { Random } from './random.ts';

/** A generous time for all runs of a test, on a machine that does other things as well. */
const PATIENCE = 120_000;
const SVM_MODELS = ['athlon64', 'opteron', 'current-amd'];

describe('random code on the bare processor', () => {
  it(
    'faults, halts or shuts down, and does the same when cut into slices',
    () => {
      let instructions = 0;
      for (let seed = 1; instructions < 1_000_000; seed++) {
        const random = new Random(seed);
        const { model, name, memory } = anyGuest(random);
        const cpu = bareWith(model, memory);
        const length = 40_000;
        const reason = cpu.run(length);
        expect(cpu.now).toBeLessThanOrEqual(length);
        instructions += cpu.retired;
        if (seed % 3 !== 0) continue;
        const cut = bareWith(model, memory);
        let last = 'limit';
        const longest = random.pick([3, 50, 500]);
        while (cut.now < length && last === 'limit') {
          last = cut.run(Math.min(cut.now + 1 + random.below(longest), length));
        }
        instructions += cut.retired;
        expect([seed, name, last, fingerprint(cut)]).toEqual([seed, name, reason, fingerprint(cpu)]);
      }
    },
    PATIENCE,
  );
});

describe('random code as L1', () => {
  it(
    'stays in its memory, twice the same',
    () => {
      const ends = new Set<string>();
      for (let seed = 1; seed <= 20; seed++) {
        const once = (): string => {
          const random = new Random(seed);
          const { model, memory } = anyGuest(random);
          const shadowPageLimit = random.pick([64, 1000]);
          const machine = hostedWith(memory, {
            model,
            check: seed % 3 === 0,
            shadowPageLimit,
          });
          const host = hostMemory(machine);
          const end = runHosted(machine, 6000);
          ends.add(end);
          expect([seed, trespass(machine, host)]).toEqual([seed, -1]);
          return `${end} ${hostedFingerprint(machine)}`;
        };
        const first = once();
        if (seed % 4 === 0) expect([seed, once()]).toEqual([seed, first]);
      }
      expect(ends).toContain('limit');
      expect(ends).toContain('triple-fault');
    },
    PATIENCE,
  );
});

describe('random code as L2', () => {
  it(
    'on bare SVM leaves L1 running, and does the same when cut into slices',
    () => {
      let exits = 0;
      for (let seed = 1; seed <= 21; seed++) {
        const random = new Random(seed);
        const memory = anyNestingGuest(random);
        const model = random.pick(SVM_MODELS);
        const cpu = bareWith(model, memory, undefined, L1_START);
        const reason = cpu.run(8000);
        exits += exitLog(cpu.physical.u8).count;
        if (seed % 3 !== 0) continue;
        const cut = bareWith(model, memory, undefined, L1_START);
        let last = 'limit';
        while (cut.now < 8000 && last === 'limit')
          last = cut.run(Math.min(cut.now + 1 + random.below(200), 8000));
        expect([seed, last, fingerprint(cut)]).toEqual([seed, reason, fingerprint(cpu)]);
      }
      expect(exits).toBeGreaterThan(100);
    },
    PATIENCE,
  );

  it(
    "under L0 stays in L1's memory, twice the same",
    () => {
      let exits = 0;
      for (let seed = 101; seed <= 112; seed++) {
        const once = (): string => {
          const memory = anyNestingGuest(new Random(seed));
          const options = { start: L1_START, check: seed % 3 === 0 };
          const machine = hostedWith(memory, options);
          const host = hostMemory(machine);
          const end = runHosted(machine, 6000);
          exits += exitLog(machine.read(gpa(0), MACHINE_MEMORY)).count;
          expect([seed, trespass(machine, host)]).toEqual([seed, -1]);
          return `${end} ${hostedFingerprint(machine)}`;
        };
        const first = once();
        if (seed % 4 === 0) expect([seed, once()]).toEqual([seed, first]);
      }
      expect(exits).toBeGreaterThan(100);
    },
    PATIENCE,
  );
});
