import { describe, expect, it } from 'vitest';
import { judgeWork } from '../../src/grid/execute.ts';
import type { SeenRecord } from '../../src/grid/records.ts';
import { allScenarios } from '../../src/grid/replay.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';
import { explainResult } from '../../tools/elsewhere/explain.ts';
import { minimalScenarios } from '../../tools/elsewhere/images.ts';
import { KVM_FINDINGS } from '../../tools/elsewhere/kvm/findings.ts';
import { type ProgramEnd, runToEnd } from '../../tools/elsewhere/machine.ts';
import { QEMU_FINDINGS } from '../../tools/elsewhere/qemu-findings.ts';
import { parseTranscript } from '../../tools/elsewhere/transcript.ts';

describe('the minimal scenarios of findings', () => {
  it.each(minimalScenarios())('$name is right on Umbra', (scenario) => {
    expect(judgeWork(scenario, umbraHost({ l0: 'none' })).mismatches).toEqual([]);
    expect(judgeWork(scenario, umbraHost({ l0: 'shadow' })).mismatches).toEqual([]);
  });
});

describe('an image on a machine that dies', () => {
  const HEAD = ['TAP version 13', '# processor: pae, MAXPHYADDR 40, PDPTEs loaded with CR3', '1..5'];

  /** Runs an image whose machine prints one text after the other, and notes the command lines. */
  async function run(ends: readonly ProgramEnd[]) {
    const asked: string[] = [];
    const transcript = await runToEnd((commandLine) => {
      asked.push(commandLine);
      return Promise.resolve(ends[asked.length - 1]);
    });
    const verdicts = transcript.results.map(({ number, name, verdict, reason }) => ({
      number,
      name,
      verdict,
      reason,
    }));
    return { verdicts, asked };
  }

  it('goes on behind what killed it, by itself or begun again', async () => {
    const inner = [
      ...HEAD,
      '# run a',
      'ok 1 - a',
      '# run b',
      'launcher: the guest had a triple fault 0x0',
      ...HEAD,
      'ok 1 - a # SKIP not asked for',
      'ok 2 - b # SKIP not asked for',
      '# run c',
      'ok 3 - c',
      '# run d',
    ];
    const outer = [
      ...HEAD,
      ...['a', 'b', 'c', 'd'].map((name, index) => `ok ${index + 1} - ${name} # SKIP not asked for`),
      '# run e',
      'ok 5 - e',
    ];
    const { verdicts, asked } = await run([
      { output: inner.join('\r\n'), reason: 'it was silent for 120 s' },
      { output: outer.join('\r\n'), reason: 'it ended with status 0' },
    ]);
    expect(verdicts).toEqual([
      { number: 1, name: 'a', verdict: 'ok', reason: '' },
      { number: 2, name: 'b', verdict: 'died', reason: 'the guest had a triple fault 0x0' },
      { number: 3, name: 'c', verdict: 'ok', reason: '' },
      { number: 4, name: 'd', verdict: 'died', reason: 'it was silent for 120 s' },
      { number: 5, name: 'e', verdict: 'ok', reason: '' },
    ]);
    expect(asked.map((commandLine) => commandLine.split(' ')[0])).toEqual(['first=1', 'first=5']);
  });

  it('is given up where it runs nothing', async () => {
    await expect(run([{ output: 'Kernel panic', reason: 'it ended with status 1' }])).rejects.toThrow(
      /did not run: it ended with status 1.*Kernel panic/,
    );
  });

  it('may not be able to run anything', async () => {
    const output = 'TAP version 13\r\n1..0 # SKIP: no SVM\r\n';
    expect((await run([{ output, reason: '' }])).verdicts).toEqual([]);
    expect(parseTranscript(output).skip).toBe('no SVM');
  });
});

describe("what is known of Linux's KVM", () => {
  const scenario = minimalScenarios().find(({ name }) => name === 'elsewhere/l1-after-l2-without-paging')!;
  const processor = { maxPhyAddr: 40, pdptes: 'registers' } as const;
  const findingFor = (step: number, value: number): string | undefined =>
    explainResult(
      scenario,
      {
        number: 1,
        name: scenario.name,
        verdict: 'not ok',
        reason: '',
        mismatches: [{ step, seen: [{ kind: 'done', level: 1, words: [value, 0, 0, 0] }] }],
      },
      processor,
      KVM_FINDINGS,
    )[0].finding?.name;

  it('explains what L1 does wrong after an L2 without paging, and not what it does before', () => {
    expect(findingFor(1, 0)).toBeUndefined();
    expect(findingFor(5, 0)).toBe('cr4-of-l1-lost');
    expect(findingFor(6, 0xe0)).toBe('cr4-of-l1-lost');
  });
});

describe('what is known of QEMU with nested paging', () => {
  const scenarios = new Map(allScenarios().map((scenario) => [scenario.name, scenario]));
  const processor = { maxPhyAddr: 36, pdptes: 'memory' } as const;

  /** The finding for one step of a scenario at which the image saw so much. */
  function findingFor(name: string, step: number, seen: readonly SeenRecord[]): string | undefined {
    const result = { number: 1, name, verdict: 'not ok', reason: '', mismatches: [{ step, seen }] } as const;
    return explainResult(scenarios.get(name)!, result, processor, QEMU_FINDINGS)[0].finding?.name;
  }
  const value = (word: number): SeenRecord[] => [{ kind: 'done', level: 2, words: [word, 0, 0, 0] }];

  it.each([
    ['npt/2-level/2-level/mends', 3, 'nested-2-level-tables-not-walked'],
    // Below a host with PAE the same is a mismatch that nobody knows.
    ['npt/pae/2-level/mends', 3, undefined],
    ['npt/identity/pae/pae/registers-0', 200, undefined],
    ['npt/pae/pae/beyond-4-gib', 9, 'guest-address-cut-to-32-bits'],
    ['npt/pae/pae/beyond-4-gib', 4, undefined],
    // The PDPTE has a reserved bit at step 30, and none at step 16.
    ['directed/nested-pdptes-edited', 30, 'nested-pdpte-reserved-bits'],
    ['directed/nested-pdptes-edited', 16, undefined],
  ])('explains a wrong value in %s, step %i, by %s', (name, step, finding) => {
    expect(findingFor(name, step, value(0xbad))).toBe(finding);
  });

  it.each([
    ['npt/pae/2-level/refusals', 13, 'g-pat-unchecked'],
    ['npt/pae/2-level/refusals', 97, 'ncr3-unchecked'],
    // ASID 0, which QEMU does refuse.
    ['npt/pae/2-level/refusals', 125, undefined],
    ['npt/pae/2-level/refusals', 154, 'nested-paging-without-host-paging'],
    ['npt/pae/off/refusals-without-npt', 5, 'nested-paging-without-cpuid'],
  ])('explains a VMRUN that is not refused in %s, step %i, by %s', (name, step, finding) => {
    expect(findingFor(name, step, [])).toBe(finding);
  });

  it('explains a missing I/D where only SMEP asks for it', () => {
    const exit = (info1: number): SeenRecord[] => [
      {
        kind: 'exit',
        level: 1,
        code: 0x400,
        info1,
        info2: 0x4100_2f88,
        eip: 0x8000_6f88,
        high: { info1: 1, info2: 0 },
      },
    ];
    expect(findingFor('npt/pae/2-level/rights-2', 27, exit(0x05))).toBe('nested-fetch-without-smep-flag');
    expect(findingFor('npt/pae/2-level/rights-2', 27, exit(0x14))).toBeUndefined();
    // With EFER.NXE in the host QEMU has the bit.
    expect(findingFor('npt/pae/2-level/rights-3', 27, exit(0x05))).toBeUndefined();
  });
});
