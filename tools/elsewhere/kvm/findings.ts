import { pagingModeOf } from '../../../src/grid/registers.ts';
import type { Scenario } from '../../../src/grid/scenario.ts';
import type { Finding } from '../explain.ts';
import { QEMU_FINDINGS } from '../qemu-findings.ts';

/** I/D in the error code of a page fault (SDM vol. 3A 4.7). */
const FETCH = 0x10;
const MCE = 0x40;

/** Some L2 runs without paging at some time. */
const hasL2WithoutPaging = ({ l2, steps }: Scenario): boolean =>
  Object.values(l2).some(({ mode }) => mode === 'off') ||
  steps.some(
    (step) =>
      (step.do === 'enter' && step.vmcb?.mode === 'off') || (step.do === 'switch' && step.mode === 'off'),
  );

/** What Linux's KVM with npt=0 does otherwise than the manuals say; what QEMU below it does comes after that. */
export const KVM_FINDINGS: readonly Finding[] = [
  {
    name: 'fetch-flag-without-pae',
    about:
      'With EFER.NXE set but CR4.PAE clear, a page fault on a fetch has I/D in its error code; it is set only if ' +
      'CR4.SMEP, or both CR4.PAE and EFER.NXE (SDM vol. 3A 4.7, APM vol. 2 8.4.2).',
    explains: ({ registers, expected, seen: [saw] }) =>
      pagingModeOf(registers) !== 'PAE' &&
      expected.some(({ records: [must] }) => {
        if (must?.kind === 'fault' && saw?.kind === 'fault')
          return saw.errorCode === (must.errorCode | FETCH);
        if (must?.kind !== 'exit' || saw?.kind !== 'exit') return false;
        return (must.info1 ?? []).some((info1) => saw.info1 === (info1 | FETCH));
      }),
  },
  {
    name: 'l1-registers-after-l2-without-paging',
    about:
      'After an L2 with CR0.PG clear exits, L1 does not get its own CR3 and CR4 back, but what the hypervisor had put ' +
      'there: CR4.MCE is set, and L1 with 2-level paging dies. #VMEXIT restores the host state (APM vol. 2 15.6).',
    explains: ({ expected, seen: [saw] }) =>
      expected.some(
        ({ records: [must] }) =>
          must?.kind === 'value' && saw?.kind === 'done' && (saw.words[0] ^ must.lo) === MCE,
      ) ||
      expected.some(
        ({ records: [must] }) =>
          must?.kind === 'registers' && saw?.kind === 'done' && (saw.words[2] ^ must.cr4) === MCE,
      ),
    kills: hasL2WithoutPaging,
  },
  ...QEMU_FINDINGS,
];
