import { VMEXIT } from '../../arch/svm-exits.ts';
import { V_INTR, V_INTR_PRIORITY_SHIFT, VMCB } from '../../arch/vmcb.ts';
import type { VmcbPage } from './vmcb-page.ts';

const PAGE_MASK = ~0xfff;
/** V_TPR has four bits, as CR8 (APM vol. 2 table B-1). */
const TASK_PRIORITY = 0xf;

/** A physical address from its halves; the low twelve bits are ignored, as VMRUN does for the permission maps. */
const pageAddress = (lo: number, hi: number): number => hi * 0x1_0000_0000 + ((lo & PAGE_MASK) >>> 0);

/**
 * The control area of the VMCB as the processor keeps it while the guest runs: read once by VMRUN, cleared by #VMEXIT
 * (APM vol. 2 15.5.1, 15.6). VMCB clean bits are a hint that this processor does not take (15.15.1).
 */
export class GuestControls {
  /** Intercept words in the order of the VMCB: CR, DR, exceptions, then the bits of INTERCEPT1 and INTERCEPT2. */
  registers = 0;
  debugRegisters = 0;
  exceptions = 0;
  first = 0;
  second = 0;
  /** Physical addresses of the permission maps. */
  iopm = 0;
  msrpm = 0;
  /** Added to every reading of the TSC, modulo 2^64. */
  tscOffsetLo = 0;
  tscOffsetHi = 0;
  asid = 0;
  /** The V_INTR word, V_IRQ and V_TPR current. */
  virtualInterrupt = 0;
  virtualVector = 0;

  load(page: VmcbPage): void {
    this.registers = page.read(VMCB.INTERCEPT_CR);
    this.debugRegisters = page.read(VMCB.INTERCEPT_DR);
    this.exceptions = page.read(VMCB.INTERCEPT_EXCEPTION);
    this.first = page.read(VMCB.INTERCEPT_MISC1);
    this.second = page.read(VMCB.INTERCEPT_MISC2);
    this.iopm = pageAddress(page.read(VMCB.IOPM_BASE_PA), page.readHigh(VMCB.IOPM_BASE_PA));
    this.msrpm = pageAddress(page.read(VMCB.MSRPM_BASE_PA), page.readHigh(VMCB.MSRPM_BASE_PA));
    this.tscOffsetLo = page.read(VMCB.TSC_OFFSET);
    this.tscOffsetHi = page.readHigh(VMCB.TSC_OFFSET);
    this.asid = page.read(VMCB.GUEST_ASID);
    this.virtualInterrupt = page.read(VMCB.V_INTR);
    this.virtualVector = page.readByte(VMCB.V_INTR_VECTOR);
  }

  /** What would end with this exit code is not intercepted: the codes follow the intercept bits, 32 to a word. */
  disregard(code: number): void {
    const kept = ~(1 << (code & 31));
    if (code < VMEXIT.DR0_READ) this.registers &= kept;
    else if (code < VMEXIT.EXCP) this.debugRegisters &= kept;
    else if (code < VMEXIT.INTR) this.exceptions &= kept;
    else if (code <= VMEXIT.SHUTDOWN) this.first &= kept;
    else if (code < VMEXIT.INVLPGB) this.second &= kept;
  }

  /** No host operation is intercepted, and the host's interrupts and TSC are its own. */
  clear(): void {
    this.registers = 0;
    this.debugRegisters = 0;
    this.exceptions = 0;
    this.first = 0;
    this.second = 0;
    this.tscOffsetLo = 0;
    this.tscOffsetHi = 0;
    this.asid = 0;
    this.virtualInterrupt = 0;
  }

  /** V_INTR_MASKING: EFLAGS.IF and CR8 of the guest are about virtual interrupts only (APM vol. 2 15.21.1). */
  get masksVirtually(): boolean {
    return (this.virtualInterrupt & V_INTR.INTR_MASKING) !== 0;
  }

  get virtualTaskPriority(): number {
    return this.virtualInterrupt & TASK_PRIORITY;
  }
  set virtualTaskPriority(value: number) {
    this.virtualInterrupt = (this.virtualInterrupt & ~TASK_PRIORITY) | (value & TASK_PRIORITY);
  }

  /** V_IRQ is set and V_TPR does not hold it back (APM vol. 2 15.21.4). */
  get virtualInterruptPending(): boolean {
    const word = this.virtualInterrupt;
    if ((word & V_INTR.IRQ) === 0) return false;
    if ((word & V_INTR.IGNORE_TPR) !== 0) return true;
    return (word & V_INTR.PRIORITY) >>> V_INTR_PRIORITY_SHIFT > (word & TASK_PRIORITY);
  }

  virtualInterruptTaken(): void {
    this.virtualInterrupt &= ~V_INTR.IRQ;
  }
}
