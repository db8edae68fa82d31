/** A bug of KVM's history that no mutant stands for, and why. */
export interface Inexpressible {
  readonly subject: string;
  readonly mended: string;
  /** What it needs that L0 does not have. */
  readonly reason: string;
}

const EPT = 'Needs EPT: L0 runs on SVM.';
const LONG_MODE = 'Needs long mode, which no guest of L0 has.';
const NO_MODEL_CHANGE = "A VM's CPU model never changes.";

/** What of KVM's history paging of 32-bit guests on SVM cannot express. */
export const INEXPRESSIBLE: readonly Inexpressible[] = [
  {
    subject: 'reserved-bit check of shadow entries with ept=0, WP=0, SMEP=1, NX=0',
    mended: '2016',
    reason:
      'L0 knows an MMIO entry by its whole value and never judges its own entries by reserved bits; the hardware side is ' +
      'the mutant nx-not-forced.',
  },
  { subject: 'EPT permissions in the exit qualification', mended: '2017, 0780516a18f8', reason: EPT },
  {
    subject: 'NX treated as unused in reserved masks without TDP',
    mended: '2021, 112022bdb5bc',
    reason: 'As the check of 2016: L0 has no reserved masks for its own entries.',
  },
  {
    subject: 'MMU context not reset at RESET, INIT and RSM',
    mended: '2021, 0aa1837533e5',
    reason: 'A RESET ends the machine, and there is neither INIT of a running vCPU nor SMM.',
  },
  {
    subject: 'MMUs not reinitialised on CPUID changes',
    mended: '2021, 49c6f8756cdf',
    reason: NO_MODEL_CHANGE,
  },
  { subject: 'cr4_la57 missing in the role', mended: '2021, f71a53d1180d', reason: LONG_MODE },
  {
    subject: 'CR0, CR4 and EFER truncated to 32 bits on the way to the role',
    mended: '2021',
    reason: 'Registers of 32-bit guests have no more.',
  },
  { subject: "nested MMU's accessed and dirty mode on EPTP switching", mended: '2021', reason: EPT },
  { subject: 'last_vpid not cleared at VMXON', mended: '2026', reason: 'Needs VMX.' },
  {
    subject: 'levels consulted when roots are freed',
    mended: '2022',
    reason: "L0's roots are four objects that are freed whole, whatever the mode is by then.",
  },
  {
    subject: 'missing VMLOAD and VMSAVE intercepts, int_ctl bits, VMCB read twice',
    mended: '2021, CVE-2021-3656, CVE-2021-3653, CVE-2021-29657',
    reason: 'Not bugs of paging: no probe of memory meets them, and the last one needs a second processor.',
  },
];
