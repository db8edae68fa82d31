import type { Mismatch, MismatchDetails } from '../../src/grid/judge.ts';
import { pagingModeOf } from '../../src/grid/registers.ts';
import { PROBE_FORMS, probeFormNumber } from '../../src/guest/probe-forms.ts';

/** Page-fault error code bits (SDM vol. 3A 4.7). */
const P = 0x01;
const RSVD = 0x08;

/** What QEMU's TCG does otherwise than the manuals say. Each was checked against them; the oracle is right. */
export interface Finding {
  readonly name: string;
  /** What it does, what the manual says and where, as a sentence. */
  readonly about: string;
  readonly explains: (details: MismatchDetails) => boolean;
  /** Later mismatches of the same scenario follow from it. */
  readonly hasConsequences?: true;
}

export const QEMU_FINDINGS: readonly Finding[] = [
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
                ? [record.info1 ?? 0, saw.info1]
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
      seen[0]?.kind === 'done',
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
    name: 'fault-keeps-translation',
    about:
      'A page fault leaves other cached translations of the page in place, for other privilege levels or kinds of ' +
      'access; it invalidates them all (SDM vol. 3A 4.10.4.1, APM vol. 2 5.5.3), so that an edit without INVLPG is ' +
      'certain to be seen after a fault.',
    explains: ({ step, expected, seen }) =>
      step.do === 'probe' &&
      expected.every(({ records }) => records[0]?.kind === 'fault' || records[0]?.kind === 'exit') &&
      seen[0]?.kind === 'done',
  },
];

/** Mismatches of one scenario, each with the finding that explains it, if one does. */
export function explainMismatches(
  mismatches: readonly Mismatch[],
): { mismatch: Mismatch; finding: Finding | undefined }[] {
  let cause: Finding | undefined;
  return mismatches.map((mismatch) => {
    const { details } = mismatch;
    const finding = details && (QEMU_FINDINGS.find(({ explains }) => explains(details)) ?? cause);
    if (finding?.hasConsequences === true) cause = finding;
    return { mismatch, finding };
  });
}
