import { CR0, CR4, EFER } from '../../src/arch/registers.ts';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import type { ExpectedRecord, SeenRecord } from '../../src/grid/records.ts';
import { type PagingRegisters, pagingModeOf } from '../../src/grid/registers.ts';
import type { Alternative } from '../../src/grid/step-expectation.ts';
import type { ExplainedStep, Finding, Moment } from './explain.ts';

/** Page-fault error code bits, which EXITINFO1 has too (APM vol. 2 15.25.6, SDM vol. 3A 4.7). */
const P = 0x01;
const RSVD = 0x08;
const FETCH = 0x10;

const has2Level = ({ cr0, cr4 }: PagingRegisters): boolean => (cr0 & CR0.PG) !== 0 && (cr4 & CR4.PAE) === 0;
const hasNoPaging = ({ cr0 }: PagingRegisters): boolean => (cr0 & CR0.PG) === 0;
const hasNx = (registers: PagingRegisters): boolean =>
  pagingModeOf(registers) === 'PAE' && (registers.efer & EFER.NXE) !== 0;

/** An L2 runs below nested tables of a host of which `test` is true. */
const runsBelow =
  (test: (host: PagingRegisters) => boolean) =>
  ({ step, nesting }: Moment): boolean =>
    step.do !== 'enter' && nesting !== undefined && test(nesting.host);

type ExpectedExit = Extract<ExpectedRecord, { kind: 'exit' }>;

/** The nested page faults that a step may end in. */
const nestedFaultsIn = (expected: readonly Alternative[]): ExpectedExit[] =>
  expected.flatMap(({ records: [must] }) =>
    must?.kind === 'exit' && must.code === VMEXIT.NPF ? [must] : [],
  );

const nestedErrorCodeOf = (saw: SeenRecord | undefined): number | undefined =>
  saw?.kind === 'exit' && saw.code === VMEXIT.NPF ? saw.info1 : undefined;

/** What QEMU makes of an error code with RSVD (rsvd-without-p). */
const withoutP = (errorCode: number): number => ((errorCode & RSVD) === 0 ? errorCode : errorCode & ~P);

/** VMRUN had to refuse, and did not. */
const entersInstead = ({ step, expected, seen }: ExplainedStep): boolean =>
  step.do === 'enter' &&
  seen.length === 0 &&
  expected.every(({ records: [must] }) => must?.kind === 'exit' && must.code === VMEXIT.INVALID);

/** A field of a PAT has a reserved type: 2, 3, or more than 7 (APM vol. 2 7.8.1). */
export const isIllegalPat = (text: string): boolean =>
  Array.from({ length: 8 }, (_, field) => Number((BigInt(text) >> BigInt(8 * field)) & 0xffn)).some(
    (type) => type === 2 || type === 3 || type > 7,
  );

/** The last edit of the page that nCR3 points to made a PDPTE with one of the bits 1, 2 and 8:5. */
function hasReservedPdpte({ nesting }: Moment, past: readonly Moment[]): boolean {
  const last = past.findLast(
    ({ step }) => step.do === 'edit' && nesting?.root.split('+')[0] === step.page,
  )?.step;
  return last?.do === 'edit' && last.width === 8 && /\b(?:W|U|A|D|PS|G)\b/.test(last.entry.flags);
}

/** What QEMU's TCG does otherwise than the manuals say with nested paging. */
export const QEMU_NESTED_FINDINGS: readonly Finding[] = [
  {
    name: 'nested-2-level-tables-not-walked',
    about:
      "Below a host without PAE nested tables are not walked: the guest's physical addresses are system-physical ones. " +
      "They have the format of the host's paging mode at VMRUN (APM vol. 2 15.25.3).",
    explains: (details, past) =>
      (details.step.do === 'probe' && runsBelow(has2Level)(details)) ||
      // Nothing was marked as accessed in the nested tables, nor stored where they lead.
      (details.step.do === 'read' && past.some(runsBelow(has2Level))),
    afterOthers: true,
    // What a probe stored at the wrong place is there from now on.
    hasConsequences: true,
    kills: (_, course) => course.some(runsBelow(has2Level)),
  },
  {
    name: 'nested-paging-without-cpuid',
    about:
      'VMRUN takes NP_ENABLE where CPUID has no nested paging, and does it; a processor without it (APM vol. 2 15.25.2) has ' +
      'nothing to do it with: VMEXIT_INVALID.',
    explains: (details) => entersInstead(details) && details.nesting?.offered === false,
    hasConsequences: true,
  },
  {
    name: 'nested-paging-without-host-paging',
    about:
      "VMRUN takes NP_ENABLE from a host with CR0.PG clear, and the guest's physical addresses are system-physical ones; " +
      'it has to end in VMEXIT_INVALID (APM vol. 2 15.25.3).',
    explains: (details) =>
      entersInstead(details) && details.nesting !== undefined && hasNoPaging(details.nesting.host),
    hasConsequences: true,
    kills: (_, course) => course.some(runsBelow(hasNoPaging)),
  },
  {
    name: 'g-pat-unchecked',
    about:
      'VMRUN takes a G_PAT with a reserved memory type; it has to end in VMEXIT_INVALID (APM vol. 2 15.25.4).',
    explains: (details) =>
      entersInstead(details) && details.nesting?.gPat !== undefined && isIllegalPat(details.nesting.gPat),
    hasConsequences: true,
  },
  {
    name: 'g-pat-not-loaded',
    about:
      "With nested paging the guest's PAT is that of L1, and its writes change L1's; VMRUN gives it a PAT of its own, G_PAT " +
      '(APM vol. 2 15.25.2, 15.25.4).',
    explains: ({ step, nesting, seen: [saw] }) =>
      step.do === 'pat' && nesting !== undefined && saw?.kind === 'done',
    hasConsequences: true,
  },
  {
    name: 'ncr3-unchecked',
    about:
      'VMRUN takes an nCR3 with bits at and above MAXPHYADDR; it has to end in VMEXIT_INVALID (APM vol. 2 15.25.4).',
    explains: (details) => entersInstead(details) && (details.nesting?.rootHigh ?? 0) !== 0,
    hasConsequences: true,
  },
  {
    name: 'nested-fetch-without-smep-flag',
    about:
      "A nested page fault on a fetch has no I/D in EXITINFO1 where of the host's CR4.SMEP and EFER.NXE only the first is " +
      'set; APM vol. 2 15.25.6 sets it for every code read, and 8.4.2 with either of the two.',
    explains: ({ nesting, expected, seen: [saw] }) =>
      nesting !== undefined &&
      (nesting.host.cr4 & CR4.SMEP) !== 0 &&
      !hasNx(nesting.host) &&
      nestedFaultsIn(expected).some(({ info1 = [] }) =>
        info1.some((must) => (must & FETCH) !== 0 && nestedErrorCodeOf(saw) === withoutP(must & ~FETCH)),
      ),
  },
  {
    name: 'nested-pdpte-reserved-bits',
    about:
      'A PDPTE of nested tables with one of the bits 1, 2 and 8:5 set is used as if they were clear; they are reserved ' +
      '(APM vol. 2 figure 5-20, 15.25.5): #VMEXIT(NPF) with RSVD.',
    explains: (details, past) =>
      runsBelow((host) => pagingModeOf(host) === 'PAE')(details) &&
      hasReservedPdpte(details, past) &&
      nestedFaultsIn(details.expected).some(({ info1 = [] }) => info1.some((must) => (must & RSVD) !== 0)) &&
      (details.seen[0]?.kind === 'done' || ((nestedErrorCodeOf(details.seen[0]) ?? RSVD) & RSVD) === 0),
    hasConsequences: true,
  },
  {
    name: 'guest-address-cut-to-32-bits',
    about:
      'Below a 32-bit host a guest-physical address above 4 GBytes is used without its bits above 31; no nested entry ' +
      'translates it (APM vol. 2 15.25.3, 15.25.6): #VMEXIT(NPF), not present, with the whole address.',
    explains: ({ nesting, expected }) =>
      nesting !== undefined &&
      nestedFaultsIn(expected).length > 0 &&
      nestedFaultsIn(expected).every(({ high }) => (high?.info2 ?? 0) !== 0),
    hasConsequences: true,
  },
];
