import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/arch/input-error.ts';
import { compileScenario } from '../../src/grid/compile.ts';
import { scenarioText } from '../../src/grid/describe.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import { parseScenarios } from '../../src/grid/text/parse.ts';

/** One of everything that the text form knows. */
const EVERYTHING: Scenario = {
  name: 'every/thing-1',
  about: 'One of everything: needs, pages and steps.',
  features: ['pae', 'nx'],
  absent: ['smap'],
  pages: {
    pd: { entries4: { 4: { to: 'pt', flags: 'P W U' }, 5: { to: 0x0080_0000, flags: 'P PS 13' } } },
    pt: { entries4: { 0: { to: 'data+0x1000', flags: '' } }, entries8: { 3: { flags: 'P NX 51' } } },
    pdpt: { entries8: { 1: { to: 'pd', flags: 'P' } }, words: { 4088: 0xffff_ffff } },
    data: { at: 0x0080_0000 },
  },
  l1: { mode: '2-level', root: 'pd', flags: ['CR0.WP', 'EFER.NX'] },
  l2: {
    A: { mode: 'PAE', root: 'pdpt+0xfe0', flags: [], asid: 1, interceptPageFaults: true },
    B: { mode: 'off', flags: ['CR4.SMEP'], asid: 2 },
  },
  steps: [
    { do: 'enter', l2: 'B', reflect: true },
    { do: 'leave' },
    {
      do: 'enter',
      l2: 'A',
      reflect: true,
      vmcb: {
        mode: '2-level+PSE',
        root: 'pd',
        flags: [],
        asid: 3,
        interceptPageFaults: false,
        tlbControl: 'asid-non-global',
        inject: { vector: 14, errorCode: 2 },
      },
    },
    { do: 'switch', mode: 'off', flags: [] },
    { do: 'switch', mode: 'PAE', root: 'pdpt', flags: ['CR0.WP'] },
    { do: 'set', flag: 'CR4.PSE', value: true },
    { do: 'set', flag: 'CR0.PG', value: false },
    { do: 'load-cr3', root: 'pdpt+0x20' },
    { do: 'reload-cr3' },
    {
      do: 'edit',
      page: 'pt',
      index: 3,
      width: 8,
      entry: { to: 'data', flags: 'P NX' },
      stores: 'high-first',
    },
    { do: 'edit', page: 'pt', index: 4, width: 4, entry: { flags: '' } },
    { do: 'write', page: 'data', offset: 6, width: 2, value: 0xfffe },
    { do: 'read', page: 'data', offset: 0xff8, width: 8 },
    { do: 'invlpg', at: 0xffff_f000 },
    { do: 'invlpga', at: 0x0100_0000, asid: 2 },
    { do: 'probe', form: 'rmw4', cpl: 3, at: 0x0140_0ffe, value: 7, ac: true, about: 'from here (to there)' },
    { do: 'probe', form: 'write4', cpl: 0, at: 0x0140_0000, entry: { to: 'data', flags: 'P W A' }, ac: true },
    { do: 'host', action: 'move', page: 'pt' },
    { do: 'host', action: 'remove', page: 'data' },
    { do: 'host', action: 'return', page: 'data' },
    { do: 'registers' },
    { do: 'leave' },
  ],
};

describe('the text form', () => {
  it('keeps everything that a scenario says', () => {
    expect(parseScenarios(scenarioText(EVERYTHING), 'file')).toEqual([EVERYTHING]);
  });

  it('keeps every scenario of the matrix, so that the same bytes run', () => {
    for (const scenario of matrix().flatMap((cell) => cell.scenarios)) {
      const text = scenarioText(scenario);
      const [read] = parseScenarios(text, scenario.name);
      expect(scenarioText(read)).toBe(text);
      expect(read.steps).toHaveLength(scenario.steps.length);
    }
  });

  it('compiles to the same image after a round trip', () => {
    const scenarios = matrix().flatMap((cell) => cell.scenarios.filter((_, index) => index % 9 === 0));
    for (const scenario of scenarios) {
      const [read] = parseScenarios(scenarioText(scenario), scenario.name);
      expect(Buffer.compare(compileScenario(read).image, compileScenario(scenario).image)).toBe(0);
    }
  });

  it('reads several scenarios, comments and step numbers of any order', () => {
    const one = '# first\n\nscenario a\n  About a.\n  L1: off\n  9. leave\n   # between\n  1. registers\n';
    const read = parseScenarios(`${one}scenario b\r\n  About b.\r\n  L1: off\r\n`, 'file');
    expect(read.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(read[0].steps).toEqual([{ do: 'leave' }, { do: 'registers' }]);
  });
});

const HEAD = 'scenario a\n  About a.\n  L1: 2-level root pd\n';
// biome-ignore format: table
const WRONG: readonly [string, string][] = [
  ['', 'x.scenario has no scenario; a file begins with "scenario NAME".'],
  ['1. leave', 'x.scenario, line 1: "1. leave" stands before any scenario; a file begins with'],
  ['scenario A', 'line 1: "A" is no name of a scenario; names have letters'],
  ['scenario a b', '"b" is too much; the line must end before it'],
  ['scenario a', 'line 1: Scenario a says nothing of itself'],
  ['scenario a\nAbout.', 'line 1: Scenario a has no L1; a line like'],
  [`${HEAD}  L1: off`, 'line 4: L1 is there twice'],
  [`${HEAD}  B: PAE asid 1`, 'line 4: Mode PAE has no root'],
  [`${HEAD}  B: off`, '"B: off" ends too early; "asid" must follow'],
  [`${HEAD}  B: 3-level`, '"3-level" is no paging mode; it is one of off, 2-level,'],
  [`${HEAD}  needs avx`, '"avx" is no feature; it is one of pse, pae'],
  [`${HEAD}  wants pae`, '"wants pae" is no line of a scenario; lines begin with'],
  [`${HEAD}  page P`, '"P" is no name of a page'],
  [`${HEAD}  page a\n  page a`, 'line 5: Page "a" is there twice'],
  [`${HEAD}  page a at 0x100000000`, '"0x100000000" is no physical address; it is a number from 0 to 0xffffffff'],
  [`${HEAD}  [1]/4 a P`, 'That belongs to no page'],
  [`${HEAD}  page a\n  [1]/2 a P`, '"[1]/2" is no place of an entry'],
  [`${HEAD}  page a\n  [1]/4 a NX`, '"NX" is no bit of an entry of 4 bytes'],
  [`${HEAD}  page a\n  [1]/4 Q`, '"Q" is no entry; write a page and flags'],
  [`${HEAD}  page a\n  [1]/4 a+0xfc000000 P`, '"0xfc000000" is no offset; it is a number from 0 to 0xfbffffff'],
  [`${HEAD}  1. load-cr3 a+${'9'.repeat(400)}`, 'is no offset; it is a number from 0 to 0xfbffffff'],
  [`${HEAD}  \x1b]0;title\x07`, 'line 4: There is a control character, 0x1b; a scenario file is plain text.'],
  [`scenario a\n\x9b31mAbout.`, 'line 2: There is a control character, 0x9b; a scenario file is plain text.'],
  [`${HEAD}${'x'.repeat(1001)}`, 'line 4: The line has 1001 characters; lines have 1000 at most.'],
  [`${HEAD}  1. jump`, 'line 4: "jump" is no step; it is one of enter, leave,'],
  [`${HEAD}  1. set CR0.WP`, '"CR0.WP" sets no flag; write FLAG=0 or FLAG=1'],
  [`${HEAD}  1. edit a[3] = zero`, '"a[3]" is no place in a page; write it like table[3]/4'],
  [`${HEAD}  1. edit a[1024]/4 = zero`, 'A page has no entry 1024 of 4 bytes; entries are numbered 0 to 1023'],
  [`${HEAD}  1. write a+0xfff/2 = 1`, 'That leaves the page; the last offset for 2 bytes is 0xffe'],
  [`${HEAD}  1. probe read8 cpl 0 at 0`, '"read8" is no form of probe'],
  [`${HEAD}  1. probe read4 cpl 1 at 0`, '"1" is no privilege level; it is one of 0, 3'],
  [`${HEAD}  1. probe read4 cpl 0 at here`, '"here" is no linear address'],
  [`${HEAD}  1. probe read4 cpl 0 at 0 loudly`, 'a remark stands in parentheses'],
  [`${HEAD}  1. enter A with speed`, '"speed" is no change of a VMCB; changes are a paging mode'],
  [`${HEAD}  1. host burn a`, '"burn" is no action of the host; it is one of move, remove, return'],
  [`${HEAD}  1. leave now`, '"now" is too much'],
];

describe('a bad scenario file', () => {
  it.each(WRONG)('%j is refused', (text, sentence) => {
    expect(() => parseScenarios(text, 'x.scenario')).toThrow(InputError);
    expect(() => parseScenarios(text, 'x.scenario')).toThrow(sentence);
  });
});
