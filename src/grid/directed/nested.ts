import type { Scenario, Step } from '../scenario.ts';
import {
  at,
  directed,
  editPage,
  reads,
  type SmallSpace,
  smallSpace,
  stateIn,
  underPlainL1,
  visit,
  visitWith,
  without,
  writes,
} from './build.ts';

const inner = () =>
  smallSpace(
    'l2',
    'PAE',
    { 0: { to: 'l2.pt', flags: 'P W U' } },
    {
      pt: { 0: { to: 'l2.page', flags: 'P W U' }, 1: { flags: '' }, 2: { to: 'l2.page', flags: 'P U' } },
    },
  );
const pages = () => ({ ...inner().pages, 'l2.page': {} });
const look = [
  reads(at(0, 0), 'present'),
  writes(at(0, 0), 'present', 3),
  reads(at(0, 1), 'absent'),
  writes(at(0, 2), 'read-only'),
];

/** Page faults that L0's tables make are no business of L1, those of L2's tables are. */
const faultsIntercepted = (): Scenario =>
  underPlainL1(
    'faults-intercepted',
    "L1 intercepts L2's page faults.",
    { ...stateIn(inner(), 'CR0.WP'), interceptPageFaults: true },
    pages(),
    [...visit(...look), { do: 'enter', l2: 'A', reflect: true }, ...look, { do: 'leave' }],
  );

/** A bit of CR4 that the processor lacks, in the VMCB: VMRUN refuses it, whatever CR4 L0 would run L2 with. */
function illegalCr4(): Scenario {
  const scenario = underPlainL1(
    'illegal-cr4-at-entry',
    'L1 enters L2 with CR4.SMEP set on a processor without SMEP, then without.',
    stateIn(inner(), 'CR0.WP'),
    pages(),
    [
      ...visit(...look),
      ...visitWith({ flags: ['CR0.WP', 'CR4.SMEP'] }, ...look),
      ...visitWith({ flags: ['CR0.WP'] }, ...look),
    ],
  );
  return without(scenario, 'smep');
}

/** INVLPGA of whoever executes it names ASIDs as L1 gives them, 0 being L1's own (APM vol. 2 15.16.2). */
function invalidatesByAsid(): Scenario {
  const spaceOf = (prefix: string): SmallSpace => {
    const page = { to: `${prefix}.page`, flags: 'P W U A D' };
    const table = { to: `${prefix}.pt`, flags: 'P W U A' };
    return smallSpace(prefix, '2-level', { 0: table }, { pt: { 0: page, 1: page, 2: page } });
  };
  const [outer, own] = [spaceOf('l1'), spaceOf('l2')];
  const entries = [reads(at(0, 0), 'edited'), reads(at(0, 1), 'taken out'), reads(at(0, 2), 'untouched')];
  /** Edits two entries and drops their pages under an ASID. */
  const change = (space: SmallSpace, to: string, asid: number): Step[] => [
    editPage(space, 'pt', 0, { to, flags: 'P W U A D' }),
    editPage(space, 'pt', 1, { flags: '' }),
    ...[0, 1].map((page): Step => ({ do: 'invlpga', at: at(0, page), asid })),
  ];
  return directed({
    name: 'invlpga-by-l2',
    about: "L2 edits its own tables and those of L1, and drops the pages by INVLPGA under each one's ASID.",
    pages: { ...outer.pages, ...own.pages, 'l1.page': {}, 'l1.other': {}, 'l2.page': {}, 'l2.other': {} },
    l1: stateIn(outer, 'CR0.WP'),
    l2: { A: { ...stateIn(own, 'CR0.WP'), asid: 1 } },
    steps: [
      ...entries,
      ...visit(
        ...entries,
        ...change(own, 'l2.other', 1),
        ...entries,
        ...change(outer, 'l1.other', 0),
        ...entries,
        // A processor may have kept L2's page under the other ASID or not.
        editPage(own, 'pt', 0, { to: 'l2.page', flags: 'P W U A D' }),
        { do: 'invlpga', at: at(0, 0), asid: 0 },
        ...entries,
      ),
      ...entries,
    ],
  });
}

/** What L1 hears of L2, what it may enter it with, and how far L2 reaches. */
export const nestedScenarios = (): Scenario[] => [faultsIntercepted(), illegalCr4(), invalidatesByAsid()];
