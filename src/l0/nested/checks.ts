/**
 * The consistency checks of VMRUN on the VMCB of L1's guest (APM vol. 2 15.5.1, event injection 15.20). What the processor would
 * refuse, L0 must refuse for it: the VMCB that really runs is L0's and passes.
 */

import { CR0, CR4, EFER } from '../../arch/registers.ts';
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
import { isPat } from '../../cpu/register-values.ts';
import type { Vm } from '../vm.ts';

const TWO_TO_32 = 0x1_0000_0000;
const PAGE_MASK = 0xffff_f000;

const address = (words: Uint32Array, offset: number): number =>
  words[(offset >>> 2) + 1] * TWO_TO_32 + ((words[offset >>> 2] & PAGE_MASK) >>> 0);

/**
 * Whether the VMCB may run.
 *
 * @param words a copy of L1's VMCB as 32-bit words
 * @param cr0   L1's own
 */
export function isLegalVmcb(vm: Vm, words: Uint32Array, cr0: number): boolean {
  return (
    isLegalControl(vm, words) &&
    isLegalNestedPaging(vm, words, cr0) &&
    isLegalState(vm, words) &&
    isLegalInjection(words[VMCB.EVENTINJ >>> 2])
  );
}

function isLegalControl(vm: Vm, words: Uint32Array): boolean {
  const limit = 2 ** vm.model.maxPhysicalAddressBits;
  if ((words[VMCB.INTERCEPT_MISC2 >>> 2] & INTERCEPT2.VMRUN) === 0) return false;
  const asid = words[VMCB.GUEST_ASID >>> 2];
  // L1 has as many as its CPUID says (APM vol. 3 E.4.9), whatever they become here.
  if (asid === 0 || asid >= vm.model.asidCount) return false;
  if (address(words, VMCB.IOPM_BASE_PA) + IOPM_SIZE > limit) return false;
  if (address(words, VMCB.MSRPM_BASE_PA) + MSRPM_SIZE > limit) return false;
  return isLegalTlbControl(vm, words[VMCB.TLB_CONTROL >>> 2] & 0xff);
}

/**
 * NP_ENABLE needs the feature (CPUID 8000_000Ah EDX bit 0) and a host that pages, whose format the nested tables have
 * (APM vol. 2 15.25.3); then nCR3 must be below MAXPHYADDR and G_PAT hold eight memory types (15.25.4).
 */
function isLegalNestedPaging(vm: Vm, words: Uint32Array, cr0: number): boolean {
  if ((words[VMCB.NESTED_CTL >>> 2] & NESTED_CTL.NP_ENABLE) === 0) return true;
  if (!vm.model.features.has('npt') || (cr0 & CR0.PG) === 0) return false;
  const nCr3 = VMCB.N_CR3 >>> 2;
  if (words[nCr3 + 1] * TWO_TO_32 + words[nCr3] >= 2 ** vm.model.maxPhysicalAddressBits) return false;
  const pat = VMCB_SAVE.G_PAT >>> 2;
  return isPat(words[pat], words[pat + 1]);
}

/** APM vol. 2 table 15-9: other values are reserved; 3 and 7 come with FlushByAsid. */
function isLegalTlbControl(vm: Vm, control: number): boolean {
  if (control === TLB_CONTROL.NOTHING || control === TLB_CONTROL.FLUSH_ALL) return true;
  const known = control === TLB_CONTROL.FLUSH_ASID || control === TLB_CONTROL.FLUSH_ASID_NON_GLOBAL;
  return known && vm.model.features.has('flushbyasid');
}

function isLegalState(vm: Vm, words: Uint32Array): boolean {
  const low = (offset: number): number => words[offset >>> 2];
  const high = (offset: number): number => words[(offset >>> 2) + 1];
  const cr0 = low(VMCB_SAVE.CR0);
  const cr4 = low(VMCB_SAVE.CR4);
  const efer = low(VMCB_SAVE.EFER);
  if ((efer & EFER.SVME) === 0) return false;
  // LMA and LME are among the bits that a CPU without long mode reserves.
  if (high(VMCB_SAVE.EFER) !== 0 || (efer & ~vm.eferWritable) !== 0) return false;
  if (high(VMCB_SAVE.CR0) !== 0) return false;
  if ((cr0 & CR0.NW) !== 0 && (cr0 & CR0.CD) === 0) return false;
  if (high(VMCB_SAVE.CR4) !== 0 || !vm.rules.cr4IsLegal(cr4, vm.cr4Writable, 'VMRUN')) return false;
  if ((cr4 & CR4.CET) !== 0 && (cr0 & CR0.WP) === 0) return false;
  return high(VMCB_SAVE.DR6) === 0 && high(VMCB_SAVE.DR7) === 0;
}

function isLegalInjection(event: number): boolean {
  if ((event & EVENT.VALID) === 0) return true;
  switch (event & EVENT.TYPE) {
    case EVENT_TYPE.INTR:
    case EVENT_TYPE.NMI:
    case EVENT_TYPE.SOFTWARE:
      return true;
    case EVENT_TYPE.EXCEPTION:
      return isInjectableException(event & EVENT.VECTOR);
    default:
      return false;
  }
}
