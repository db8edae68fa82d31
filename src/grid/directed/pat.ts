import type { Scenario, Step } from '../scenario.ts';
import { at, reads, USED, underPlainL1, visit, visitWith } from './build.ts';
import { nestedSpace, underNested } from './nested-build.ts';

/** The type of entries without PWT, PCD and PAT, which the agents' are, is WB in all of them. */
const AT_RESET = '0x0007040600070406';
const OF_L1 = '0x0007040600070506';
const OF_L2 = '0x0001040600070406';
const WRITTEN_BY_L2 = '0x0000000000010006';
const RESERVED = '0x0000000000000206';

const READ: Step = { do: 'pat' };
const write = (value: string): Step => ({ do: 'pat', value });

/** L2 has a PAT of its own, which its VMCB keeps, and L1 has its own back (APM vol. 2 15.25.4). */
const ownPat = (): Scenario =>
  underNested(
    'pat',
    'L1 and L2 read and write the PAT, with nested paging, without, and with it again.',
    { nested: nestedSpace('2-level', { 0: { to: 'npt.pt', flags: USED } }, { pt: {} }) },
    [
      write(OF_L1),
      reads(at(0, 0), 'of L1'),
      ...visitWith({ gPat: OF_L2 }, READ),
      READ,
      ...visit(READ, write(WRITTEN_BY_L2), write(RESERVED), READ),
      READ,
      ...visit(READ),
      ...visitWith({ nested: false }, READ, write(AT_RESET), READ),
      READ,
      ...visitWith({ nested: 'npt.pd' }, READ),
      READ,
      reads(at(0, 0), 'of L1'),
    ],
  );

/** Without nested paging there is one PAT for both, whatever G_PAT says. */
const sharedPat = (): Scenario =>
  underPlainL1(
    'pat-of-l1-and-l2',
    'L1 and L2, whose tables L1 shadows, read and write the PAT that they share.',
    { mode: 'off', flags: [] },
    {},
    [
      write(OF_L1),
      reads(at(0, 0), 'of L1'),
      ...visitWith({ gPat: OF_L2 }, READ, write(WRITTEN_BY_L2), write(RESERVED), READ),
      READ,
      write(AT_RESET),
      ...visit(READ),
    ],
  );

/** Whose PAT is read and written. */
export const patScenarios = (): Scenario[] => [sharedPat(), ownPat()];
