import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/arch/input-error.ts';
import { VMCB, VMCB_SAVE } from '../../src/arch/vmcb.ts';
import { compileScenario, vmcbAddress } from '../../src/grid/compile.ts';
import { scenarioText } from '../../src/grid/describe.ts';
import { entryText, entryValue } from '../../src/grid/entry.ts';
import { MARKER_OFFSET, markerBytes } from '../../src/grid/marker.ts';
import { PageMemory } from '../../src/grid/page-memory.ts';
import { placePages, SCENARIO_MEMORY } from '../../src/grid/placement.ts';
import type { Scenario, Step } from '../../src/grid/scenario.ts';
import { AGENT_LAYOUT, ENTER_FLAG, OPERATION } from '../../src/guest/agent-layout.ts';
import { AGENT_NESTED_TABLES, AGENT_TABLES } from '../../src/guest/agent-paging.ts';

const SMALL: Scenario = {
  name: 'small',
  about: 'One page in each level.',
  features: ['pae'],
  pages: {
    pd: { entries4: { 4: { to: 'pt', flags: 'P W U' } } },
    pt: { entries4: { 1: { to: 'data', flags: 'P U' } } },
    data: {},
    pdpt: { entries8: { 1: { to: 'pd8', flags: 'P' } } },
    pd8: { entries8: { 8: { to: 'large', flags: 'P W U PS 51' } } },
    large: { at: 0x0080_0000, words: { 16: 0xdeadbeef } },
  },
  l1: { mode: '2-level', root: 'pd', flags: ['CR0.WP'] },
  l2: { A: { mode: 'PAE', root: 'pdpt', flags: [], asid: 5 } },
  steps: [
    { do: 'probe', form: 'read4', cpl: 3, at: 0x0100_1f80 },
    { do: 'enter', l2: 'A', vmcb: { flags: ['EFER.NX'], tlbControl: 'asid' } },
    { do: 'set', flag: 'CR4.PGE', value: true },
    { do: 'leave' },
  ],
};
const withSteps = (...steps: Step[]): Scenario => ({ ...SMALL, steps });

describe('compileScenario', () => {
  it('refuses nested paging where nobody says whether the processor has it', () => {
    const small: Scenario = { ...SMALL, pages: { ...SMALL.pages, npt: {} } };
    const byState: Scenario = { ...small, l2: { A: { ...SMALL.l2.A, nested: 'npt' } } };
    const byStep: Scenario = {
      ...small,
      steps: [{ do: 'enter', l2: 'A', vmcb: { nested: 'npt' } }, { do: 'leave' }],
    };
    const sentence =
      'Scenario "small" runs A with nested paging; write "needs npt", or "on a processor without npt".';
    for (const scenario of [byState, byStep]) {
      expect(() => compileScenario(scenario)).toThrow(sentence);
      expect(() => compileScenario({ ...scenario, features: ['npt'] })).not.toThrow();
      expect(() => compileScenario({ ...scenario, absent: ['npt'] })).not.toThrow();
    }
  });

  const compiled = compileScenario(SMALL);
  const memory = new PageMemory(SCENARIO_MEMORY, compiled.segments);
  const at = (name: string): bigint => BigInt(compiled.placement.get(name)!);
  const word = (address: bigint): number => Number(memory.read(address, 4));

  it('places pages one after another, and where they ask to be', () => {
    expect(compiled.placement.get('pd')).toBe(AGENT_LAYOUT.PAGES);
    expect(compiled.placement.get('pt')).toBe(AGENT_LAYOUT.PAGES + 0x1000);
    expect(compiled.placement.get('large')).toBe(0x0080_0000);
  });

  it('writes entries, words and markers', () => {
    expect(word(at('pd') + 16n)).toBe(AGENT_LAYOUT.PAGES + 0x1000 + 7);
    expect(word(at('pt') + 4n)).toBe(Number(at('data')) + 5);
    expect(memory.read(at('pd8') + 64n, 8)).toBe((1n << 51n) | 0x0080_0087n);
    expect(word(at('large') + 0x10n)).toBe(0xdeadbeef);
    // The third page: every answer is 3.
    expect(word(at('data') + BigInt(MARKER_OFFSET))).toBe(0x0303_0303);
    expect([...markerBytes(3).slice(8, 15)]).toEqual([0xb9, 3, 3, 3, 3, 0xff, 0xe2]);
  });

  it('maps the agents in every root, by its format', () => {
    AGENT_TABLES.twoLevelEntries.forEach((entry, index) => {
      expect(word(at('pd') + BigInt(index * 4))).toBe(entry);
    });
    expect(word(at('pdpt'))).toBe(AGENT_TABLES.pdpte);
  });

  it('puts L2 into its VMCB, and changes to it into the script', () => {
    const vmcb = BigInt(vmcbAddress(SMALL, 'A'));
    expect(word(vmcb + BigInt(VMCB.GUEST_ASID))).toBe(5);
    expect(word(vmcb + BigInt(VMCB_SAVE.CR4))).toBe(0x20);
    const script = BigInt(AGENT_LAYOUT.SCRIPT);
    const operations = Array.from({ length: 12 }, (_, index) => word(script + BigInt(index * 32)));
    const { SWITCH, PROBE, WRITE, ENTER, NOTHING, SET, LEAVE, END } = OPERATION;
    expect(operations).toEqual([
      SWITCH,
      PROBE,
      WRITE,
      WRITE,
      WRITE,
      WRITE,
      WRITE,
      ENTER,
      NOTHING,
      SET,
      LEAVE,
      END,
    ]);
    // EFER is the fourth write; L1 goes on after LEAVE if L2 cannot run.
    expect(word(script + 5n * 32n + 8n)).toBe(Number(vmcb) + VMCB_SAVE.EFER);
    expect(word(script + 5n * 32n + 16n)).toBe(0x1800);
    expect(word(script + 7n * 32n + 12n)).toBe(AGENT_LAYOUT.SCRIPT + 11 * 32);
  });

  // biome-ignore format: table
  const wrong: readonly [string, Scenario, string][] = [
    ['an unknown L2', withSteps({ do: 'enter', l2: 'B' }, { do: 'leave' }), 'Step 1 (enter) of scenario "small": There is no L2 "B"; the scenario has A.'],
    ['L2 entering L2', withSteps({ do: 'enter', l2: 'A' }, { do: 'enter', l2: 'A' }), 'A cannot enter A: only L1 runs L2s.'],
    ['leaving L1', withSteps({ do: 'leave' }), 'L1 cannot leave'],
    ['an end in L2', withSteps({ do: 'enter', l2: 'A' }), 'ends in A; its last step must be in L1'],
    ['an unknown page', withSteps({ do: 'load-cr3', root: 'nowhere' }), 'There is no page "nowhere"; the scenario has pd, pt,'],
    ['a flag of the wrong width', withSteps({ do: 'edit', page: 'pt', index: 0, width: 4, entry: { flags: 'P NX' } }), '"NX" is not a flag of an entry of 4 bytes'],
    ['PUSH at CPL 0', withSteps({ do: 'probe', form: 'push', cpl: 0, at: 0x0100_0000 }), 'A push probe runs at CPL 3 only'],
    ['a write over the agents', withSteps({ do: 'probe', form: 'write4', cpl: 0, at: 0x0010_0000 }), 'would write over the agents'],
    ['a vector without handler', withSteps({ do: 'enter', l2: 'A', vmcb: { inject: { vector: 48 } } }, { do: 'leave' }), 'L2 has no handler for vector 48; those from 0 to 47 can be injected.'],
    ['G_PAT that is none', withSteps({ do: 'enter', l2: 'A', vmcb: { gPat: '0x7' } }, { do: 'leave' }), '"0x7" is no value of the PAT'],
    ['a PAT that is none', withSteps({ do: 'pat', value: '7' }), '"7" is no value of the PAT'],
    ['nested tables that are not there', { ...SMALL, features: ['npt'], l2: { A: { ...SMALL.l2.A, nested: 'npt' } } }, 'There is no page "npt"'],
    ['an address for L2 across pages', withSteps({ do: 'load-cr3', root: 'pd@0x40000800' }), '"pd@0x40000800" is at 0x40000800 for L2, which is not a multiple of 4096.'],
    ['a root without a page', { ...SMALL, l1: { mode: 'PAE', flags: [] } }, 'Paging mode PAE needs a root page.'],
    ['a page on another', { ...SMALL, pages: { ...SMALL.pages, more: { at: 0x0080_0000 } } }, 'where page "large" is already'],
    ['a page in the agents', { ...SMALL, pages: { ...SMALL.pages, more: { at: 0x0010_0000 } } }, 'pages of scenarios lie in 0x300000 to'],
    ['an entry of the agents', { ...SMALL, pages: { ...SMALL.pages, pd: { entries4: { 0: { to: 'pt', flags: 'P' } } } } }, 'the first 16 MiB of every address space belong to the agents'],
    ['an entry beyond the table', { ...SMALL, pages: { ...SMALL.pages, pt: { entries8: { 512: { flags: 'P' } } } } }, 'has no entry 512'],
  ];
  it.each(wrong)('refuses %s', (_, scenario, sentence) => {
    expect(() => compileScenario(scenario)).toThrow(InputError);
    expect(() => compileScenario(scenario)).toThrow(sentence);
  });
});

describe('nested paging', () => {
  const scenario: Scenario = {
    ...SMALL,
    pages: {
      ...SMALL.pages,
      npt: { entries4: { 256: { to: 'npt.pt', flags: 'P W U' } } },
      'npt.pt': { entries4: { 1: { to: 'pdpt', flags: 'P W U A D' } } },
    },
    features: ['pae', 'npt'],
    l2: { A: { mode: 'PAE', root: 'pdpt@0x40001000+0x20', flags: [], asid: 5, nested: 'npt' } },
    steps: [
      {
        do: 'enter',
        l2: 'A',
        mend: { page: 'npt.pt', index: 2, width: 4, entry: { to: 'data', flags: 'P' } },
      },
      { do: 'leave' },
      { do: 'enter', l2: 'A', vmcb: { nestedHigh: 1, gPat: '0x0102030405060708' } },
      { do: 'leave' },
      { do: 'enter', l2: 'A', vmcb: { nested: false } },
      { do: 'leave' },
    ],
  };
  const compiled = compileScenario(scenario);
  const memory = new PageMemory(SCENARIO_MEMORY, compiled.segments);
  const at = (name: string): number => compiled.placement.get(name)!;
  const word = (address: number): number => Number(memory.read(BigInt(address), 4));
  const vmcb = vmcbAddress(scenario, 'A');

  it('is in the VMCB, with CR3 an address of L2', () => {
    expect(word(vmcb + VMCB.NESTED_CTL)).toBe(1);
    expect(word(vmcb + VMCB.N_CR3)).toBe(at('npt'));
    expect(word(vmcb + VMCB_SAVE.CR3)).toBe(0x4000_1020);
  });

  it("maps the agents in the nested tables, in L1's format, and in L2's where they are", () => {
    AGENT_NESTED_TABLES.twoLevelEntries.forEach((entry, index) => {
      expect(word(at('npt') + index * 4)).toBe(entry);
    });
    expect(word(at('pdpt') + 0x20)).toBe(AGENT_TABLES.pdpte);
  });

  it('is changed and ended by the script, and an entry to mend is given with it', () => {
    const steps = Array.from({ length: 24 }, (_, index) => AGENT_LAYOUT.SCRIPT + index * 32);
    const operations = steps.map((step) => Array.from({ length: 8 }, (_, field) => word(step + field * 4)));
    const writes = operations
      .filter(([operation]) => operation === OPERATION.WRITE)
      .map(([, , ...operands]) => operands.slice(0, 4));
    expect(writes).toEqual([
      [vmcb + VMCB.NESTED_CTL, 4, 1, 0],
      [vmcb + VMCB.N_CR3, 8, at('npt'), 1],
      [vmcb + VMCB_SAVE.G_PAT, 8, 0x0506_0708, 0x0102_0304],
      [vmcb + VMCB.NESTED_CTL, 4, 0, 0],
    ]);
    const [first] = operations.filter(([operation]) => operation === OPERATION.ENTER);
    expect(first.slice(4)).toEqual([ENTER_FLAG.MEND4, at('npt.pt') + 8, at('data') + 1, 0]);
  });
});

describe('entries', () => {
  const placement = placePages(SMALL);

  it('are an address and flags', () => {
    expect(entryValue({ to: 'large+0x200000', flags: 'P W U PS G' }, 4, placement)).toEqual({
      lo: 0x00a0_0187,
      hi: 0,
    });
    expect(entryValue({ to: 0x1_2345_6000, flags: 'P NX 51' }, 8, placement)).toEqual({
      lo: 0x2345_6001,
      hi: 0x8008_0001,
    });
    expect(entryValue({ flags: '' }, 8, placement)).toEqual({ lo: 0, hi: 0 });
  });

  it('have a text form', () => {
    expect(entryText({ to: 'data', flags: 'P W' })).toBe('data P W');
    expect(entryText({ flags: '' })).toBe('zero');
  });
});

describe('scenarioText', () => {
  it('shows levels, pages and numbered steps', () => {
    const text = scenarioText(SMALL);
    expect(text).toContain('  L1: 2-level root pd CR0.WP\n');
    expect(text).toContain('  A: PAE root pdpt asid 5\n');
    expect(text).toContain('    [8]/8 large P W U PS 51\n');
    expect(text).toContain('  2. enter A with flags EFER.NX, flush asid\n');
    expect(text).toContain('  1. probe read4 cpl 3 at 0x1001f80\n');
  });
});

describe('a root that the host has removed', () => {
  const host = (action: 'remove' | 'return', page: string): Step => ({ do: 'host', action, page });
  const enter: Step = { do: 'enter', l2: 'A' };
  const leave: Step = { do: 'leave' };
  const compile = (...steps: Step[]) => compileScenario(withSteps(...steps));

  it('ends whoever runs on it', () => {
    const sentence =
      'Step 1 (host) of scenario "small": L1 cannot go on here: the host has removed "pd", the root of its tables';
    expect(() => compile(host('remove', 'pd'))).toThrow(sentence);
    expect(() => compile(enter, host('remove', 'pd'), leave)).toThrow('Step 3 (leave)');
    expect(() =>
      compile(host('remove', 'pt'), { do: 'switch', mode: '2-level', root: 'pt', flags: [] }),
    ).toThrow('L1 cannot go on here: the host has removed "pt"');
  });

  it('may go while it is not needed', () => {
    // PDPTEs are in registers; L1's root is not read while L2 runs.
    expect(() => compile(enter, host('remove', 'pdpt'), leave)).not.toThrow();
    expect(() => compile({ do: 'switch', mode: 'off', flags: [] }, host('remove', 'pd'))).not.toThrow();
    expect(() => compile(enter, host('remove', 'pd'), host('return', 'pd'), leave)).not.toThrow();
  });

  it('ends L1 where it hears of faults', () => {
    const hear: Step = { do: 'enter', l2: 'A', vmcb: { interceptPageFaults: true } };
    expect(() => compile(hear, host('remove', 'pd'), host('return', 'pd'), leave)).toThrow('L1 cannot go on');
  });
});
