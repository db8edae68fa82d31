import { VMEXIT } from '../../src/arch/svm-exits.ts';
import type { ExpectedRecord, SeenRecord } from '../../src/grid/records.ts';
import { pagingModeOf } from '../../src/grid/registers.ts';
import type { Alternative } from '../../src/grid/step-expectation.ts';
import { PROBE_FORMS, probeFormNumber } from '../../src/guest/probe-forms.ts';
import type { Finding, Moment } from './explain.ts';
import { isIllegalPat, QEMU_NESTED_FINDINGS } from './qemu-nested-findings.ts';

/** Page-fault error code bits (SDM vol. 3A 4.7). */
const P = 0x01;
const RSVD = 0x08;

/** #VMEXIT(NPF): the guest's own tables permitted the access. */
const isNestedFault = (saw: SeenRecord | undefined): boolean =>
  saw?.kind === 'exit' && saw.code === VMEXIT.NPF;

/** A page fault that L1 intercepts; a nested page fault need not invalidate anything (docs/findings.md). */
const isPageFaultExit = (must: ExpectedRecord | undefined): boolean =>
  must?.kind === 'exit' && must.code !== VMEXIT.NPF;

/** Whether somebody probed the page of a probe before an edit, and again after it, who could meet a fault there. */
function probedAroundEdit({ step, level }: Moment, past: readonly Moment[]): boolean {
  if (step.do !== 'probe') return false;
  const isProbe = (moment: Moment): boolean =>
    moment.level === level && moment.step.do === 'probe' && moment.step.at >>> 12 === step.at >>> 12;
  const first = past.findIndex(isProbe);
  const edit = past.findIndex((moment, index) => index > first && moment.step.do === 'edit');
  return first >= 0 && edit >= 0 && past.some((moment, index) => index > edit && isProbe(moment));
}

const isGeneralProtection = ({ records }: Alternative): boolean =>
  records[0]?.kind === 'fault' && records[0].vector === 13;

/** What QEMU's TCG does otherwise than the manuals say. */
export const QEMU_FINDINGS: readonly Finding[] = [
  ...QEMU_NESTED_FINDINGS,
  {
    name: 'rsvd-without-p',
    about:
      'A page fault for a reserved bit has RSVD without P in its error code; SDM vol. 3A 4.7 sets RSVD only together ' +
      'with P, because only present entries have reserved bits.',
    explains: ({ expected, seen }) =>
      expected.some(
        ({ records }) =>
          records.length === seen.length &&
          records.every((record, index) => {
            const saw = seen[index];
            const [must, did] =
              record.kind === 'exit' && saw.kind === 'exit'
                ? [record.info1?.[0] ?? 0, saw.info1]
                : record.kind === 'fault' && saw.kind === 'fault'
                  ? [record.errorCode, saw.errorCode]
                  : [0, 0];
            return (must & RSVD) !== 0 && did === (must & ~P);
          }),
      ),
  },
  {
    name: 'implicit-access-with-ac',
    about:
      'At CPL 0, EFLAGS.AC lets a segment load read its descriptor from a user page under CR4.SMAP; for implicit ' +
      'supervisor accesses AC does not count (SDM vol. 3A 4.6.1).',
    explains: ({ step, seen }) =>
      step.do === 'probe' &&
      step.ac === true &&
      PROBE_FORMS[probeFormNumber(step.form)].implicit === true &&
      // Nested tables may forbid what the guest's own must have forbidden before.
      (seen[0]?.kind === 'done' || isNestedFault(seen[0])),
  },
  {
    name: 'pdpte-reserved-bits',
    about:
      'A PDPTE with one of the bits 1, 2 and 8:5 set is used as if they were clear; they are reserved (SDM vol. 3A ' +
      'table 4-8), so with PDPTEs read on use the access raises #PF with RSVD, and otherwise MOV CR3 raises #GP.',
    explains: ({ registers, expected, seen }) =>
      pagingModeOf(registers) === 'PAE' &&
      expected.some(({ records }) => records[0]?.kind === 'fault' && (records[0].errorCode & RSVD) !== 0) &&
      (seen[0]?.kind === 'done' || (seen[0]?.kind === 'fault' && (seen[0].errorCode & RSVD) === 0)),
    // What a probe stored through such an entry is there from now on.
    hasConsequences: true,
  },
  {
    name: 'reserved-vector-injected',
    about:
      'VMRUN injects an exception with the reserved vector 15, which is none; it has to end in VMEXIT_INVALID (APM ' +
      'vol. 2 15.20), as it does for vectors 2 and 31.',
    explains: ({ step, expected, seen }) =>
      step.do === 'enter' &&
      step.vmcb?.inject?.vector === 15 &&
      expected.every(({ records }) => records[0]?.kind === 'exit') &&
      seen[0]?.kind === 'fault' &&
      seen[0].vector === 15,
    hasConsequences: true,
  },
  {
    name: 'pat-unchecked',
    about: 'WRMSR of the PAT takes a reserved memory type; it has to raise #GP (APM vol. 2 7.8.1).',
    explains: ({ step, expected, seen }) =>
      step.do === 'pat' &&
      step.value !== undefined &&
      isIllegalPat(step.value) &&
      expected.every(isGeneralProtection) &&
      seen[0]?.kind === 'done',
    hasConsequences: true,
  },
  {
    name: 'absent-feature-accepted',
    about:
      'Without NX or PGE in CPUID, EFER.NXE is ignored and CR4.PGE can be set; both bits are reserved then and raise ' +
      '#GP (APM vol. 2 3.1.7, 3.1.3).',
    explains: ({ step, expected, seen }) =>
      step.do === 'set' && expected.every(isGeneralProtection) && seen[0]?.kind === 'done',
    hasConsequences: true,
  },
  {
    name: 'fault-keeps-translation',
    about:
      'A page fault leaves other cached translations of the page in place, for other privilege levels or kinds of ' +
      'access; it invalidates them all (SDM vol. 3A 4.10.4.1, APM vol. 2 5.5.3), so that an edit without INVLPG is ' +
      'certain to be seen after a fault.',
    explains: (details, past) =>
      details.expected.every(({ records: [must] }) => must?.kind === 'fault' || isPageFaultExit(must)) &&
      details.seen[0]?.kind === 'done' &&
      probedAroundEdit(details, past),
  },
  {
    name: 'reserved-cr4-bit-exits',
    about:
      'MOV CR4 with SMEP or SMAP, where CPUID has no such feature, does a #VMEXIT, in a guest or not, instead of ' +
      'raising #GP (APM vol. 2 3.1.3); outside a guest the processor runs on with what the host save area holds, zeros ' +
      'before the first VMRUN.',
    explains: ({ step, expected, seen }) =>
      step.do === 'set' &&
      (step.flag === 'CR4.SMEP' || step.flag === 'CR4.SMAP') &&
      expected.every(isGeneralProtection) &&
      seen[0]?.kind !== 'done',
    hasConsequences: true,
    kills: ({ absent = [] }) => absent.some((feature) => feature === 'smep' || feature === 'smap'),
  },
];
