/** VMCBs full of garbage: VMRUN fails as the manual says, or runs what they describe. */
import { expect, it } from 'vitest';
import { gpa } from '../../src/arch/address.ts';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import { bareWith } from './bare.ts';
import { MACHINE_MEMORY } from './guest.ts';
import { hostedWith, hostMemory, runHosted, trespass } from './hosted.ts';
import { anyNestingGuest, exitLog, L1_START, spoil } from './nesting-guest.ts';
import { Random } from './random.ts';

const PATIENCE = 120_000;
const KNOWN: ReadonlySet<number> = new Set(Object.values(VMEXIT));

/** Exit codes are those of APM vol. 2 appendix C. */
const isKnown = (code: number): boolean => KNOWN.has(code) || (code >= 0 && code < 0x60);

const garbage = (random: Random): Uint8Array => anyNestingGuest(random, { exitsEach: 1, spoil });

/** Exit codes of many VMRUNs. Without nested paging an L2 may write over L1's log, which then says nothing. */
function judge(logs: readonly { readonly count: number; readonly codes: readonly number[] }[]): void {
  const whole = logs.filter((log) => log.codes.every(isKnown));
  expect(whole.length).toBeGreaterThanOrEqual(logs.length - 2);
  const codes = whole.flatMap((log) => log.codes);
  expect(codes.filter((code) => code === VMEXIT.INVALID).length).toBeGreaterThan(50);
  expect(codes.filter((code) => code !== VMEXIT.INVALID).length).toBeGreaterThan(50);
}

it(
  'garbage VMCBs on bare SVM end in VMEXIT_INVALID or a run',
  () => {
    const logs = [];
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Random(seed);
      const cpu = bareWith(
        random.pick(['athlon64', 'opteron', 'current-amd']),
        garbage(random),
        undefined,
        L1_START,
      );
      cpu.run(3000);
      logs.push(exitLog(cpu.physical.u8));
    }
    judge(logs);
  },
  PATIENCE,
);

it(
  "L1's garbage VMCBs end in VMEXIT_INVALID or a run, and nothing outside the VM changes",
  () => {
    const logs = [];
    for (let seed = 201; seed <= 215; seed++) {
      const options = { start: L1_START, check: seed % 3 === 0 };
      const machine = hostedWith(garbage(new Random(seed)), options);
      const host = hostMemory(machine);
      // Ticks, of which each exit costs one.
      runHosted(machine, 9000);
      expect([seed, trespass(machine, host)]).toEqual([seed, -1]);
      logs.push(exitLog(machine.read(gpa(0), MACHINE_MEMORY)));
    }
    judge(logs);
  },
  PATIENCE,
);
