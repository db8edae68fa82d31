import type { Scenario } from '../scenario.ts';
import { at, reads, smallSpace, stateIn, underPlainL1, visit, visitWith, without, writes } from './build.ts';

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

/** What L1 hears of L2, and what it may enter it with. */
export const nestedScenarios = (): Scenario[] => [faultsIntercepted(), illegalCr4()];
