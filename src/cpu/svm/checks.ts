/**
 * What makes VMRUN fail with VMEXIT_INVALID, and a #VMEXIT shut the processor down: APM vol. 2 15.5.1,
 * "Canonicalization and Consistency Checks"; 15.20 for event injection.
 */
import { CR0, EFER } from '../../arch/registers.ts';
import {
  EVENT,
  EVENT_TYPE,
  INTERCEPT2,
  IOPM_SIZE,
  isInjectableException,
  MSRPM_SIZE,
  NESTED_CTL,
  TLB_CONTROL,
  VMCB,
  VMCB_SAVE,
} from '../../arch/vmcb.ts';
import { cr4Writable, eferWritable } from '../../arch/writable-bits.ts';
import type { Cpu } from '../cpu.ts';
import { isPat } from '../register-values.ts';
import type { PdpteLoader } from './pdptes.ts';
import type { VmcbPage } from './vmcb-page.ts';

/** The consistency checks, for the features of one processor. */
export class ConsistencyChecks {
  readonly #cpu: Cpu;
  readonly #pdptes: PdpteLoader;
  readonly #cr4Reserved: number;
  readonly #eferReserved: number;
  readonly #asidCount: number;
  readonly #addressLimit: number;
  readonly #flushByAsid: boolean;
  readonly #nestedPaging: boolean;

  constructor(cpu: Cpu, pdptes: PdpteLoader) {
    this.#cpu = cpu;
    this.#pdptes = pdptes;
    this.#cr4Reserved = ~cr4Writable(cpu.model);
    this.#eferReserved = ~eferWritable(cpu.model);
    this.#asidCount = cpu.model.asidCount;
    this.#addressLimit = 2 ** cpu.model.maxPhysicalAddressBits;
    this.#flushByAsid = cpu.hasFeature('flushbyasid');
    this.#nestedPaging = cpu.hasFeature('npt');
  }

  /** Whether VMRUN accepts a VMCB. Its PDPTEs, if the guest has any, are then in the `PdpteLoader`. */
  guestIsLegal(page: VmcbPage): boolean {
    return (
      this.#stateIsLegal(page) &&
      (page.read(VMCB_SAVE.EFER) & EFER.SVME) !== 0 &&
      (page.readHigh(VMCB_SAVE.CR0) | page.readHigh(VMCB_SAVE.DR6) | page.readHigh(VMCB_SAVE.DR7)) === 0 &&
      this.#controlsAreLegal(page) &&
      this.#injectionIsLegal(page) &&
      this.#pagingIsLegal(page)
    );
  }

  /** Whether #VMEXIT may go on with a host state; as for `guestIsLegal`, with the subset that concerns a host. */
  hostIsLegal(page: VmcbPage): boolean {
    const cr0 = page.read(VMCB_SAVE.CR0) | CR0.PE;
    return (
      this.#stateIsLegal(page) && this.#pdptes.fetch(cr0, page.read(VMCB_SAVE.CR3), page.read(VMCB_SAVE.CR4))
    );
  }

  /** CR0, CR4, EFER. Neither LME nor LMA is allowed while no model has long mode. */
  #stateIsLegal(page: VmcbPage): boolean {
    const cr0 = page.read(VMCB_SAVE.CR0);
    if ((cr0 & CR0.NW) !== 0 && (cr0 & CR0.CD) === 0) return false;
    if ((page.read(VMCB_SAVE.CR4) & this.#cr4Reserved) !== 0 || page.readHigh(VMCB_SAVE.CR4) !== 0)
      return false;
    return (page.read(VMCB_SAVE.EFER) & this.#eferReserved) === 0 && page.readHigh(VMCB_SAVE.EFER) === 0;
  }

  #controlsAreLegal(page: VmcbPage): boolean {
    if ((page.read(VMCB.INTERCEPT_MISC2) & INTERCEPT2.VMRUN) === 0) return false;
    const asid = page.read(VMCB.GUEST_ASID);
    if (asid === 0 || asid >= this.#asidCount) return false;
    if (!this.#mapFits(page, VMCB.IOPM_BASE_PA, IOPM_SIZE)) return false;
    if (!this.#mapFits(page, VMCB.MSRPM_BASE_PA, MSRPM_SIZE)) return false;
    return this.#flushIsLegal(page.readByte(VMCB.TLB_CONTROL));
  }

  /** The last byte of a permissions map must have a physical address. */
  #mapFits(page: VmcbPage, field: number, size: number): boolean {
    const base = page.readHigh(field) * 0x1_0000_0000 + ((page.read(field) & ~0xfff) >>> 0);
    return base + size <= this.#addressLimit;
  }

  /** Reserved encodings are refused (APM vol. 2 table 15-9). */
  #flushIsLegal(control: number): boolean {
    if (control === TLB_CONTROL.NOTHING || control === TLB_CONTROL.FLUSH_ALL) return true;
    return (
      this.#flushByAsid &&
      (control === TLB_CONTROL.FLUSH_ASID || control === TLB_CONTROL.FLUSH_ASID_NON_GLOBAL)
    );
  }

  /** No reserved type, and no exception that does not exist (APM vol. 2 15.20). */
  #injectionIsLegal(page: VmcbPage): boolean {
    const event = page.read(VMCB.EVENTINJ);
    if ((event & EVENT.VALID) === 0) return true;
    const type = event & EVENT.TYPE;
    if (type === EVENT_TYPE.INTR || type === EVENT_TYPE.NMI || type === EVENT_TYPE.SOFTWARE) return true;
    return type === EVENT_TYPE.EXCEPTION && isInjectableException(event & EVENT.VECTOR);
  }

  /**
   * PDPTEs of a guest under PAE paging. With nested paging they are not loaded but read by each walk (APM vol. 2 15.25.10);
   * then the host must have paging on, and nCR3 and G_PAT must be legal (15.25.3, 15.25.4).
   */
  #pagingIsLegal(page: VmcbPage): boolean {
    if ((page.read(VMCB.NESTED_CTL) & NESTED_CTL.NP_ENABLE) !== 0) {
      const { cr0 } = this.#cpu.state;
      const nCr3 = page.readHigh(VMCB.N_CR3) * 0x1_0000_0000 + page.read(VMCB.N_CR3);
      if (!this.#nestedPaging || (cr0 & CR0.PG) === 0 || nCr3 >= this.#addressLimit) return false;
      return isPat(page.read(VMCB_SAVE.G_PAT), page.readHigh(VMCB_SAVE.G_PAT));
    }
    return this.#pdptes.fetch(page.read(VMCB_SAVE.CR0), page.read(VMCB_SAVE.CR3), page.read(VMCB_SAVE.CR4));
  }
}
