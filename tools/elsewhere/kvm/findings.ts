import { CR0, CR4, EFER } from '../../../src/arch/registers.ts';
import type { SeenRecord } from '../../../src/grid/records.ts';
import { type PagingRegisters, pagingModeOf } from '../../../src/grid/registers.ts';
import type { Alternative } from '../../../src/grid/step-expectation.ts';
import type { Finding, Moment } from '../explain.ts';
import { QEMU_FINDINGS } from '../qemu-findings.ts';
import { cr4OfL1, exitsWithoutPaging } from './cr4-of-l1.ts';

/** Page-fault error code bits (SDM vol. 3A 4.7). */
const RSVD = 0x08;
const FETCH = 0x10;

const is2Level = (registers: PagingRegisters): boolean => {
  const mode = pagingModeOf(registers);
  return mode === '2-level' || mode === '2-level+PSE';
};
const isPae = (registers: PagingRegisters): boolean => pagingModeOf(registers) === 'PAE';
const hasNxe = ({ efer }: PagingRegisters): boolean => (efer & EFER.NXE) !== 0;
/** CR4.SMAP with CR0.WP clear. */
const hasSmapWithoutWp = ({ cr0, cr4 }: PagingRegisters): boolean =>
  (cr4 & CR4.SMAP) !== 0 && (cr0 & CR0.WP) === 0;

/** Error codes that page faults may have, also those that exit. */
const errorCodesIn = (expected: readonly Alternative[]): number[] =>
  expected.flatMap(({ records: [must] }) => {
    if (must?.kind === 'fault') return [must.errorCode];
    return must?.kind === 'exit' ? [...(must.info1 ?? [])] : [];
  });

const errorCodeOf = (saw: SeenRecord | undefined): number | undefined => {
  if (saw?.kind === 'fault') return saw.errorCode;
  return saw?.kind === 'exit' ? saw.info1 : undefined;
};

const mustFault = (expected: readonly Alternative[]): boolean =>
  expected.every(({ records: [must] }) => must?.kind === 'fault' || must?.kind === 'exit');

const CR4_OF_L1: Finding = {
  name: 'cr4-of-l1-lost',
  about:
    "When an L2 with CR0.PG clear exits, L1 gets L2's CR4 with PAE and the host's MCE set in place of its own; #VMEXIT " +
    'restores the host state (APM vol. 2 15.6). A PAE L1 lives on without its PGE, SMEP and SMAP; a 2-level L1 is lost.',
  explains: ({ level, registers, expected, seen: [saw] }, past) => {
    if (level !== 'L1') return false;
    const difference = (cr4OfL1(past) ?? registers.cr4) ^ registers.cr4;
    if (difference === 0) return false;
    if ((difference & ~CR4.MCE) !== 0) return true;
    return expected.some(({ records: [must] }) => {
      if (saw?.kind !== 'done') return false;
      if (must?.kind === 'registers') return (saw.words[2] ^ must.cr4) === difference;
      return must?.kind === 'value' && (saw.words[0] ^ must.lo) === difference;
    });
  },
  hasConsequences: true,
  kills: (_, course) =>
    course.some(
      (moment, index) =>
        exitsWithoutPaging(moment, course[index + 1]) &&
        is2Level(course.findLast(({ level }, before) => before < index && level === 'L1')!.registers),
    ),
};

/** What KVM's own MMU does otherwise. */
const MMU: readonly Finding[] = [
  {
    name: 'fetch-flag-without-pae',
    about:
      'With EFER.NXE set but CR4.PAE clear, a page fault on a fetch has I/D in its error code; it is set only if ' +
      'CR4.SMEP, or both CR4.PAE and EFER.NXE (SDM vol. 3A 4.7, APM vol. 2 8.4.2).',
    explains: ({ registers, expected, seen: [saw] }) =>
      is2Level(registers) &&
      hasNxe(registers) &&
      errorCodesIn(expected).some((errorCode) => errorCodeOf(saw) === (errorCode | FETCH)),
  },
  {
    name: 'nx-page-kept-without-nxe',
    about:
      'A page that was used with EFER.NXE set can be used on when it is clear, though bit 63 of its entries is reserved ' +
      'then (SDM vol. 3A table 4-11, APM vol. 2 5.6.1), and CR3 was loaded in between.',
    explains: ({ registers, expected, seen: [saw] }, past) =>
      isPae(registers) &&
      !hasNxe(registers) &&
      past.some((moment) => isPae(moment.registers) && hasNxe(moment.registers)) &&
      errorCodesIn(expected).some((errorCode) => (errorCode & RSVD) !== 0) &&
      (saw?.kind === 'done' || ((errorCodeOf(saw) ?? RSVD) & RSVD) === 0),
    // What a probe stored through such an entry is there from now on.
    hasConsequences: true,
  },
  {
    name: 'pse-keeps-tables',
    about:
      'After a change of CR4.PSE an entry with the PS bit is a table as it was before, or a large page as it was before; ' +
      'the change invalidates all translations (APM vol. 2 5.5.3), and the new value decides (SDM vol. 3A 4.3).',
    explains: ({ step, registers }, past) =>
      step.do === 'probe' &&
      is2Level(registers) &&
      past.some(
        ({ registers: then }) =>
          is2Level(then) && then.cr3 === registers.cr3 && ((then.cr4 ^ registers.cr4) & CR4.PSE) !== 0,
      ),
    hasConsequences: true,
  },
  {
    name: 'smap-forgotten-without-wp',
    about:
      'With CR0.WP clear, a supervisor write with EFLAGS.AC to a read-only user page takes the page out of the reach of ' +
      'CR4.SMAP: later supervisor accesses without AC succeed where they must fault (SDM vol. 3A 4.6.1).',
    explains: ({ step, registers, expected, seen: [saw] }, past) =>
      step.do === 'probe' &&
      hasSmapWithoutWp(registers) &&
      past.some((moment) => writesWithAc(moment) && hasSmapWithoutWp(moment.registers)) &&
      mustFault(expected) &&
      saw?.kind === 'done',
    hasConsequences: true,
  },
  {
    name: 'fault-keeps-shadow-entry',
    about:
      'A page fault on an entry that has become absent leaves the old translation in place for other accesses; it ' +
      'invalidates all translations of the page (SDM vol. 3A 4.10.4.1, APM vol. 2 5.5.3).',
    explains: ({ step, expected, seen: [saw] }, past) =>
      step.do === 'probe' &&
      past.some((moment) => moment.step.do === 'edit') &&
      mustFault(expected) &&
      errorCodesIn(expected).every((errorCode) => (errorCode & 1) === 0) &&
      saw?.kind === 'done',
  },
  {
    name: 'pge-without-cpuid',
    about: 'CR4.PGE can be set where CPUID has no PGE; it is reserved then: #GP (APM vol. 2 3.1.3).',
    explains: ({ step, expected, seen: [saw] }) =>
      step.do === 'set' &&
      step.flag === 'CR4.PGE' &&
      expected.every(({ records: [must] }) => must?.kind === 'fault' && must.vector === 13) &&
      saw?.kind === 'done',
    hasConsequences: true,
  },
];

/** A supervisor's write by EFLAGS.AC, or one that may be. */
const writesWithAc = ({ step }: Moment): boolean => step.do === 'probe' && step.cpl === 0 && step.ac === true;

/** What QEMU does wrong below KVM with what KVM leaves to the processor. */
const SHOWN_THROUGH: ReadonlySet<string> = new Set(['implicit-access-with-ac', 'reserved-vector-injected']);

/** What Linux's KVM with npt=0 does otherwise than the manuals say. */
export const KVM_FINDINGS: readonly Finding[] = [
  // Before all others, because with another CR4 the others mean nothing.
  CR4_OF_L1,
  ...QEMU_FINDINGS.filter(({ name }) => SHOWN_THROUGH.has(name)),
  ...MMU,
];
