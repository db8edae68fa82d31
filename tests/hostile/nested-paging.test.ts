/** L1s whose nested tables are in a mess: nothing outside the VM changes, L0's invariants hold, and runs repeat. */
import { describe, expect, it } from 'vitest';
import { gpa } from '../../src/arch/address.ts';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import { bareWith, fingerprint } from './bare.ts';
import { MACHINE_MEMORY } from './guest.ts';
import {
  hostedFingerprint,
  hostedWith,
  hostMemory,
  NESTED_HOSTS,
  nameOf,
  runHosted,
  trespass,
} from './hosted.ts';
import { nestedPagingGuest } from './nested-paging-guest.ts';
import { exitLog, L1_START } from './nesting-guest.ts';
import { Random } from './random.ts';
import { anyPeriod, startTimer } from './timer.ts';

const PATIENCE = 120_000;
const LENGTH = 4000;
const GUESTS = Number(process.env.UMBRA_GUESTS ?? 15);
const FIRST = Number(process.env.UMBRA_SEED ?? 1);
const seeds = Array.from({ length: GUESTS }, (_, n) => FIRST + n);

const nestedFaults = (codes: readonly number[]): number => codes.filter((code) => code === VMEXIT.NPF).length;

describe('nested tables in a mess', () => {
  it('on the bare processor: the same when cut into slices', { timeout: PATIENCE }, () => {
    let faults = 0;
    for (const seed of seeds) {
      const random = new Random(seed);
      const memory = nestedPagingGuest(random, true);
      const cpu = bareWith('current-amd', memory, undefined, L1_START);
      const reason = cpu.run(LENGTH);
      faults += nestedFaults(exitLog(cpu.physical.u8).codes);
      const cut = bareWith('current-amd', memory, undefined, L1_START);
      let last = 'limit';
      while (cut.now < LENGTH && last === 'limit')
        last = cut.run(Math.min(cut.now + 1 + random.below(200), LENGTH));
      expect([seed, last, fingerprint(cut)]).toEqual([seed, reason, fingerprint(cpu)]);
    }
    expect(faults).toBeGreaterThan(GUESTS * 5);
  });

  describe.each(NESTED_HOSTS.map((below) => ({ name: nameOf(below), below })))('$name', ({ below }) => {
    it("stay in L1's memory, and the same when cut into slices", { timeout: PATIENCE }, () => {
      let faults = 0;
      for (const seed of seeds) {
        const once = (piece: (random: Random) => number): string => {
          const random = new Random(seed);
          const memory = nestedPagingGuest(random, below.host === 'pae');
          const period = anyPeriod(random);
          const shadowPageLimit = random.pick([64, 1000]);
          const machine = hostedWith(memory, {
            below,
            start: L1_START,
            check: seed % 3 === 0,
            shadowPageLimit,
          });
          startTimer(machine.devices, period);
          const host = hostMemory(machine);
          const end = machine.clock.now + LENGTH;
          let last = 'limit';
          while (machine.clock.now < end && (last === 'limit' || last === 'halted'))
            last = runHosted(machine, Math.min(piece(random), end - machine.clock.now));
          expect([seed, trespass(machine, host)]).toEqual([seed, -1]);
          faults += nestedFaults(exitLog(machine.read(gpa(0), MACHINE_MEMORY)).codes);
          return `${last} ${hostedFingerprint(machine)}`;
        };
        const whole = once(() => LENGTH);
        if (seed % 3 === 1) expect([seed, once((random) => 1 + random.below(60))]).toEqual([seed, whole]);
      }
      expect(faults).toBeGreaterThan(GUESTS * 2);
    });
  });
});
