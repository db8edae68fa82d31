import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/arch/input-error.ts';
import { compileScenario } from '../../src/grid/compile.ts';
import { scenarioText } from '../../src/grid/describe.ts';
import { matrix } from '../../src/grid/matrix/matrix.ts';
import type { EnterStep, EntryEdit, L2State, Scenario, VmcbChanges } from '../../src/grid/scenario.ts';
import { parseScenarios } from '../../src/grid/text/parse.ts';

/** One of everything that the text form knows. */
const EVERYTHING: Scenario = {
  name: 'every/thing-1',
  about: 'One of everything: needs, pages and steps.',
  features: ['pae', 'nx', 'npt'],
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
    C: {
      mode: 'PAE',
      root: 'pdpt@0x40001000+0x20',
      flags: [],
      asid: 3,
      nested: 'pdpt+0xfe0',
      interceptPageFaults: true,
    },
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
    { do: 'leave' },
    {
      do: 'enter',
      l2: 'C',
      mend: { page: 'pt', index: 7, width: 8, entry: { to: 'data', flags: 'P W U' } },
      vmcb: { nested: false, nestedHigh: 0x1000, gPat: '0x0007040600070406' },
    },
    { do: 'leave' },
    {
      do: 'enter',
      l2: 'B',
      reflect: true,
      mend: { page: 'pd', index: 1, width: 4, entry: { flags: '' } },
      vmcb: { nested: 'pd' },
    },
    { do: 'load-cr3', root: 'pdpt@0xfffff000' },
    { do: 'edit', page: 'pt', index: 2, width: 4, entry: { to: 'data@0x40003000', flags: 'P W U' } },
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
    { do: 'pat' },
    { do: 'pat', value: '0x0007040600070106' },
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

  it('keeps nested paging, however it is set', () => {
    const offset = fc.integer({ min: 0, max: 0xfff }).map((value) => `+0x${value.toString(16)}`);
    const seenAt = fc.integer({ min: 0, max: 0xfffff }).map((page) => `@0x${(page * 0x1000).toString(16)}`);
    const maybe = (text: fc.Arbitrary<string>) => fc.option(text, { nil: '' });
    const reference = fc
      .tuple(fc.constantFrom('pd', 'pdpt', 'data-2.x'), maybe(seenAt), maybe(offset))
      .map((parts) => parts.join(''));
    const digits = fc.array(fc.constantFrom(...'0123456789abcdef'), { minLength: 16, maxLength: 16 });
    const vmcb = fc.record<VmcbChanges>(
      {
        nested: fc.oneof(reference, fc.constant(false as const)),
        nestedHigh: fc.integer({ min: 0, max: 0xffff_ffff }),
        gPat: digits.map((all) => `0x${all.join('')}`),
        root: reference,
        asid: fc.integer({ min: 0, max: 9 }),
      },
      { requiredKeys: ['asid'] },
    );
    const mend = fc.record<EntryEdit>({
      page: fc.constantFrom('pd', 'pt'),
      index: fc.integer({ min: 0, max: 511 }),
      width: fc.constantFrom(4, 8),
      entry: fc.oneof(
        fc.constant({ flags: '' }),
        fc.record({ to: reference, flags: fc.constantFrom('', 'P', 'P W U') }),
      ),
    });
    const enter = fc.record<EnterStep>(
      { do: fc.constant('enter'), l2: fc.constant('A'), vmcb, mend, reflect: fc.constant(true) },
      { requiredKeys: ['do', 'l2'] },
    );
    const l2 = fc.record<L2State>(
      {
        mode: fc.constantFrom('PAE', '2-level'),
        root: reference,
        flags: fc.constant([]),
        asid: fc.integer({ min: 0, max: 9 }),
        nested: reference,
        interceptPageFaults: fc.constant(true),
      },
      { requiredKeys: ['mode', 'root', 'flags', 'asid'] },
    );
    fc.assert(
      fc.property(l2, fc.array(enter), (A, steps) => {
        const scenario: Scenario = {
          name: 'a',
          about: 'Nested.',
          features: ['npt'],
          pages: {},
          l1: { mode: 'off', flags: [] },
          l2: { A },
          steps,
        };
        expect(parseScenarios(scenarioText(scenario), 'file')).toEqual([scenario]);
      }),
    );
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
  [`${HEAD}  B: off asid 1 nested`, 'ends too early; root of nested tables must follow'],
  [`${HEAD}  B: off asid 1 nested pd@0x1001`, '"pd@0x1001" lies across pages; its address for L2 is a multiple of 4096'],
  [`${HEAD}  B: off asid 1 nested pd@0x100000000`, '"0x100000000" is no address of a page for L2; it is a number from 0 to 0xfffff000'],
  [`${HEAD}  B: PAE root 4@0x1000 asid 1`, '"4@0x1000" is no root; it is the name of a page, with an offset as in table+0xfe0 or the address'],
  [`${HEAD}  1. enter A with no paging`, '"paging" cannot stand there; "#PF" must'],
  [`${HEAD}  1. enter A with no nested`, '"no nested" ends too early; "paging" must follow'],
  [`${HEAD}  1. enter A with g-pat 7`, '"7" is no value of the PAT; it is 0x and sixteen digits'],
  [`${HEAD}  1. pat = 0x7`, '"0x7" is no value of the PAT; it is 0x and sixteen digits'],
  [`${HEAD}  1. pat 0x0007040600070406`, '"0x0007040600070406" is too much'],
  [`${HEAD}  1. enter A mend a = zero`, '"a" is no place in a page; write it like table[3]/4'],
  [`${HEAD}  1. enter A mend a[3]/4 = P 99`, '"99" is no bit of an entry of 4 bytes'],
  [`${HEAD}  1. host burn a`, '"burn" is no action of the host; it is one of move, remove, return'],
  [`${HEAD}  1. leave now`, '"now" is too much'],
];

describe('a bad scenario file', () => {
  it.each(WRONG)('%j is refused', (text, sentence) => {
    expect(() => parseScenarios(text, 'x.scenario')).toThrow(InputError);
    expect(() => parseScenarios(text, 'x.scenario')).toThrow(sentence);
  });
});
