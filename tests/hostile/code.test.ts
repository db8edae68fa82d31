/** Random bytes as code: bare, as L1 and as L2. Whatever they do, it is the guest's own business. */
import { describe, expect, it } from 'vitest';
import { gpa } from '../../src/arch/address.ts';
import type { HostedMachine } from '../../src/vmm/hosted-machine.ts';
import { bareWith, fingerprint } from './bare.ts';
import { anyGuest, MACHINE_MEMORY } from './guest.ts';
import { hostedFingerprint, hostedWith, hostMemory, runHosted, trespass } from './hosted.ts';
import { anyNestingGuest, exitLog, L1_START } from './nesting-guest.ts';
import { Random } from './random.ts';
import { anyPeriod, startTimer } from './timer.ts';

/** A generous time for all runs of a test, on a machine that does other things as well. */
const PATIENCE = 240_000;
const SVM_MODELS = ['athlon64', 'opteron', 'current-amd'];
/** Instructions that each test retires at least. */
const MILLION = 1_000_000;
/** Ticks of one guest: the mischief of most is done by then. */
const LENGTH = 20_000;
/** So many guests would not do if most of them ended at once; so few would not be much of a test. */
const GUESTS = { least: 40, most: 400 } as const;

function expectGuests(count: number): void {
  expect(count).toBeGreaterThanOrEqual(GUESTS.least);
  expect(count).toBeLessThanOrEqual(GUESTS.most);
}

describe('random code on the bare processor', () => {
  it(
    'faults, halts or shuts down, and does the same when cut into slices',
    () => {
      let instructions = 0;
      let seed = 0;
      while (instructions < MILLION) {
        seed += 1;
        const random = new Random(seed);
        const { model, name, memory } = anyGuest(random);
        const cpu = bareWith(model, memory);
        const reason = cpu.run(LENGTH);
        expect(cpu.now).toBeLessThanOrEqual(LENGTH);
        instructions += cpu.retired;
        if (seed % 3 !== 0) continue;
        const cut = bareWith(model, memory);
        let last = 'limit';
        const longest = random.pick([3, 50, 500]);
        while (cut.now < LENGTH && last === 'limit') {
          last = cut.run(Math.min(cut.now + 1 + random.below(longest), LENGTH));
        }
        expect([seed, name, last, fingerprint(cut)]).toEqual([seed, name, reason, fingerprint(cpu)]);
      }
      expectGuests(seed);
    },
    PATIENCE,
  );
});

interface Outcome {
  readonly end: string;
  readonly instructions: number;
  readonly fingerprint: string;
}

/** Runs a guest of L0 with a timer; `counted`: as what its instructions count. */
function runAndLook(
  seed: number,
  machine: HostedMachine,
  period: number,
  counted: (machine: HostedMachine) => () => number,
): Outcome {
  startTimer(machine.devices, period);
  const host = hostMemory(machine);
  const count = counted(machine);
  const end = runHosted(machine, LENGTH);
  expect([seed, trespass(machine, host)]).toEqual([seed, -1]);
  return { end, instructions: count(), fingerprint: hostedFingerprint(machine) };
}

/** Instructions of the guest, whatever it runs itself. */
function allInstructions({ cpu }: HostedMachine): () => number {
  const before = cpu.retired;
  return () => cpu.retired - before;
}

/** Those of L2 alone. */
function instructionsOfL2({ cpu, vcpu }: HostedMachine): () => number {
  let count = 0;
  const { hardware } = vcpu;
  const vmrun = hardware.vmrun.bind(hardware);
  hardware.vmrun = (vmcb) => {
    const before = cpu.retired;
    const left = vmrun(vmcb);
    if (vcpu.state.guestMode) count += cpu.retired - before;
    return left;
  };
  return () => count;
}

describe('random code as L1', () => {
  it(
    'stays in its memory, twice the same',
    () => {
      const ends = new Set<string>();
      let instructions = 0;
      let seed = 0;
      while (instructions < MILLION) {
        seed += 1;
        const once = (): Outcome => {
          const random = new Random(seed);
          const { model, memory } = anyGuest(random);
          const period = anyPeriod(random);
          const shadowPageLimit = random.pick([64, 1000]);
          const machine = hostedWith(memory, { model, check: seed % 8 === 0, shadowPageLimit });
          return runAndLook(seed, machine, period, allInstructions);
        };
        const first = once();
        ends.add(first.end);
        instructions += first.instructions;
        if (seed % 8 === 1) expect([seed, once()]).toEqual([seed, first]);
      }
      expectGuests(seed);
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
      let instructions = 0;
      let seed = 0;
      while (instructions < MILLION) {
        seed += 1;
        const random = new Random(seed);
        const memory = anyNestingGuest(random);
        const model = random.pick(SVM_MODELS);
        const cpu = bareWith(model, memory, undefined, L1_START);
        const reason = cpu.run(LENGTH);
        exits += exitLog(cpu.physical.u8).count;
        instructions += cpu.retired;
        if (seed % 4 !== 0) continue;
        const cut = bareWith(model, memory, undefined, L1_START);
        let last = 'limit';
        while (cut.now < LENGTH && last === 'limit')
          last = cut.run(Math.min(cut.now + 1 + random.below(200), LENGTH));
        expect([seed, last, fingerprint(cut)]).toEqual([seed, reason, fingerprint(cpu)]);
      }
      expectGuests(seed);
      expect(exits).toBeGreaterThan(1000);
    },
    PATIENCE,
  );

  it(
    "under L0 stays in L1's memory, twice the same",
    () => {
      let exits = 0;
      let instructions = 0;
      let seed = 100;
      while (instructions < MILLION) {
        seed += 1;
        const once = (): Outcome => {
          const random = new Random(seed);
          const memory = anyNestingGuest(random);
          const period = anyPeriod(random);
          const machine = hostedWith(memory, { start: L1_START, check: seed % 8 === 0 });
          const outcome = runAndLook(seed, machine, period, instructionsOfL2);
          exits += exitLog(machine.read(gpa(0), MACHINE_MEMORY)).count;
          return outcome;
        };
        const first = once();
        instructions += first.instructions;
        if (seed % 8 === 1) expect([seed, once()]).toEqual([seed, first]);
      }
      expectGuests(seed - 100);
      expect(exits).toBeGreaterThan(1000);
    },
    PATIENCE,
  );
});
