/**
 * The intercept words of the VMCBs (APM vol. 2 15.9 to 15.14): what L0 wants to see of its guest, and for L2 what L1 wants
 * on top.
 */
import { VECTOR } from '../../arch/exceptions.ts';
import { CLEAN, INTERCEPT1, INTERCEPT2, INTERCEPT3, VMCB } from '../../arch/vmcb.ts';
import type { L0Paging } from '../guest-cpu.ts';
import type { Vmcb } from './vmcb.ts';

/** Intercept words in a VMCB, 32 bits each from offset 0. */
const WORDS = 6;
const CR = VMCB.INTERCEPT_CR >>> 2;
const EXCEPTION = VMCB.INTERCEPT_EXCEPTION >>> 2;
const MISC1 = VMCB.INTERCEPT_MISC1 >>> 2;
const MISC2 = VMCB.INTERCEPT_MISC2 >>> 2;
const MISC3 = VMCB.INTERCEPT_MISC3 >>> 2;

const reads = (...registers: number[]): number => registers.reduce((bits, n) => bits | (1 << n), 0);
const writes = (...registers: number[]): number => reads(...registers.map((n) => n + 16));
const CR0_ACCESS = reads(0) | writes(0);
const CR8_ACCESS = (reads(8) | writes(8)) >>> 0;

/** CR8 is the task priority of the VM's APIC. Bits of CR4 may be reserved on the VM's CPU that the processor has. */
const CR_ALWAYS = reads(8) | writes(4, 8);
/** CR3 and CR4 are L0's while it shadows; CR0 is looked at below. */
const CR_SHADOW = reads(3, 4) | writes(3);

/**
 * #DB and #AC can recur without end while they are delivered (a guest that puts its own handler under a breakpoint, or its
 * stack askew), and would keep the processor from ever leaving the guest. #MC is the host's.
 */
const EXCEPTIONS_ALWAYS = (1 << VECTOR.DB) | (1 << VECTOR.AC) | (1 << VECTOR.MC);
/** #PF drives the shadow MMU. */
const EXCEPTIONS_SHADOW = 1 << VECTOR.PF;

// RDTSC, RDPMC, PUSHF and the like run as they are. Task switches load CR3, and touch more memory than an exit could undo.
const MISC1_WANTED =
  (INTERCEPT1.INTR |
    INTERCEPT1.NMI |
    INTERCEPT1.SMI |
    INTERCEPT1.INIT |
    INTERCEPT1.CR0_SEL_WRITE |
    INTERCEPT1.RDPMC |
    INTERCEPT1.CPUID |
    INTERCEPT1.INVD |
    INTERCEPT1.HLT |
    INTERCEPT1.INVLPGA |
    INTERCEPT1.IOIO |
    INTERCEPT1.MSR |
    INTERCEPT1.TASK_SWITCH |
    INTERCEPT1.SHUTDOWN) >>>
  0;

/** Nothing of the processor's: the emulator has no TLB to drop translations from, and CR3 is not its to keep. */
const CR_EMULATED = writes(3);
const MISC1_EMULATED = INTERCEPT1.INVLPG;

/** INVLPG would bypass the shadow MMU. */
const MISC1_SHADOW = INTERCEPT1.INVLPG;

const MISC2_WANTED =
  INTERCEPT2.VMRUN |
  INTERCEPT2.VMMCALL |
  INTERCEPT2.VMLOAD |
  INTERCEPT2.VMSAVE |
  INTERCEPT2.STGI |
  INTERCEPT2.CLGI |
  INTERCEPT2.SKINIT |
  INTERCEPT2.WBINVD |
  INTERCEPT2.MONITOR |
  INTERCEPT2.MWAIT |
  INTERCEPT2.XSETBV |
  INTERCEPT2.RDPRU;

const MISC3_WANTED =
  INTERCEPT3.INVLPGB | INTERCEPT3.INVLPGB_ILLEGAL | INTERCEPT3.INVPCID | INTERCEPT3.TLBSYNC;

/** L0's own wishes for a vCPU. The parts that change with the guest's state are fields; `apply` writes them out. */
export class Intercepts {
  /** Every access to CR0: the guest's value differs from the one in force. */
  cr0 = true;
  /** #GP: while the guest has no SVM, its SVM instructions must raise #UD at any CPL (APM vol. 2 15.4). */
  generalProtection = true;
  /** The moment at which the guest could take an interrupt. */
  interruptWindow = false;
  /** IRET ends the blocking of NMIs. */
  iret = false;
  /** RDTSC and RDTSCP, as far as the VM's CPU lacks them and the processor does not. */
  readonly #missing1: number;
  readonly #missing2: number;
  /** What shadow paging adds. With nested paging the guest's registers and page faults are its own business. */
  readonly #cr: number;
  readonly #exceptions: number;
  readonly #misc1: number;

  /** @param features of the VM's CPU */
  constructor(features: ReadonlySet<string>, paging: L0Paging) {
    const shadow = paging === 'shadow';
    this.#cr = CR_ALWAYS | (shadow ? CR_SHADOW : 0);
    this.#exceptions = EXCEPTIONS_ALWAYS | (shadow ? EXCEPTIONS_SHADOW : 0);
    this.#misc1 = MISC1_WANTED | (shadow ? MISC1_SHADOW : 0);
    this.#missing1 = features.has('tsc') ? 0 : INTERCEPT1.RDTSC;
    this.#missing2 = features.has('rdtscp') ? 0 : INTERCEPT2.RDTSCP;
  }

  /**
   * Writes the intercepts of a VMCB.
   *
   * @param nested L1's intercept words for L2, in the order of the VMCB; null while L1 runs
   */
  apply(vmcb: Vmcb, nested: Uint32Array | null): void {
    const { words } = vmcb;
    let cr = this.#cr | (this.cr0 ? CR0_ACCESS : 0);
    let misc2 = MISC2_WANTED | this.#missing2;
    if (nested !== null) {
      // The task priority of L2 is L1's business, and so are its hypercalls.
      cr &= ~CR8_ACCESS;
      misc2 &= ~INTERCEPT2.VMMCALL;
    }
    words[CR] = cr;
    words[1] = 0;
    words[EXCEPTION] = this.#exceptions | (this.generalProtection ? 1 << VECTOR.GP : 0);
    words[MISC1] =
      this.#misc1 |
      this.#missing1 |
      (this.interruptWindow ? INTERCEPT1.VINTR : 0) |
      (this.iret ? INTERCEPT1.IRET : 0);
    words[MISC2] = misc2;
    words[MISC3] = MISC3_WANTED;
    if (nested !== null) for (let i = 0; i < WORDS; i += 1) words[i] |= nested[i];
    vmcb.dirty(CLEAN.INTERCEPTS);
  }

  /** Has the emulator stop, too, where only the processor can do what the guest may do without an exit. */
  static beginEmulation(vmcb: Vmcb): SavedIntercepts {
    const { words } = vmcb;
    const saved = { cr: words[CR], misc1: words[MISC1] };
    words[CR] |= CR_EMULATED;
    words[MISC1] |= MISC1_EMULATED;
    return saved;
  }

  /** Back to what the processor has seen: nothing is dirty. */
  static endEmulation(vmcb: Vmcb, saved: SavedIntercepts): void {
    vmcb.words[CR] = saved.cr;
    vmcb.words[MISC1] = saved.misc1;
  }
}

interface SavedIntercepts {
  readonly cr: number;
  readonly misc1: number;
}
