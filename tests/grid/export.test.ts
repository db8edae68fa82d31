import { beforeAll, describe, expect, it } from 'vitest';
import { type ScenarioBlock, scenarioBlock } from '../../src/grid/export/block.ts';
import { packLz4 } from '../../src/grid/export/lz4.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import { SCENARIO_MEMORY } from '../../src/grid/placement.ts';
import { scenarioByName } from '../../src/grid/replay.ts';
import { hostNeeds } from '../../src/grid/scenario.ts';
import { AGENT_LAYOUT, STEP_SIZE } from '../../src/guest/agent-layout.ts';
import { BLOCK, PDPTES, STEP, STEP_HEADER_SIZE, TABLE, TABLE_SIZE } from '../../src/guest/suite/format.ts';
import { type SuiteScenario, suiteImage } from '../../src/guest/suite/program.ts';
import { exported, type Transcript, transcriptOf } from './export-machine.ts';

/** A scenario of every cell, each of another family. tests/kernels/export-all.test.ts runs all of them. */
const SOME = matrix()
  .filter(({ way }) => way === 'shadow')
  .map(({ scenarios }, index) => scenarios[(index * 3 + 2) % scenarios.length]);

const result = (lines: readonly string[], number: number): string | undefined =>
  lines.find((line) => new RegExp(`^(not )?ok ${number} `).test(line));

describe('an exported image', () => {
  let image: Uint8Array<ArrayBuffer>;
  let bare: Transcript;
  beforeAll(async () => {
    image = await exported(SOME);
    bare = transcriptOf(image);
  }, 60_000);

  it('passes on the bare processor', () => {
    expect(bare.lines.slice(0, 3)).toEqual([
      'TAP version 13',
      '# processor: pse pae pge nx smep smap npt, MAXPHYADDR 48, PDPTEs loaded with CR3',
      `1..${SOME.length}`,
    ]);
    const verdicts = bare.lines.filter((line) => /^(not )?ok/.test(line));
    const expected = SOME.map((scenario, index) => {
      const { name, absent = [] } = scenario;
      const needs = hostNeeds(scenario).join(' and ');
      if (needs !== '') return `ok ${index + 1} - ${name} # SKIP needs a host that can ${needs}`;
      const skipped = absent.length > 0 ? ` # SKIP needs a processor without ${absent.join(' ')}` : '';
      return `ok ${index + 1} - ${name}${skipped}`;
    });
    expect(verdicts).toEqual(expected);
    expect(bare.lines.at(-1)).toMatch(/^# \d+ ok, 0 not ok, \d+ skipped$/);
    expect(bare.exit).toBe(0);
  });

  it('prints the same, byte for byte, as a guest of L0', () => {
    const hosted = transcriptOf(image, { l0: 'shadow' });
    expect(hosted.exit).toBe(0);
    // Shadow paging offers its guests no nested paging.
    expect(hosted.text).toBe(bare.text.replace('smap npt,', 'smap,'));
  });

  it('is multiboot and lies beyond what scenarios use', () => {
    const view = new DataView(image.buffer);
    const at = Array.from({ length: 2048 }, (_, index) => index * 4).find(
      (offset) => view.getUint32(offset, true) === 0x1bad_b002,
    )!;
    const [magic, flags, checksum] = [0, 4, 8].map((offset) => view.getUint32(at + offset, true));
    expect((magic + flags + checksum) % 2 ** 32).toBe(0);
    // Bits 15:0 are what a loader has to understand; bit 16 would take the place of the ELF headers.
    expect(flags & 0x1ffff).toBe(0);
    expect(view.getUint32(52 + 12, true)).toBe(SCENARIO_MEMORY);
  });

  it('runs what its command line chooses', () => {
    const { lines, exit } = transcriptOf(image, { commandLine: 'grid.elf first=2 last=2' });
    expect(exit).toBe(0);
    expect(lines.filter((line) => line.startsWith('# run'))).toEqual([`# run ${SOME[1].name}`]);
    expect(result(lines, 1)).toBe(`ok 1 - ${SOME[0].name} # SKIP not asked for`);
    expect(result(lines, 2)).toBe(`ok 2 - ${SOME[1].name}`);
    expect(result(lines, 3)).toBe(`ok 3 - ${SOME[2].name} # SKIP not asked for`);
  });

  it('says so where there is no SVM', () => {
    const { text, exit } = transcriptOf(image, { cpu: 'current-amd,-svm' });
    expect(text).toBe('TAP version 13\n1..0 # SKIP: no SVM\n');
    expect(exit).toBe(0);
    expect(transcriptOf(image, { cpu: '486' }).text).toBe('TAP version 13\n1..0 # SKIP: no SVM\n');
  });
});

describe('an exported image on other processors', () => {
  it('skips by name what needs a feature that is missing, and runs what needs it missing', async () => {
    const names = ['registers-0', 'refusals-without-smap', 'refusals-without-nx', 'globals'];
    const scenarios = names.map((name) => scenarioByName(`2-level/2-level/${name}`));
    const { lines, exit } = transcriptOf(await exported(scenarios), { cpu: 'current-amd,-smap' });
    expect(lines[1]).toContain('# processor: pse pae pge nx smep npt,');
    expect(lines.filter((line) => /^(not )?ok/.test(line))).toEqual([
      'ok 1 - 2-level/2-level/registers-0 # SKIP needs smap',
      'ok 2 - 2-level/2-level/refusals-without-smap',
      'ok 3 - 2-level/2-level/refusals-without-nx # SKIP needs a processor without nx',
      'ok 4 - 2-level/2-level/globals',
    ]);
    expect(exit).toBe(0);
  });

  it('covers nested paging, and skips it where the processor or its hypervisor hides it', async () => {
    const names = [
      '2-level/pae/rights-0',
      'pae/2-level/mends',
      'pae/pae/quadrants',
      'pae/off/refusals-without-npt',
    ];
    const image = await exported(names.map((name) => scenarioByName(`npt/${name}`)));
    const verdicts = (lines: readonly string[]) => lines.filter((line) => /^(not )?ok/.test(line));
    const bare = transcriptOf(image);
    expect(verdicts(bare.lines)).toEqual([
      ...names.slice(0, 3).map((name, index) => `ok ${index + 1} - npt/${name}`),
      `ok 4 - npt/${names[3]} # SKIP needs a processor without npt`,
    ]);
    expect(bare.exit).toBe(0);
    const hidden = [
      ...names.slice(0, 3).map((name, index) => `ok ${index + 1} - npt/${name} # SKIP needs npt`),
      `ok 4 - npt/${names[3]}`,
    ];
    expect(verdicts(transcriptOf(image, { l0: 'shadow' }).lines)).toEqual(hidden);
    expect(verdicts(transcriptOf(image, { cpu: 'current-amd,-npt' }).lines)).toEqual(hidden);
  });

  it('skips what uses the highest of all ASIDs', async () => {
    const scenario = scenarioByName('2-level/2-level/globals');
    const l2 = Object.fromEntries(
      Object.entries(scenario.l2).map(([name, state]) => [name, { ...state, asid: 0xffff_ffff }]),
    );
    const { lines } = transcriptOf(await exported([{ ...scenario, l2 }]));
    expect(result(lines, 1)).toBe('ok 1 - 2-level/2-level/globals # SKIP needs 4294967295 ASIDs');
  });

  it('skips what needs more ASIDs or a smaller MAXPHYADDR', () => {
    const lines = transcriptOf(
      suiteImage(SCENARIO_MEMORY, [
        { ...prepared('2-level/off/globals'), asids: 1_000_000 },
        { ...prepared('2-level/off/globals'), maxBits: 40 },
        { ...prepared('2-level/off/globals'), impossible: 'a miracle' },
      ]),
    ).lines;
    expect(lines.filter((line) => line.startsWith('ok'))).toEqual([
      'ok 1 - 2-level/off/globals # SKIP needs 1000000 ASIDs',
      'ok 2 - 2-level/off/globals # SKIP needs MAXPHYADDR of at most 40',
      'ok 3 - 2-level/off/globals # SKIP needs a miracle',
    ]);
  });

  it('knows up to which MAXPHYADDR a reserved bit is one', () => {
    // Bit 51 of an entry is reserved where MAXPHYADDR is 51 or less; with 52 it is an address.
    expect(scenarioBlock(scenarioByName('2-level/pae/registers-2')).maxBits).toBe(51);
    expect(scenarioBlock(scenarioByName('2-level/2-level/globals')).maxBits).toBeGreaterThanOrEqual(52);
  });

  it('knows what addresses of L2 beyond 4 GiB come to, by MAXPHYADDR', () => {
    const block = prepared('npt/2-level/pae/beyond-4-gib');
    expect(block.maxBits).toBeGreaterThanOrEqual(52);
    // With 32 bits they are reserved bits of L2's entries: a page fault. With more, a nested page fault.
    const kinds = PDPTES.REGISTERS | PDPTES.MEMORY | PDPTES.MEMORY_CHECKED;
    const [small, large, ...others] = tablesOf(scenarioBlock(scenarioByName('npt/2-level/pae/beyond-4-gib')));
    expect(small).toMatchObject({ maxBits: 32 });
    expect(large.maxBits).toBeGreaterThanOrEqual(52);
    expect(large.steps).not.toBe(small.steps);
    expect([small, large, ...others].reduce((bits, { pdptes }) => bits | pdptes, 0)).toBe(kinds);
    const image = suiteImage(SCENARIO_MEMORY, [block]);
    expect(result(transcriptOf(image).lines, 1)).toBe(`ok 1 - ${block.name}`);
    const wrong = prepared(block.name, (view) => {
      view.setUint32(view.getUint32(BLOCK.TABLES * 4, true) + TABLE.MAX_BITS * 4, 48, true);
    });
    expect(result(transcriptOf(suiteImage(SCENARIO_MEMORY, [wrong])).lines, 1)).toBe(
      `not ok 1 - ${block.name}`,
    );
  });

  it('tells whether VMRUN looks at PDPTEs that are read on use', async () => {
    const scenario = scenarioByName('directed/illegal-pdptes-at-entry');
    const tables = tablesOf(scenarioBlock(scenario));
    expect(tables.map(({ pdptes }) => pdptes)).toEqual([1, 2, 4]);
    const [loaded, unchecked, checked] = tables.map(({ steps }) => steps);
    expect(unchecked).not.toBe(loaded);
    expect(checked).toBe(loaded);
    const image = await exported([scenario]);
    const hosted = transcriptOf(image, { l0: 'npt' });
    expect(hosted.lines[1]).toContain('PDPTEs read from memory on use and checked by VMRUN');
    expect(result(hosted.lines, 1)).toBe(`ok 1 - ${scenario.name}`);
    expect(result(transcriptOf(image).lines, 1)).toBe(`ok 1 - ${scenario.name}`);
  });
});

/** A scenario as an image has it, after `change` did something to its block. */
function prepared(name: string, change: (block: DataView) => void = () => {}): SuiteScenario {
  const block = BLOCKS.get(name) ?? scenarioBlock(scenarioByName(name));
  BLOCKS.set(name, block);
  const bytes = block.bytes.slice();
  change(new DataView(bytes.buffer));
  const packed = packLz4(bytes);
  return { name, needs: 0, lacks: 0, asids: 2, maxBits: block.maxBits, packed, unpackedSize: bytes.length };
}

/** Blocks, each made once. */
const BLOCKS = new Map<string, ScenarioBlock>();

/** The tables of a block, by whom they are for. */
function tablesOf({ bytes }: ScenarioBlock): { pdptes: number; maxBits: number; steps: number }[] {
  const view = new DataView(bytes.buffer);
  const word = (at: number): number => view.getUint32(at, true);
  const tables = [];
  let at = word(BLOCK.TABLES * 4);
  // Behind the last one are texts, in which no dword is that small.
  for (; word(at) <= 7; at += TABLE_SIZE) {
    tables.push({
      pdptes: word(at + TABLE.PDPTES * 4),
      maxBits: word(at + TABLE.MAX_BITS * 4),
      steps: word(at + TABLE.STEPS * 4),
    });
  }
  return tables;
}

/** Offset of a step's first alternative in a block's first table. */
function alternativeOf(block: DataView, number: number): number {
  const tables = block.getUint32(BLOCK.TABLES * 4, true);
  let at = block.getUint32(tables + TABLE.STEPS * 4, true);
  for (let step = 1; step < number; step++) at += block.getUint32(at + STEP.LENGTH * 4, true);
  return at + STEP_HEADER_SIZE;
}

describe('a mismatch', () => {
  const name = '2-level/off/globals';
  const scenario = scenarioByName(name);
  /** The first probe that must give a value. */
  const number = 1 + scenario.steps.findIndex((step) => step.do === 'probe');

  it('is printed in full, and the image ends with 1', () => {
    const step = scenario.steps[number - 1];
    if (step.do !== 'probe') throw new Error('no probe');
    const wrong = prepared(name, (block) => {
      const value = alternativeOf(block, number) + 8;
      block.setUint32(value, block.getUint32(value, true) ^ 0xff, true);
    });
    const { lines, exit } = transcriptOf(suiteImage(SCENARIO_MEMORY, [wrong, prepared(name)]));
    expect(exit).toBe(1);
    const start = lines.indexOf(`not ok 1 - ${name}`);
    const report = lines.slice(start + 1, lines.indexOf('  ...') + 1);
    expect(report[0]).toBe('  ---');
    expect(report[1]).toBe(`  step: ${number}`);
    expect(report[2]).toBe('  level: "L1"');
    expect(report[3]).toContain(`probe ${step.form} cpl ${step.cpl} at 0x${step.at.toString(16)}`);
    expect(report[4]).toBe('  expected:');
    // The text is the oracle's; only the number to compare with was changed.
    const value = /^ {4}- "value 0x([0-9a-f]+)"$/.exec(report[5])![1];
    expect(report[6]).toBe('  seen:');
    expect(report[7]).toBe(
      `    - {level: 1, value: 0x${value.padStart(8, '0')}, b: 0x00000000, c: 0x00000000, d: 0x00000000}`,
    );
    expect(report[8]).toMatch(
      /^ {2}registers: "CR0=0x[0-9a-f]+ CR3=0x[0-9a-f]+ CR4=0x[0-9a-f]+ EFER=0x1000"$/,
    );
    expect(report[9]).toMatch(/^ {2}cpu_role: "2-level: has_4_byte_gpte/);
    expect(report.slice(10)).toEqual(['  mismatches: 1', '  ...']);
    expect(result(lines, 2)).toBe(`ok 2 - ${name}`);
    expect(lines.at(-1)).toBe('# 1 ok, 1 not ok, 0 skipped');
  });

  it.each([
    ['a record that must not be', 'vector', 1],
    ['no record where one must be', 'count', 0],
  ])('is found in %s', (_, what, records) => {
    const quiet = 1 + scenario.steps.findIndex((step) => ['edit', 'invlpg', 'write'].includes(step.do));
    const target = what === 'vector' ? number : quiet;
    const wrong = prepared(name, (block) => {
      const at = alternativeOf(block, target);
      // Another number of records than the step makes.
      block.setUint16(at, what === 'vector' ? 0 : 1, true);
    });
    const { lines, exit } = transcriptOf(suiteImage(SCENARIO_MEMORY, [wrong]));
    expect(exit).toBe(1);
    expect(lines).toContain(`  step: ${target}`);
    expect(lines.includes('  seen: []')).toBe(records === 0);
  });

  it('is also an agent that gives up', () => {
    const wrong = prepared(name, (block) => {
      // The third operation of the script is the second step's: one that nobody knows.
      const operation = AGENT_LAYOUT.SCRIPT + 2 * STEP_SIZE;
      expect(block.getUint32(placeOf(block, operation + 4), true)).toBe(2);
      block.setUint32(placeOf(block, operation), 99, true);
    });
    const { lines, exit } = transcriptOf(suiteImage(SCENARIO_MEMORY, [wrong, prepared(name)]));
    expect(exit).toBe(1);
    expect(lines).toContain('  ended: "agent status 3, last record in step 1"');
    expect(lines.some((line) => line.startsWith('  mismatches'))).toBe(false);
    expect(result(lines, 2)).toBe(`ok 2 - ${name}`);
  });
});

/** Where the block has the dword of an address; it must not be 0. */
function placeOf(block: DataView, address: number): number {
  let at = block.getUint32(BLOCK.PIECES * 4, true);
  for (;;) {
    let word = block.getUint32(at, true);
    at += 8;
    for (let run = block.getUint32(at, true); run !== 0; run = block.getUint32(at, true)) {
      word += (run >>> 16) * 4;
      const count = run & 0xffff;
      if (address >= word && address < word + count * 4) return at + 4 + address - word;
      word += count * 4;
      at += 4 + count * 4;
    }
    at += 4;
  }
}
