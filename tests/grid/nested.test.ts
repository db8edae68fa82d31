import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/arch/input-error.ts';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import { compileScenario } from '../../src/grid/compile.ts';
import { Expectations } from '../../src/grid/expect.ts';
import { alternativeWords } from '../../src/grid/export/tables.ts';
import { expectedText, parseLog, recordMatches, seenText } from '../../src/grid/records.ts';
import type { L2State, Page, ProbeStep, Scenario, Step } from '../../src/grid/scenario.ts';
import type { StepExpectation } from '../../src/grid/step-expectation.ts';
import { RECORD_SIZE, RECORD_STATUS } from '../../src/guest/agent-layout.ts';

/** Linear addresses of L2, and the L2-physical ones that they are mapped to. */
const WINDOW = 0x8000_0000;
const L2_DATA = 0x4000_0000;
const NESTED_SLOT = L2_DATA / 0x40_0000;

/** 2-level L1; a 2-level L2 whose tables lie at their own addresses, but for a page table at L2_DATA + 0x5000. */
const PAGES: Readonly<Record<string, Page>> = {
  'l1.pd': {},
  npt: { entries4: { [NESTED_SLOT]: { to: 'npt.pt', flags: 'P W U A' } } },
  'npt.pt': {
    entries4: {
      0: { to: 'data', flags: 'P W U' },
      1: { to: 'data', flags: 'P U' },
      5: { to: 'l2.pt-inside', flags: 'P U' },
    },
  },
  'l2.pd': {
    entries4: {
      [WINDOW >>> 22]: { to: 'l2.pt', flags: 'P W U A' },
      [(WINDOW >>> 22) + 1]: { to: 'l2.pt-inside@0x40005000', flags: 'P W U A' },
    },
  },
  'l2.pt': {
    entries4: {
      0: { to: 'data@0x40000000', flags: 'P W U' },
      1: { to: 'data@0x40001000', flags: 'P W U A D' },
      2: { to: 0x4000_2000, flags: 'P W U A D' },
      3: { to: 'data@0x40000000', flags: 'P U A' },
    },
  },
  'l2.pt-inside': {},
  data: {},
};
const A: L2State = { mode: '2-level', root: 'l2.pd', flags: ['CR0.WP'], asid: 1, nested: 'npt' };
const MARKER = 0x0707_0707;

const scenario = (steps: readonly Step[], changes: Partial<Scenario> = {}): Scenario => ({
  name: 'nested',
  about: 'Nested.',
  features: ['npt'],
  pages: PAGES,
  l1: { mode: '2-level', root: 'l1.pd', flags: ['CR0.WP'] },
  l2: { A },
  steps,
  ...changes,
});
const probe = (form: ProbeStep['form'], page: number, value?: number): ProbeStep => ({
  do: 'probe',
  form,
  cpl: 3,
  at: WINDOW + page * 0x1000 + 0xf80,
  ...(value === undefined ? {} : { value }),
});

/** Every step's expectation, each settled with all that may be. */
function expectations(subject: Scenario): StepExpectation[] {
  const all = new Expectations(compileScenario(subject), { maxPhyAddr: 40, pdptes: 'registers' });
  const found: StepExpectation[] = [];
  for (let next = all.next(); next !== undefined; next = all.next()) {
    found.push(next);
    next.settle(next.alternatives);
  }
  return found;
}
const texts = (subject: Scenario): string[][] =>
  expectations(subject).map(({ alternatives }) =>
    alternatives.map(({ records }) => records.map(expectedText).join(', then ')),
  );
const visit = (...steps: Step[]): Step[] => [{ do: 'enter', l2: 'A' }, ...steps, { do: 'leave' }];
const left = ['VMMCALL exit to L1'];
const value = (word: number): string => `value 0x${word.toString(16)}`;

describe('expectations under nested paging', () => {
  it('reach pages through both stages', () => {
    expect(texts(scenario(visit(probe('read4', 0))))).toEqual([[''], [value(MARKER)], left]);
  });

  it('are nested page faults where nested tables forbid: bit 32 for the final address', () => {
    // W, U and P; then U alone, not present (APM vol. 2 15.25.6).
    expect(texts(scenario(visit(probe('write4', 1, 7), probe('read4', 2))))).toEqual([
      [''],
      ['NPF exit to L1, EXITINFO1 0x100000007, EXITINFO2 0x40001f80'],
      ['NPF exit to L1, EXITINFO1 0x100000004, EXITINFO2 0x40002f80'],
      left,
    ]);
  });

  it('have bit 33 where a table of L2 is behind a read-only nested page: walks are writes', () => {
    expect(texts(scenario(visit(probe('read4', 0x400))))[1]).toEqual([
      'NPF exit to L1, EXITINFO1 0x200000007, EXITINFO2 0x40005000',
    ]);
  });

  it("are L2's own page faults where its tables forbid, whatever the nested ones say", () => {
    const [, [text]] = texts(scenario(visit(probe('write4', 3, 7))));
    expect(text).toContain('#PF in L2 with error code 0x7');
  });

  it('set accessed and dirty flags in both stages', () => {
    const read = (page: string): Step => ({ do: 'read', page, offset: 0, width: 4 });
    const steps = [...visit(probe('write4', 0, 7)), read('l2.pt'), read('npt.pt')];
    const found = texts(scenario(steps));
    const compiled = compileScenario(scenario(steps));
    const data = compiled.placement.get('data')!;
    expect(found.slice(3)).toEqual([[value(0x4000_0067)], [value(data + 0x67)]]);
  });

  it('go on after L1 has mended an entry, once', () => {
    const mend = { page: 'npt.pt', index: 2, width: 4, entry: { to: 'data', flags: 'P U' } } as const;
    const steps: Step[] = [
      { do: 'enter', l2: 'A', mend },
      probe('read4', 2),
      probe('write4', 2, 7),
      { do: 'leave' },
    ];
    expect(texts(scenario(steps)).slice(1, 3)).toEqual([
      [`NPF exit to L1, EXITINFO1 0x100000004, EXITINFO2 0x40002f80, then ${value(MARKER)}`],
      ['NPF exit to L1, EXITINFO1 0x100000007, EXITINFO2 0x40002f80'],
    ]);
  });

  it('are a second exit where the mended entry is no better', () => {
    const mend = { page: 'npt.pt', index: 2, width: 4, entry: { flags: '' } } as const;
    const steps: Step[] = [{ do: 'enter', l2: 'A', mend }, probe('read4', 2), { do: 'leave' }];
    // The mended entry is as absent as before: a second exit.
    const exit = 'NPF exit to L1, EXITINFO1 0x100000004, EXITINFO2 0x40002f80';
    expect(texts(scenario(steps))[1]).toEqual([`${exit}, then ${exit}`]);
  });

  it('are a refusal for an L1 without paging, and for reserved memory types', () => {
    const refused = ['INVALID exit to L1'];
    const off = scenario(visit(), { l1: { mode: 'off', flags: [] } });
    expect(texts(off)[0]).toEqual(refused);
    const pat = (gPat: string): Scenario =>
      scenario([{ do: 'enter', l2: 'A', vmcb: { gPat } }, { do: 'leave' }]);
    expect(texts(pat('0x0007040600070402'))[0]).toEqual(refused);
    expect(texts(pat('0x0007040600070404'))[0]).toEqual(['']);
  });

  it('end with nested paging: the same addresses are then those of L1', () => {
    const steps: Step[] = [
      ...visit(probe('read4', 0)),
      { do: 'enter', l2: 'A', vmcb: { nested: false, flags: ['CR0.WP'] } },
      { do: 'leave' },
    ];
    expect(texts(scenario(steps)).slice(3)).toEqual([[''], left]);
  });

  it('throw where the agent could not run in L2', () => {
    const pages = { ...PAGES, npt: {} };
    const hidden = { ...A, root: 'l2.pd@0x40003000' };
    expect(() => texts(scenario(visit(), { pages, l2: { A: hidden } }))).toThrow(InputError);
    expect(() => texts(scenario(visit(), { pages, l2: { A: hidden } }))).toThrow(
      'The agent may not be able to run in A',
    );
  });

  it('throw an InputError where nobody can tell whether the agent could run', () => {
    const flags = { flags: 'P W U A D' };
    const pages = {
      ...PAGES,
      'npt.pt': { entries4: { ...PAGES['npt.pt'].entries4, 3: { to: 'l2.pd', ...flags } } },
      'l2.pt': { entries4: { 0: { to: 'npt.pt', ...flags } } },
    };
    const at = WINDOW + 3 * 4;
    // The store goes to the nested table if the TLB still has the page, to the data otherwise.
    const steps: Step[] = [
      { do: 'probe', form: 'read4', cpl: 3, at },
      { do: 'edit', page: 'l2.pt', index: 0, width: 4, entry: { to: 'data', ...flags } },
      { do: 'probe', form: 'write4', cpl: 3, at, value: 0x5a00_0001 },
    ];
    const moved: Step = { do: 'enter', l2: 'A', vmcb: { root: 'l2.pd@0x40003000' } };
    const run = () => texts(scenario([...visit(...steps), moved, { do: 'leave' }], { pages }));
    expect(run).toThrow(InputError);
    expect(run).toThrow('Nobody can tell what the PTE');
  });

  it('throw where L2 or L1 takes a root away that nested tables alone lead to', () => {
    const moved = { ...A, root: 'l2.pd@0x40003000' };
    const flags = { flags: 'P W U A D' };
    const pages = {
      ...PAGES,
      'npt.pt': { entries4: { ...PAGES['npt.pt'].entries4, 3: { to: 'l2.pd', ...flags } } },
    };
    const cut: Step = { do: 'edit', page: 'npt.pt', index: 3, width: 4, entry: { to: 'data', ...flags } };
    const run = (...steps: Step[]): string[][] => texts(scenario(steps, { pages, l2: { A: moved } }));
    expect(run(...visit(probe('read4', 0))).slice(1)).toEqual([[value(MARKER)], left]);
    expect(() => run(...visit(cut, probe('read4', 0)))).toThrow('The agent may not be able to run');
    expect(() => run(...visit(), cut, ...visit())).toThrow('The agent may not be able to run');
    // Elsewhere nothing leads from that address to the root.
    const away: Step = { do: 'load-cr3', root: 'l2.pd@0x40003000' };
    expect(() => run(away)).toThrow('The agent may not be able to run');
    expect(() => run({ do: 'enter', l2: 'A', vmcb: { nested: false } }, { do: 'leave' })).toThrow(
      'The agent may not be able to run',
    );
  });
});

const log = (...records: readonly (readonly number[])[]): Uint8Array => {
  const view = new DataView(new ArrayBuffer(records.length * RECORD_SIZE));
  records.forEach((words, index) => {
    words.forEach((word, field) => {
      view.setUint32(index * RECORD_SIZE + field * 4, word, true);
    });
  });
  return new Uint8Array(view.buffer);
};
const EXIT = 0x100 | RECORD_STATUS.EXIT;
const HIGH = 0x100 | RECORD_STATUS.EXIT_HIGH;

describe('records of a nested page fault', () => {
  const bytes = log([2, EXIT, VMEXIT.NPF, 4, 0x4000_2f80, 0x11_0000, 0, 0], [2, HIGH, 1, 0xf]);

  it('are one exit', () => {
    const [entry, ...others] = parseLog(bytes, bytes.length);
    expect(others).toEqual([]);
    expect(entry.record).toMatchObject({ kind: 'exit', info1: 4, high: { info1: 1, info2: 0xf } });
    expect(seenText(entry.record)).toContain('EXITINFO1 0x100000004, EXITINFO2 0xf40002f80');
  });

  it('are compared whole', () => {
    const [{ record }] = parseLog(bytes, bytes.length);
    const expected = { kind: 'exit', level: 1, code: VMEXIT.NPF, info1: [4, 0x14] } as const;
    expect(recordMatches({ ...expected, high: { info1: 1, info2: 0xf } }, record)).toBe(true);
    expect(recordMatches({ ...expected, high: { info1: 2, info2: 0xf } }, record)).toBe(false);
    expect(recordMatches({ ...expected, high: { info1: 1, info2: 0 } }, record)).toBe(false);
    expect(recordMatches(expected, record)).toBe(false);
  });

  it('are no log without the exit', () => {
    const lonely = log([2, HIGH, 1, 0]);
    expect(() => parseLog(lonely, lonely.length)).toThrow(RangeError);
  });

  it('are two records in an exported image, for each value of EXITINFO1', () => {
    const record = {
      kind: 'exit',
      level: 1,
      code: VMEXIT.NPF,
      info1: [4, 0x14],
      info2: [8],
      eip: [9],
      high: { info1: 1, info2: 0 },
    } as const;
    const words = alternativeWords([{ records: [record], source: 'tables' }]);
    const body = (info1: number) => [
      EXIT | (0b1111 << 16),
      VMEXIT.NPF,
      info1,
      8,
      9,
      HIGH | (0b11 << 16),
      1,
      0,
    ];
    expect(words).toEqual([4, 0x14].map((info1) => [(36 << 16) | 2, ...body(info1)]));
  });
});
