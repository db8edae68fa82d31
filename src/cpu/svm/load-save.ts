/** VMLOAD and VMSAVE: the guest's registers that VMRUN leaves in the processor (APM vol. 2 15.5.2). */
import { SYSTEM_TYPE } from '../../arch/descriptors.ts';
import { MSR } from '../../arch/msrs.ts';
import { VMCB_SAVE } from '../../arch/vmcb.ts';
import type { Cpu } from '../cpu.ts';
import { FS, GS, LDTR, TR } from '../layout.ts';
import { loadSegment, loadSystemSegment, storeSegment } from './switched-state.ts';
import { VmcbPage } from './vmcb-page.ts';

const MSRS = [
  [MSR.KERNEL_GS_BASE, VMCB_SAVE.KERNEL_GS_BASE],
  [MSR.STAR, VMCB_SAVE.STAR],
  [MSR.LSTAR, VMCB_SAVE.LSTAR],
  [MSR.CSTAR, VMCB_SAVE.CSTAR],
  [MSR.SFMASK, VMCB_SAVE.SFMASK],
  [MSR.SYSENTER_CS, VMCB_SAVE.SYSENTER_CS],
  [MSR.SYSENTER_ESP, VMCB_SAVE.SYSENTER_ESP],
  [MSR.SYSENTER_EIP, VMCB_SAVE.SYSENTER_EIP],
] as const;

/** Moves these registers; an MSR that the model lacks keeps its value in here, out of reach of RDMSR. */
export class LoadSave {
  readonly #cpu: Cpu;
  readonly #page: VmcbPage;
  readonly #absent = MSRS.map(() => ({ lo: 0, hi: 0 }));

  constructor(cpu: Cpu) {
    this.#cpu = cpu;
    this.#page = new VmcbPage(cpu.physical);
  }

  /** @param vmcb physical address, a multiple of 4096 */
  load(vmcb: number): void {
    const { state, msrs } = this.#cpu;
    const page = this.#page;
    page.attach(vmcb);
    loadSegment(state, page, VMCB_SAVE.FS, FS);
    loadSegment(state, page, VMCB_SAVE.GS, GS);
    loadSystemSegment(state, page, VMCB_SAVE.LDTR, LDTR, SYSTEM_TYPE.LDT);
    loadSystemSegment(state, page, VMCB_SAVE.TR, TR, SYSTEM_TYPE.TSS_32_BUSY);
    for (let n = 0; n < MSRS.length; n++) {
      const [index, place] = MSRS[n];
      const register = msrs.get(index) ?? this.#absent[n];
      register.lo = page.read(place);
      register.hi = page.readHigh(place);
    }
  }

  save(vmcb: number): void {
    const { state, msrs } = this.#cpu;
    const page = this.#page;
    page.attach(vmcb);
    storeSegment(state, page, VMCB_SAVE.FS, FS);
    storeSegment(state, page, VMCB_SAVE.GS, GS);
    storeSegment(state, page, VMCB_SAVE.LDTR, LDTR);
    storeSegment(state, page, VMCB_SAVE.TR, TR);
    for (let n = 0; n < MSRS.length; n++) {
      const [index, place] = MSRS[n];
      const register = msrs.get(index) ?? this.#absent[n];
      page.write64(place, register.lo, register.hi);
    }
    page.written();
  }
}
