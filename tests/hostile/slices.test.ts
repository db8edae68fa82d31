/** Same input, same run, wherever `run` is cut: bare, as a VM of L0, and with an L2 in the VM. */
import { describe, expect, it } from 'vitest';
import { gpa, hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { applyInitialState } from '../../src/machine/initial-registers.ts';
import { protectedState } from '../../src/machine/loaders/initial-state.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { HostedMachine } from '../../src/vmm/hosted-machine.ts';
import { fingerprint } from './bare.ts';
import { anyGuest, MACHINE_MEMORY, STACK, START } from './guest.ts';
import { hostedFingerprint, hostedWith, NESTED_HOSTS, nameOf, runHosted } from './hosted.ts';
import { anyNestingGuest, exitLog, L1_START } from './nesting-guest.ts';
import { Random } from './random.ts';
import { anyPeriod, startTimer } from './timer.ts';

const PATIENCE = 120_000;

/** A machine, as far as it is run and looked at here. */
interface Subject {
  /** In the unit of `run`: instructions for a machine, ticks for a VM. */
  readonly now: number;
  /** Runs for so long, and says how that ended. */
  run(length: number): string;
  fingerprint(): string;
}

/** Runs to a point in time in one go, or in pieces whose lengths `piece` gives. */
function runTo(subject: Subject, end: number, piece: () => number): string {
  let last = 'limit';
  while (subject.now < end && (last === 'limit' || last === 'halted'))
    last = subject.run(Math.min(piece(), end - subject.now));
  return `${last} at ${subject.now}: ${subject.fingerprint()}`;
}

/** Pieces of one tick and of a few hundred: each makes other instructions the last ones. */
function pieces(random: Random): () => number {
  const longest = random.pick([1, 3, 40, 700]);
  return () => 1 + random.below(longest);
}

/** Expects a subject that is made anew to come to the same end in pieces as in one run. */
function expectSame(seed: number, name: string, ticks: number, make: () => Subject): void {
  const whole = make();
  const end = whole.now + ticks;
  const expected = runTo(whole, end, () => ticks);
  expect([seed, name, runTo(make(), end, pieces(new Random(seed)))]).toEqual([seed, name, expected]);
}

function bareSubject(seed: number): { readonly name: string; readonly make: () => Subject } {
  const random = new Random(seed);
  const { model, name, memory } = anyGuest(random);
  const period = anyPeriod(random);
  const make = (): Subject => {
    const machine = new Machine({ model: parseCpuModel(model), memoryBytes: MACHINE_MEMORY });
    machine.cpu.physical.load(hpa(0), memory);
    applyInitialState(machine.cpu, protectedState(START, { ESP: STACK }, 8, 16, hpa(0)));
    startTimer(machine.devices, period);
    return {
      get now() {
        return machine.cpu.retired;
      },
      run: (instructions) => machine.run(instructions).kind,
      fingerprint: () => `${machine.cpu.now} ${fingerprint(machine.cpu)}`,
    };
  };
  return { name, make };
}

function hostedSubject(machine: HostedMachine, period: number): Subject {
  startTimer(machine.devices, period);
  return {
    get now() {
      return machine.clock.now;
    },
    run: (ticks) => runHosted(machine, ticks),
    fingerprint: () => hostedFingerprint(machine),
  };
}

describe('a run in pieces is the run in one', () => {
  it(
    'on the bare machine',
    () => {
      for (let seed = 1; seed <= 30; seed++) {
        const { name, make } = bareSubject(seed);
        expectSame(seed, name, 5000, make);
      }
    },
    PATIENCE,
  );

  it(
    'in a VM of L0',
    () => {
      for (const seed of [298, 452, ...Array.from({ length: 18 }, (_, n) => n + 1)]) {
        const random = new Random(seed);
        const { model, name, memory } = anyGuest(random);
        const period = anyPeriod(random);
        expectSame(seed, name, 3000, () => hostedSubject(hostedWith(memory, { model }), period));
      }
    },
    PATIENCE,
  );

  it(
    'with an L2 in the VM',
    () => {
      let exits = 0;
      for (let seed = 1; seed <= 14; seed++) {
        const random = new Random(seed);
        const memory = anyNestingGuest(random);
        const period = anyPeriod(random);
        expectSame(seed, 'nested', 3000, () => {
          const machine = hostedWith(memory, { start: L1_START });
          const subject = hostedSubject(machine, period);
          return {
            get now() {
              return subject.now;
            },
            run: subject.run,
            fingerprint: () => {
              exits += exitLog(machine.read(gpa(0), MACHINE_MEMORY)).count;
              return subject.fingerprint();
            },
          };
        });
      }
      expect(exits).toBeGreaterThan(100);
    },
    PATIENCE,
  );

  it.each(NESTED_HOSTS.map((below) => [nameOf(below), below] as const))(
    'in a VM of L0 with %s, with and without an L2 in it',
    (_, below) => {
      for (let seed = 1; seed <= 4; seed++) {
        const random = new Random(seed);
        const { memory } = anyGuest(random);
        const nesting = anyNestingGuest(random);
        const period = anyPeriod(random);
        expectSame(seed, 'guest', 2000, () => hostedSubject(hostedWith(memory, { below }), period));
        expectSame(seed, 'nested', 2000, () =>
          hostedSubject(hostedWith(nesting, { below, start: L1_START }), period),
        );
      }
    },
    PATIENCE,
  );
});
