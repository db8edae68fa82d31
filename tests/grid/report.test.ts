import { describe, expect, it } from 'vitest';
import { directedScenarios } from '../../src/grid/directed/directed.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import { mutantHost } from '../../src/grid/mutants/hunt.ts';
import { mutantNamed } from '../../src/grid/mutants/mutants.ts';
import { htmlReport } from '../../src/grid/report/html.ts';
import { junitReport } from '../../src/grid/report/junit.ts';
import type { GridReport } from '../../src/grid/report/report.ts';
import { tellStory, worthTelling } from '../../src/grid/report/story.ts';
import { storyBody } from '../../src/grid/report/story-steps.ts';
import type { TableView } from '../../src/grid/report/table-view.ts';
import type { Scenario } from '../../src/grid/scenario.ts';

const WINDOW = 0x0100_0000;

/** L1 in 2-level paging and a PAE L2 with one page mapped writable and one read-only. */
const SCENARIO: Scenario = {
  name: 'told',
  about: 'L1 < L2 & back.',
  features: ['pae'],
  pages: {
    pd: { at: 0x30_0000 },
    pdpt: { at: 0x30_1000, entries8: { 0: { to: 'directory', flags: 'P' } } },
    directory: { at: 0x30_2000, entries8: { 8: { to: 'table', flags: 'P W U A' } } },
    table: {
      at: 0x30_3000,
      entries8: {
        0: { to: 'data', flags: 'P W U A D' },
        1: { to: 'data', flags: 'P U A' },
        2: { to: 'data', flags: 'P U A' },
      },
    },
    data: { at: 0x30_4000 },
  },
  l1: { mode: '2-level', root: 'pd', flags: ['CR0.WP'] },
  l2: { A: { mode: 'PAE', root: 'pdpt', flags: ['CR0.WP'], asid: 1 } },
  steps: [
    { do: 'enter', l2: 'A' },
    { do: 'probe', form: 'write4', cpl: 3, at: WINDOW, value: 1 },
    { do: 'probe', form: 'read4', cpl: 3, at: WINDOW + 0x1000 },
    { do: 'leave' },
    { do: 'registers' },
  ],
};

describe('a story', () => {
  const story = tellStory(SCENARIO);

  it('has every step with the role that L0 gave it', () => {
    expect(story.steps.map(({ text, level, right }) => ({ text: text.split(' ')[0], level, right }))).toEqual(
      [
        { text: 'enter', level: 'L1', right: true },
        { text: 'probe', level: 'A', right: true },
        { text: 'probe', level: 'A', right: true },
        { text: 'leave', level: 'A', right: true },
        { text: 'registers', level: 'L1', right: true },
      ],
    );
    const l1 = 'l3 4-byte q0 wux !nxe ad wp !pse';
    const l2 = 'l3 8-byte q0 wux !nxe ad wp guest_mode';
    expect(story.steps.map(({ role }) => role)).toEqual([l1, l2, l2, l2, l1]);
    expect(story.notes).toEqual([]);
  });

  it('shows the tables of L2 beside those of L0 before L2 leaves', () => {
    const tables = story.steps[3].before?.tables;
    const row = (from: number) => tables?.rows.find((candidate) => candidate.from === from);
    // The frame of `data` is 304h; without NX every mapping allows fetching.
    expect(row(WINDOW)).toEqual({
      from: WINDOW,
      to: WINDOW + 0xfff,
      guest: 'P W U A D -> 304',
      shadow: 'rwxu -> 304',
    });
    expect(row(WINDOW + 0x1000)).toMatchObject({ guest: 'P U A -> 304', shadow: 'r-xu -> 304' });
    expect(tables?.shadowPages).toContain('gfn 303 l1 8-byte q0 wux !nxe ad wp guest_mode');
  });

  it('shows nested tables beside those of L0, and what the own tables of L2 lead to', () => {
    const scenario = directedScenarios().find(
      ({ name }) => name === 'directed/nested-tables-behind-2-level',
    )!;
    const { steps } = tellStory(scenario, 'npt/pae');
    const left = steps.findIndex(({ text }) => text === 'leave');
    const tables = steps[left].before?.tables;
    const at = (rows: TableView['rows'] | undefined, from: number) =>
      rows?.find((row) => row.from <= from && from <= row.to);
    const dataFrame = /P W U A D -> ([0-9a-f]+)$/.exec(at(tables?.rows, 0x4000_0000)?.guest ?? '')?.[1];
    expect(tables?.addresses).toBe('L2-physical');
    expect(at(tables?.rows, 0x4000_0000)?.shadow).toBe(`rwxu -> ${dataFrame}`);
    // The page of one of L2's tables is read-only in the nested ones.
    expect(at(tables?.rows, 0x4000_5000)?.guest).toMatch(/^P U/);
    // L2's own tables lead from its linear addresses to the L2-physical page, by the one table that may be walked.
    expect(at(tables?.own, 0x4000_0000)).toEqual({
      from: 0x4000_0000,
      to: 0x4000_0fff,
      guest: 'P W U A D -> 40000',
      shadow: `rwxu -> ${dataFrame}`,
    });
    expect(steps[0].before?.tables.addresses).toBe('linear');
    expect(steps[0].before?.tables.own).toBeUndefined();
    const page = storyBody({ ...tellStory(scenario, 'npt/pae') });
    expect(page).toContain("<th>linear</th><th>L2's own entry and L2-physical frame</th>");
    expect(page).toContain("<th>L2-physical</th><th>L1's nested entry and frame</th>");
  });

  it.each(['npt/pae', 'npt/nopae'] as const)(
    'enters the direct tables of %s by what the guest maps',
    (on) => {
      const { tables } = tellStory(SCENARIO, on).steps[3].before!;
      const row = tables.rows.find(({ from }) => from === WINDOW);
      // L0 maps all of a guest's memory as it is, here small, beside a table or in a large page.
      expect(row).toMatchObject({ guest: 'P W U A D -> 304' });
      expect(row?.shadow).toMatch(/^rwxu( large)? -> 304$/);
      expect(tables).not.toHaveProperty('own');
    },
  );

  it('shows the tables as a wrong step found and left them', () => {
    const toggled = directedScenarios().find(({ name }) => name === 'directed/wp-toggled')!;
    const mutant = mutantNamed('wp-not-in-role');
    const { steps } = tellStory(toggled, 'shadow/pae', (watch) => mutantHost(mutant, false, { watch }));
    const wrong = steps.filter(({ right }) => !right);
    // CR0.WP=1 forbids the supervisor to write; the page of WP=0, which the mutant goes on with, does not.
    expect(wrong[0]).toMatchObject({
      text: expect.stringMatching(/^probe write4 cpl 0 at 0x40000f84 .*\(read-only\)$/),
      expected: [expect.stringMatching(/^#PF in L2 with error code 0x3, CR2 0x40000f84, /)],
      seen: ['value 0xe00001'],
    });
    for (const { before, after } of wrong)
      expect([before?.role, after?.role]).toEqual(
        Array(2).fill('l3 4-byte q0 wux !nxe ad !wp !pse guest_mode'),
      );
    const shadow = (moment = wrong[0].before) =>
      moment?.tables.rows.find(({ from }) => from === 0x4000_0000)?.shadow;
    expect([shadow(), shadow(wrong[0].after)]).toEqual(['rwx- -> 305', 'rwx- -> 305']);
    expect(storyBody(tellStory(SCENARIO))).not.toContain('class="behind"');
  });

  it('ends with the step in which the machine came to a stop', () => {
    const mutant = mutantNamed('leaf-access-in-role');
    const fate = mutant.fate.caught === 'by a probe' ? mutant.fate.scenario : '';
    const scenario = directedScenarios().find(({ name }) => name === fate)!;
    const { steps, notes } = tellStory(scenario, 'shadow/pae', (watch) =>
      mutantHost(mutant, false, { watch }),
    );
    expect(steps.length).toBeLessThan(scenario.steps.length);
    const last = steps.at(-1)!;
    expect(last).toMatchObject({ right: false, seen: [] });
    expect(last.before?.tables.rows.length).toBeGreaterThan(0);
    expect(last.after?.role).toBe(last.before?.role);
    expect(notes).toEqual([
      expect.stringContaining(`the machine stopped in step ${steps.length}, ${last.text},`),
    ]);
  });

  it('is told of the wrong scenarios, and of the shortest right one of a cell', () => {
    const [cell] = matrix();
    const [first, ...others] = cell.scenarios;
    const byName = (name: string): Scenario => cell.scenarios.find((one) => one.name === name)!;
    const summary = (name: string, mismatches: string[]) => ({ name, about: '', probes: 1, mismatches });
    const summaries = [summary(first.name, ['wrong']), ...others.map(({ name }) => summary(name, []))];
    const part = { on: 'shadow/pae', title: 'cell' } as const;
    const rightElsewhere = { on: 'bare', title: 'cell', summaries: summaries.slice(1) } as const;
    const told = worthTelling([{ ...part, summaries }, rightElsewhere], byName);
    expect(told).toHaveLength(2);
    expect(told[0]).toEqual({ on: 'shadow/pae', scenario: first });
    const lengths = others
      .filter(({ steps }) => steps.some((step) => step.do === 'enter'))
      .map(({ steps }) => steps.length);
    expect(told[1].scenario.steps).toHaveLength(Math.min(...lengths));
  });
});

const REPORT: GridReport = {
  about: 'What was run.',
  sections: [
    {
      on: 'shadow/pae',
      about: 'L0 <somewhere>',
      rows: ['2-level'],
      columns: ['off', 'PAE'],
      cells: [
        {
          title: 'shadow/pae, L1 2-level, L2 PAE',
          row: '2-level',
          column: 'PAE',
          probes: 12,
          mismatches: 1,
          scenarios: [
            { name: 'told', about: SCENARIO.about, probes: 2, mismatches: [] },
            { name: 'wrong/one', about: 'Fails.', probes: 10, mismatches: ['expected <1>\nsaw "2"'] },
            { name: 'not/run', about: 'Needs more.', probes: 0, mismatches: [], skipped: 'no smap' },
          ],
        },
        { title: 'shadow/pae, directed', row: 'directed', probes: 5, mismatches: 0, scenarios: [] },
      ],
    },
  ],
};

describe('the HTML report', () => {
  const page = htmlReport(REPORT, [tellStory(SCENARIO)]);

  it('needs nothing from elsewhere', () => {
    expect(page).not.toMatch(/(?:src|href)="(?!#)/);
    expect(page).not.toMatch(/@import|url\(/);
  });

  it('has the heat map, linked to its cells', () => {
    expect(page).toContain('<a href="#shadow-pae-L1-2-level-L2-PAE">1 of 12 wrong</a>');
    expect(page).toContain('<section id="shadow-pae-L1-2-level-L2-PAE">');
    expect(page).toContain('<td class="none">');
    expect(page).toContain('On L0 &lt;somewhere&gt;.');
    expect(page).toContain('skipped: no smap');
    expect(page).toMatch(
      /<tr><th scope="row">directed<\/th><td class="right" colspan="2" [^>]*><a href="#shadow-pae-directed">5 right<\/a>/,
    );
    expect(page).toContain('<section id="shadow-pae-directed">');
  });

  it('tells stories with text made harmless', () => {
    expect(page).toContain('L1 &lt; L2 &amp; back.');
    expect(page).toContain('expected &lt;1&gt;');
    expect(page).toContain(
      'role <s>l3 4-byte q0 wux !nxe ad wp !pse</s> <b>l3 8-byte q0 wux !nxe ad wp guest_mode</b>',
    );
    expect(page).toContain('<td>01000000-01000fff</td><td>P W U A D -&gt; 304</td><td>rwxu -&gt; 304</td>');
  });
});

describe('the JUnit report', () => {
  it('has a suite for each cell and a case for each scenario', () => {
    expect(junitReport(REPORT, 1.5)).toBe(`<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="umbra grid" tests="3" failures="1" skipped="1" errors="0" time="1.500">
  <testsuite name="shadow/pae, L1 2-level, L2 PAE" tests="3" failures="1" skipped="1" errors="0">
    <testcase classname="shadow/pae, L1 2-level, L2 PAE" name="told"/>
    <testcase classname="shadow/pae, L1 2-level, L2 PAE" name="wrong/one">
      <failure message="expected &lt;1&gt;">expected &lt;1&gt;
saw &quot;2&quot;</failure>
    </testcase>
    <testcase classname="shadow/pae, L1 2-level, L2 PAE" name="not/run"><skipped message="no smap"/></testcase>
  </testsuite>
  <testsuite name="shadow/pae, directed" tests="0" failures="0" skipped="0" errors="0">
  </testsuite>
</testsuites>
`);
  });
});
